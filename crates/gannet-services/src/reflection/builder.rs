//! [`Reflection`] and how it is made.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::generated::grpc::reflection::{v1, v1alpha};
use super::index::{Index, Refusal};
use super::server::ReflectionServer;

/// Tells what servers serve: makes the services to be added to them.
#[derive(Clone, Debug)]
pub struct Reflection {
    files: Arc<Index>,
    names: Arc<Vec<String>>,
}

impl Reflection {
    /// Knows the services of the servers it is added to, and nothing else.
    pub fn new() -> Reflection {
        Reflection { files: Arc::default(), names: Arc::default() }
    }

    /// For who has more to tell than the services of the server.
    pub fn builder() -> Builder {
        Builder { sets: Vec::new(), names: Vec::new() }
    }

    /// The service `grpc.reflection.v1.ServerReflection`, to be added to a server.
    pub fn v1(&self) -> ReflectionServer {
        ReflectionServer::new(&v1::SERVER_REFLECTION, &self.files, &self.names)
    }

    /// The same under its older name, `grpc.reflection.v1alpha.ServerReflection`, which some tools
    /// and libraries still ask for.
    pub fn v1alpha(&self) -> ReflectionServer {
        ReflectionServer::new(&v1alpha::SERVER_REFLECTION, &self.files, &self.names)
    }
}

impl Default for Reflection {
    fn default() -> Reflection {
        Reflection::new()
    }
}

/// Collects what a [`Reflection`] knows besides the services of its server.
///
/// ```
/// # const EVENTS: &[u8] = &[];
/// use gannet::services::reflection::Reflection;
/// # fn example() -> Result<(), gannet::services::reflection::ReflectionError> {
/// let reflection = Reflection::builder()
///     .register(EVENTS) // `proto::shop::FILE_DESCRIPTOR_SET`
///     .list("shop.Events")
///     .build()?;
/// # drop(reflection); Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is known before `build`"]
pub struct Builder {
    sets: Vec<Bytes>,
    names: Vec<String>,
}

impl Builder {
    /// Adds the files of an encoded `google.protobuf.FileDescriptorSet`, such as the constant
    /// `FILE_DESCRIPTOR_SET` of a generated module. Their services are not listed by that.
    pub fn register(mut self, set: impl Into<Bytes>) -> Builder {
        self.sets.push(set.into());
        self
    }

    /// Lists a service by its full name, beside those of the server.
    pub fn list(mut self, service: impl Into<String>) -> Builder {
        self.names.push(service.into());
        self
    }

    /// Reads what was registered.
    ///
    /// # Errors
    ///
    /// Where a set is not an encoded `FileDescriptorSet`, and where two different files have the
    /// same name. Of two that declare the same things the first counts.
    pub fn build(self) -> Result<Reflection, ReflectionError> {
        let mut files = Index::default();
        for (place, set) in self.sets.iter().enumerate() {
            files.add(set).map_err(|refusal| ReflectionError { place, refusal })?;
        }
        Ok(Reflection { files: Arc::new(files), names: Arc::new(self.names) })
    }
}

/// Why there is no [`Reflection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReflectionError {
    /// Which set, from 0.
    place: usize,
    refusal: Refusal,
}

impl fmt::Display for ReflectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.place + 1;
        match &self.refusal {
            Refusal::Malformed => {
                write!(
                    f,
                    "registered set {set} is not an encoded google.protobuf.FileDescriptorSet"
                )
            }
            Refusal::Differs(name) => write!(
                f,
                "registered set {set} has a file {name:?} that declares other things than the file \
                 of that name before it: name one by another path"
            ),
        }
    }
}

impl std::error::Error for ReflectionError {}
