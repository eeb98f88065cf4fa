//! What the generated code says about services and methods, in plain statics.
//!
//! No registry and no reflection: a [`ServiceDescriptor`] is data that the server, the client and
//! the reflection service read.

/// How many messages flow each way in a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One request, one response.
    Unary,
    /// Many requests, one response.
    ClientStreaming,
    /// One request, many responses.
    ServerStreaming,
    /// Many requests, many responses, in any order.
    BidiStreaming,
}

impl MethodKind {
    /// Whether the client may send any number of messages.
    pub const fn client_streams(self) -> bool {
        matches!(self, MethodKind::ClientStreaming | MethodKind::BidiStreaming)
    }

    /// Whether the server may send any number of messages.
    pub const fn server_streams(self) -> bool {
        matches!(self, MethodKind::ServerStreaming | MethodKind::BidiStreaming)
    }
}

/// What `option idempotency_level` says of a method (`google.protobuf.MethodOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Has no side effects: may be called with HTTP GET where the protocol has that.
    NoSideEffects,
    /// Has the same effect however often it is called.
    Idempotent,
}

/// One method of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MethodDescriptor {
    /// The request path, `/pkg.Service/Method`.
    pub path: &'static str,
    /// The service's full name, `pkg.Service`.
    pub service: &'static str,
    /// The method's own name, `Method`.
    pub name: &'static str,
    /// How many messages flow each way.
    pub kind: MethodKind,
    /// What the proto says about calling it twice.
    pub idempotency: Idempotency,
}

impl MethodDescriptor {
    /// Describes the method at `path`, `/pkg.Service/Method`.
    ///
    /// # Panics
    ///
    /// Where `path` is not of that form: when compiling, as descriptors are statics.
    pub const fn new(path: &'static str, kind: MethodKind) -> MethodDescriptor {
        let (service, name) = split_path(path);
        MethodDescriptor { path, service, name, kind, idempotency: Idempotency::Unknown }
    }

    /// The same method with what its proto says about calling it twice.
    #[must_use]
    pub const fn with_idempotency(mut self, idempotency: Idempotency) -> MethodDescriptor {
        self.idempotency = idempotency;
        self
    }
}

/// A service and its methods, in the order of the proto file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServiceDescriptor {
    /// The service's full name, `pkg.Service`.
    pub name: &'static str,
    /// Its methods; a method is known by its index in here.
    pub methods: &'static [MethodDescriptor],
    /// A serialized `google.protobuf.FileDescriptorSet` with the service's file and its imports;
    /// empty where the generator was told to leave it out.
    pub file_descriptor_set: &'static [u8],
}

impl ServiceDescriptor {
    /// Describes a service, without a file descriptor set.
    ///
    /// # Panics
    ///
    /// Where a method's path names another service: when compiling, as descriptors are statics.
    pub const fn new(
        name: &'static str,
        methods: &'static [MethodDescriptor],
    ) -> ServiceDescriptor {
        let mut index = 0;
        while index < methods.len() {
            assert!(
                same_bytes(methods[index].service.as_bytes(), name.as_bytes()),
                "the path of a method names another service"
            );
            index += 1;
        }
        ServiceDescriptor { name, methods, file_descriptor_set: &[] }
    }

    /// The same service with its serialized `google.protobuf.FileDescriptorSet`.
    #[must_use]
    pub const fn with_file_descriptor_set(mut self, set: &'static [u8]) -> ServiceDescriptor {
        self.file_descriptor_set = set;
        self
    }

    /// The index of the method with this own name (`Method`, case-sensitive).
    pub fn method_index(&self, name: &str) -> Option<usize> {
        self.methods.iter().position(|method| method.name == name)
    }
}

/// Splits `/pkg.Service/Method` at its two slashes.
const fn split_path(path: &'static str) -> (&'static str, &'static str) {
    let bytes = path.as_bytes();
    assert!(!bytes.is_empty() && bytes[0] == b'/', "a method path starts with a slash");
    let mut slash = bytes.len() - 1;
    while bytes[slash] != b'/' {
        slash -= 1;
    }
    assert!(slash > 1, "a method path is /pkg.Service/Method");
    assert!(slash + 1 < bytes.len(), "a method path ends with the method's name");
    let (head, name) = path.split_at(slash + 1);
    let (_, head) = head.split_at(1);
    let (service, _) = head.split_at(slash - 1);
    (service, name)
}

const fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    static ECHO: ServiceDescriptor = ServiceDescriptor::new(
        "pkg.v1.Echo",
        &[
            MethodDescriptor::new("/pkg.v1.Echo/Say", MethodKind::Unary),
            MethodDescriptor::new("/pkg.v1.Echo/Chat", MethodKind::BidiStreaming)
                .with_idempotency(Idempotency::Idempotent),
        ],
    )
    .with_file_descriptor_set(&[1, 2, 3]);

    #[test]
    fn splits_paths_in_statics() {
        let say: &'static MethodDescriptor = &ECHO.methods[0];
        assert_eq!((say.service, say.name), ("pkg.v1.Echo", "Say"));
        assert_eq!(ECHO.method_index("Chat"), Some(1));
        assert_eq!(ECHO.method_index("chat"), None);
        assert_eq!(ECHO.methods[1].idempotency, Idempotency::Idempotent);
        assert_eq!(ECHO.file_descriptor_set, [1, 2, 3]);
    }

    #[test]
    fn refuses_malformed_paths() {
        for path in ["", "/", "x", "Echo/Say", "/Say", "//Say", "/Echo/"] {
            let made = std::panic::catch_unwind(|| MethodDescriptor::new(path, MethodKind::Unary));
            assert!(made.is_err(), "{path:?}");
        }
    }

    #[test]
    fn refuses_a_method_of_another_service() {
        const METHODS: &[MethodDescriptor] = &[MethodDescriptor::new("/a.B/C", MethodKind::Unary)];
        assert!(std::panic::catch_unwind(|| ServiceDescriptor::new("a.X", METHODS)).is_err());
    }

    #[test]
    fn kinds_say_who_streams() {
        assert!(!MethodKind::Unary.client_streams() && !MethodKind::Unary.server_streams());
        assert!(MethodKind::ClientStreaming.client_streams());
        assert!(!MethodKind::ClientStreaming.server_streams());
        assert!(MethodKind::ServerStreaming.server_streams());
        assert!(!MethodKind::ServerStreaming.client_streams());
        let bidi = MethodKind::BidiStreaming;
        assert!(bidi.client_streams() && bidi.server_streams());
    }
}
