//! What a connection needs to know to make a call.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gannet_core::codec::Parts;
use gannet_core::compression::{CodecId, Compressor, Compressors, Encoding};
use gannet_core::{Metadata, MethodDescriptor};
use gannet_transport::{CallShared, Feed};

use super::notice::Notice;
use super::watch::{Attempt, Watched};

/// First messages from this length on are sent by reference, bytes.
const LARGE_BODY_BYTES_MIN: usize = 16 << 10;

/// A call that was asked for. Boxed by who has it: it goes through several hands. Its 120 bytes are
/// the most that glibc's allocator takes from and puts back on its quick lists.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static MethodDescriptor,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Metadata,
    pub(crate) body: Body,
    /// Where somebody follows the call.
    pub(crate) watch: Option<Box<Watched>>,
    pub(crate) receive_bytes_max: u32,
    pub(crate) wait_for_ready: bool,
    /// Response headers and trailers are to be kept (unary calls).
    pub(crate) wants_metadata: bool,
    /// The channel's, which the server is told of.
    pub(crate) compressors: Compressors,
    /// With which of them the messages are compressed.
    pub(crate) compress: Option<CodecId>,
    /// How often a server refused it and it was made again: once at most (gRFC A6).
    pub(crate) refusals: u8,
}

impl Request {
    /// As the request holds it: no message is longer than a prefix can say.
    pub(crate) fn bytes_max(bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    pub(crate) fn receive_bytes_max(&self) -> usize {
        usize::try_from(self.receive_bytes_max).unwrap_or(usize::MAX)
    }

    /// How it is tried now, where somebody follows that.
    #[inline]
    pub(crate) fn attempt(&self) -> Option<&Arc<Attempt>> {
        self.watch.as_ref()?.attempt()
    }

    /// What compresses the messages.
    pub(crate) fn compressor(&self) -> Option<&Arc<dyn Compressor>> {
        self.compressors.codec(self.compress?)
    }

    /// The encoding that is declared.
    pub(crate) fn encoding(&self) -> Option<Encoding> {
        self.compressor().map(|compressor| compressor.encoding())
    }
}

/// What is sent behind the request's head.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// The application will send messages.
    Stream,
    /// One message with its prefix, and the end; small enough to be copied.
    Small(Vec<u8>),
    /// As `Small`, in pieces that are sent by reference.
    Large(Box<[Bytes]>),
}

impl Body {
    pub(crate) fn one(framed: Vec<u8>, parts: Parts) -> Body {
        if framed.len() < LARGE_BODY_BYTES_MIN && parts.is_empty() {
            Body::Small(framed)
        } else {
            Body::Large(parts.into_pieces(framed).collect())
        }
    }
}

/// Who waits for what the server answers.
pub(crate) enum Receiver {
    /// One response.
    Unary(Arc<Notice>),
    /// A stream of them.
    Stream(Box<StreamReceiver>),
}

/// The connection's ends of a call that streams.
#[derive(Debug)]
pub(crate) struct StreamReceiver {
    /// Told when the stream is open.
    pub(crate) opened: Arc<Notice>,
    pub(crate) shared: Arc<CallShared>,
    pub(crate) feed: Feed,
}

impl Receiver {
    pub(crate) fn notice(&self) -> &Arc<Notice> {
        match self {
            Receiver::Unary(notice) => notice,
            Receiver::Stream(stream) => &stream.opened,
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Receiver::Unary(_) => "Unary",
            Receiver::Stream(_) => "Stream",
        })
    }
}

/// A request on its way to a connection. Dropped on the way, it goes back to the caller, who makes
/// it on another connection.
#[derive(Debug)]
pub(crate) struct Start(Option<(Box<Request>, Receiver)>);

impl Start {
    pub(crate) fn new(request: Box<Request>, receiver: Receiver) -> Start {
        Start(Some((request, receiver)))
    }

    /// Arrived.
    pub(crate) fn take(mut self) -> Option<(Box<Request>, Receiver)> {
        let arrived = self.0.take();
        // Nothing is left in it; its end would look once more.
        std::mem::forget(self);
        arrived
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some((request, receiver)) = self.0.take() {
            receiver.notice().set_unsent(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the allocator keeps in its quick lists (glibc: up to 120 bytes by default) is had again
    /// without a search; a request is made and dropped for every call.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_request_fits_the_allocators_quick_lists() {
        assert!(size_of::<Request>() <= 120, "{}", size_of::<Request>());
    }
}
