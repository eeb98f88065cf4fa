//! What observers are told. Moments are by the runtime's clock.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::{Code, Metadata, MethodDescriptor, Status};
use gannet_http2::hpack::FieldBlock;

use crate::call::Direction;
use crate::{Peer, fields};

/// A client begins a call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientCallStart<'a> {
    /// The method that is called.
    pub method: &'static MethodDescriptor,
    /// The channel's target, with its scheme: `dns:///` for `http://` and `https://`, too, and
    /// `resolver:///` before the target of a channel with a resolver of its own, where it has none.
    pub target: &'a Arc<str>,
    /// When.
    pub at: Instant,
}

impl<'a> ClientCallStart<'a> {
    /// For the client.
    pub fn new(
        method: &'static MethodDescriptor,
        target: &'a Arc<str>,
        at: Instant,
    ) -> ClientCallStart<'a> {
        ClientCallStart { method, target, at }
    }
}

/// A channel checks the health of its servers, and one of them has no health service.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HealthUnchecked<'a> {
    /// The channel's target, with its scheme.
    pub target: &'a Arc<str>,
    /// What the connection leads to.
    pub address: &'a str,
    /// Of which the health was asked for; empty for the server as a whole.
    pub service: &'a str,
}

impl<'a> HealthUnchecked<'a> {
    /// For the client.
    pub fn new(target: &'a Arc<str>, address: &'a str, service: &'a str) -> HealthUnchecked<'a> {
        HealthUnchecked { target, address, service }
    }
}

/// A call of a client is tried.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttemptStart {
    /// How often it was tried before, without transparent retries.
    pub previous: u32,
    /// It is made again because the server has certainly not seen it (gRFC A6).
    pub is_transparent: bool,
    /// When the call ends by itself.
    pub deadline: Option<Instant>,
    /// When.
    pub at: Instant,
}

impl AttemptStart {
    /// For the client.
    pub fn new(
        previous: u32,
        is_transparent: bool,
        deadline: Option<Instant>,
        at: Instant,
    ) -> AttemptStart {
        AttemptStart { previous, is_transparent, deadline, at }
    }
}

/// A request has come to a server.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ServerCallStart<'a> {
    /// The method that is called, where the server has it.
    pub method: Option<&'static MethodDescriptor>,
    /// Who calls.
    pub peer: &'a Peer,
    /// When the call ends by itself.
    pub deadline: Option<Instant>,
    /// When.
    pub at: Instant,
    path: &'a [u8],
    fields: &'a FieldBlock,
}

impl<'a> ServerCallStart<'a> {
    /// For the server. `path` is that of a request without a method.
    pub fn new(
        method: Result<&'static MethodDescriptor, &'a [u8]>,
        peer: &'a Peer,
        deadline: Option<Instant>,
        at: Instant,
        fields: &'a FieldBlock,
    ) -> ServerCallStart<'a> {
        let path = method.map_or_else(|path| path, |method| method.path.as_bytes());
        ServerCallStart { method: method.ok(), peer, deadline, at, path, fields }
    }

    /// The path that was asked for, `/pkg.Service/Method`; any text where there is no such method.
    pub fn path(&self) -> Cow<'a, str> {
        match self.method {
            Some(method) => Cow::Borrowed(method.path),
            None => String::from_utf8_lossy(self.path),
        }
    }

    /// The values of a header of the request, in order, as they travel: binary ones are base64. Its
    /// name counts in upper and lower case.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_it = move |field: &[u8]| field.eq_ignore_ascii_case(name.as_bytes());
        let found = self.fields.iter().filter(move |field| is_it(field.name));
        found.map(|field| field.value)
    }

    /// All headers of the request, as they travel, but for some that are the protocol's own.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let kept = self.fields.iter().filter(|field| !field.tag.is_elided());
        kept.map(|field| (field.name, field.value))
    }

    /// All of the request's metadata.
    pub fn metadata(&self) -> Metadata {
        fields::read_metadata(self.fields)
    }
}

impl fmt::Debug for ServerCallStart<'_> {
    /// With the metadata, of which [secrets](Metadata::set_sensitive) are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCallStart")
            .field("path", &self.path())
            .field("is_known", &self.method.is_some())
            .field("peer", self.peer)
            .field("deadline", &self.deadline)
            .field("at", &self.at)
            .field("metadata", &self.metadata())
            .finish()
    }
}

/// A message was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEvent {
    /// Which way.
    pub direction: Direction,
    /// Which one of its direction, from 0.
    pub number: u64,
    /// The encoded message, without the prefix of its frame: before it was compressed, or after it
    /// was decompressed.
    pub bytes: usize,
    /// The same as it travels, where it is compressed.
    pub compressed_bytes: Option<usize>,
}

impl MessageEvent {
    /// For the two sides.
    pub fn new(
        direction: Direction,
        number: u64,
        bytes: usize,
        compressed_bytes: Option<usize>,
    ) -> MessageEvent {
        MessageEvent { direction, number, bytes, compressed_bytes }
    }

    /// The message as it travels, without the prefix of its frame.
    pub fn wire_bytes(&self) -> usize {
        self.compressed_bytes.unwrap_or(self.bytes)
    }
}

/// A call or an attempt has ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// The code: of a server's call the one that is sent.
    pub code: Code,
    /// Why, unless the code is OK.
    pub status: Option<&'a Status>,
    /// When.
    pub at: Instant,
}

impl<'a> Ended<'a> {
    /// For the two sides: by what a call came to.
    pub fn new(outcome: Result<(), &'a Status>, at: Instant) -> Ended<'a> {
        Ended { code: outcome.map_or_else(Status::code, |()| Code::Ok), status: outcome.err(), at }
    }

    /// For the server, which sends INTERNAL for what another server said.
    pub fn sent(outcome: Result<(), &'a Status>, at: Instant) -> Ended<'a> {
        let code = outcome.map_or_else(Status::sent_code, |()| Code::Ok);
        Ended { code, ..Ended::new(outcome, at) }
    }
}

#[cfg(test)]
mod tests {
    use gannet_http2::hpack::{FieldKind, FieldTag};

    use super::*;

    /// A token that came as an ordinary literal, which grpc-go's is, is in no log.
    #[test]
    fn debug_of_a_call_shows_metadata_without_secrets() {
        let mut fields = FieldBlock::default();
        for (name, value) in [("authorization", "Bearer abc123"), ("x-tenant", "acme")] {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            fields.push(FieldKind::Regular, FieldTag::NONE, name, value);
        }
        let start =
            ServerCallStart::new(Err(b"/a.B/C"), &Peer::Pipe, None, Instant::now(), &fields);
        assert_eq!(start.header("authorization").next(), Some(&b"Bearer abc123"[..]));
        assert_eq!(start.header("X-Tenant").collect::<Vec<_>>(), [b"acme"]);
        let told = format!("{start:?} {start:#?}");
        assert!(!told.contains("abc123"), "{told}");
        for part in ["/a.B/C", "authorization: (secret)", "x-tenant: acme"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
