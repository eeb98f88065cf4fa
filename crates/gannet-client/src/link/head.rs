//! The header fields of a request (PROTOCOL-HTTP2, "Requests").
//!
//! What is the same in every call is registered with the connection's encoder once, so that it
//! costs a byte or two; so are the path of each method and the timeouts that come again, up to a
//! bound.

use std::time::Instant;

use gannet_core::compression::Encoding;
use gannet_core::timeout::EncodedTimeout;
use gannet_core::{Metadata, MethodDescriptor, names, timeout};
use gannet_http2::hpack::{CachedBlock, CachedField};
use gannet_http2::{Client, Connection, FieldWriter};
use gannet_transport::fields::write_metadata;

use crate::channel::Config;

/// Methods whose paths are registered; the paths of others are literals.
const CACHED_PATHS_MAX: usize = 48;
/// Timeouts that are registered, of those that come again.
const CACHED_TIMEOUTS_MAX: usize = 8;
/// What the constant fields weigh against a peer's header list limit at most, beside the path, the
/// authority and the user agent: 8 fields of 32 bytes, their names and values (RFC 7541 4.1).
const CONSTANT_LIST_BYTES: usize = 8 * 32 + 160;
/// What `grpc-encoding` and `grpc-accept-encoding` weigh besides, beside the latter's value.
const ENCODINGS_LIST_BYTES: usize = 2 * 32 + 80;

/// What is constant in the requests of one connection.
#[derive(Debug)]
pub(crate) struct Constants {
    method: CachedField,
    scheme: CachedField,
    authority: CachedField,
    /// What follows the timeout.
    rest: CachedBlock,
    list_bytes: usize,
    /// The pseudo-headers of each method, by the address of its descriptor.
    heads: Vec<(usize, CachedBlock)>,
    timeouts: Vec<(EncodedTimeout, CachedField)>,
    /// The last one that was not registered.
    last_timeout: Option<EncodedTimeout>,
}

impl Constants {
    /// Registers the constants with a new connection.
    pub(crate) fn new(conn: &mut Connection<Client>, config: &Config) -> Constants {
        let Config { authority, user_agent, compressors, .. } = config;
        let mut register = |name: &str, value: &str| {
            conn.register_field(name.as_bytes(), value.as_bytes())
                .expect("a new connection has room for the constants")
        };
        let (method, scheme) = (register(":method", "POST"), register(":scheme", config.scheme()));
        let authority_field = register(":authority", authority);
        let mut rest = vec![
            register(names::TE, "trailers"),
            register(names::CONTENT_TYPE, gannet_core::content_type::GRPC),
            register(names::USER_AGENT, user_agent),
        ];
        let mut list_bytes = CONSTANT_LIST_BYTES + authority.len() + user_agent.len();
        if !compressors.is_empty() {
            rest.push(register(names::GRPC_ACCEPT_ENCODING, compressors.accepted()));
            list_bytes += ENCODINGS_LIST_BYTES + compressors.accepted().len();
        }
        Constants {
            method,
            scheme,
            authority: authority_field,
            rest: conn.register_block(&rest).expect("a new connection has room for a block"),
            list_bytes,
            heads: Vec::new(),
            timeouts: Vec::new(),
            last_timeout: None,
        }
    }

    /// What of the request is registered, as long as there is room.
    pub(super) fn registered(
        &mut self,
        conn: &mut Connection<Client>,
        request: &Head<'_>,
    ) -> Registered {
        Registered {
            head: self.head(conn, request.method),
            timeout: request.deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(request.now);
                self.timeout(conn, timeout::encode_coarse(left))
            }),
        }
    }

    fn head(
        &mut self,
        conn: &mut Connection<Client>,
        method: &'static MethodDescriptor,
    ) -> Option<CachedBlock> {
        let address = std::ptr::from_ref(method).addr();
        if let Some((_, head)) = self.heads.iter().find(|(known, _)| *known == address) {
            return Some(*head);
        }
        if self.heads.len() >= CACHED_PATHS_MAX {
            return None;
        }
        let path = conn.register_field(b":path", method.path.as_bytes())?;
        let head = conn.register_block(&[self.method, self.scheme, path, self.authority])?;
        self.heads.push((address, head));
        Some(head)
    }

    /// A timeout that comes twice in a row may come again and again.
    fn timeout(&mut self, conn: &mut Connection<Client>, value: EncodedTimeout) -> Timeout {
        if let Some((_, field)) = self.timeouts.iter().find(|(known, _)| *known == value) {
            return Timeout::Registered(*field);
        }
        if self.last_timeout.replace(value) == Some(value)
            && self.timeouts.len() < CACHED_TIMEOUTS_MAX
            && let Some(field) =
                conn.register_field(names::GRPC_TIMEOUT.as_bytes(), value.as_bytes())
        {
            self.timeouts.push((value, field));
            return Timeout::Registered(field);
        }
        Timeout::Once(value)
    }

    /// What a request with this metadata weighs against the peer's limit (RFC 7541 4.1), bytes.
    pub(super) fn list_bytes(&self, method: &MethodDescriptor, metadata: &Metadata) -> usize {
        self.list_bytes + method.path.len() + metadata.list_bytes()
    }

    /// Writes a request's head. `registered` is what [`registered`](Self::registered) gave for it.
    pub(super) fn write(
        &self,
        w: &mut FieldWriter<'_>,
        request: &Head<'_>,
        registered: Registered,
    ) {
        match registered.head {
            Some(head) => w.cached_block(head),
            None => {
                w.cached(self.method);
                w.cached(self.scheme);
                w.field(b":path", request.method.path.as_bytes());
                w.cached(self.authority);
            }
        }
        match registered.timeout {
            Some(Timeout::Registered(field)) => w.cached(field),
            Some(Timeout::Once(value)) => {
                w.field_once(names::GRPC_TIMEOUT.as_bytes(), value.as_bytes());
            }
            None => {}
        }
        w.cached_block(self.rest);
        if let Some(encoding) = request.encoding {
            w.field(names::GRPC_ENCODING.as_bytes(), encoding.name().as_bytes());
        }
        if !request.metadata.is_empty() {
            write_metadata(w, request.metadata);
        }
    }
}

/// What of a request's head its connection knows already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    head: Option<CachedBlock>,
    timeout: Option<Timeout>,
}

#[derive(Clone, Copy, Debug)]
enum Timeout {
    Registered(CachedField),
    Once(EncodedTimeout),
}

/// What of a request goes into its head.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'static MethodDescriptor,
    pub(super) deadline: Option<Instant>,
    pub(super) now: Instant,
    pub(super) metadata: &'a Metadata,
    /// What messages may be compressed with.
    pub(super) encoding: Option<Encoding>,
}
