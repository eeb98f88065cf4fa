//! The header fields of a request (PROTOCOL-HTTP2, "Requests").
//!
//! What is the same in every call is registered with the connection's encoder once, so that it
//! costs a byte or two; so is the path of each method, up to a bound.

use std::time::Instant;

use gannet_core::{Metadata, MethodDescriptor, names, timeout};
use gannet_http2::hpack::CachedField;
use gannet_http2::{Client, Connection, FieldWriter};
use gannet_transport::fields::write_metadata;

/// Methods whose paths are registered; the paths of others are literals.
const CACHED_PATHS_MAX: usize = 48;
/// What the constant fields weigh against a peer's header list limit at most, beside the path, the
/// authority and the user agent: 8 fields of 32 bytes, their names and values (RFC 7541 4.1).
const CONSTANT_LIST_BYTES: usize = 8 * 32 + 160;

/// What is constant in the requests of one connection.
#[derive(Debug)]
pub(crate) struct Constants {
    method: CachedField,
    scheme: CachedField,
    authority: CachedField,
    te: CachedField,
    content_type: CachedField,
    user_agent: CachedField,
    list_bytes: usize,
    /// By the address of the method's descriptor.
    paths: Vec<(usize, CachedField)>,
}

impl Constants {
    /// Registers the constants with a new connection.
    pub(crate) fn new(
        conn: &mut Connection<Client>,
        authority: &str,
        user_agent: &str,
    ) -> Constants {
        let mut register = |name: &str, value: &str| {
            conn.register_field(name.as_bytes(), value.as_bytes())
                .expect("a new connection has room for the constants")
        };
        Constants {
            method: register(":method", "POST"),
            scheme: register(":scheme", "http"),
            authority: register(":authority", authority),
            te: register(names::TE, "trailers"),
            content_type: register(names::CONTENT_TYPE, gannet_core::content_type::GRPC),
            user_agent: register(names::USER_AGENT, user_agent),
            list_bytes: CONSTANT_LIST_BYTES + authority.len() + user_agent.len(),
            paths: Vec::new(),
        }
    }

    /// The method's path as a registered field, as long as there is room.
    pub(super) fn path(
        &mut self,
        conn: &mut Connection<Client>,
        method: &'static MethodDescriptor,
    ) -> Option<CachedField> {
        let address = std::ptr::from_ref(method).addr();
        if let Some((_, path)) = self.paths.iter().find(|(known, _)| *known == address) {
            return Some(*path);
        }
        if self.paths.len() >= CACHED_PATHS_MAX {
            return None;
        }
        let path = conn.register_field(b":path", method.path.as_bytes())?;
        self.paths.push((address, path));
        Some(path)
    }

    /// What a request with this metadata weighs against the peer's limit (RFC 7541 4.1), bytes.
    pub(super) fn list_bytes(&self, method: &MethodDescriptor, metadata: &Metadata) -> usize {
        self.list_bytes + method.path.len() + metadata.list_bytes()
    }

    /// Writes a request's head. `path` is what [`path`](Self::path) gave for the method.
    pub(super) fn write(
        &self,
        w: &mut FieldWriter<'_>,
        request: &Head<'_>,
        path: Option<CachedField>,
    ) {
        w.cached(self.method);
        w.cached(self.scheme);
        match path {
            Some(path) => w.cached(path),
            None => w.field(b":path", request.method.path.as_bytes()),
        }
        w.cached(self.authority);
        if let Some(deadline) = request.deadline {
            let left = deadline.saturating_duration_since(request.now);
            w.field(names::GRPC_TIMEOUT.as_bytes(), timeout::encode(left).as_bytes());
        }
        w.cached(self.te);
        w.cached(self.content_type);
        w.cached(self.user_agent);
        if !request.metadata.is_empty() {
            write_metadata(w, request.metadata);
        }
    }
}

/// What of a request goes into its head.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'static MethodDescriptor,
    pub(super) deadline: Option<Instant>,
    pub(super) now: Instant,
    pub(super) metadata: &'a Metadata,
}
