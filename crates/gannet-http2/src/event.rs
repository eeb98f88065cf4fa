//! What the engine tells the layer above.

use crate::hpack::FieldBlock;
use crate::{Reason, StreamKey};

/// One thing that happened on the connection, borrowed from the engine and the read buffer.
///
/// The layer above takes what it needs before it asks for the next event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request (server) or a final response (client), validated as RFC 9113 section 8 demands.
    /// The block may be swapped for another one, so that its storage is kept without a copy.
    Headers {
        /// The stream; new to a server.
        key: StreamKey,
        /// Pseudo-headers first, then the rest in order.
        fields: &'a mut FieldBlock,
        /// The peer sends no body and no trailers.
        end_stream: bool,
    },
    /// An interim response, 1xx (client only). It changes nothing.
    Informational {
        /// The stream.
        key: StreamKey,
        /// 100 to 199.
        status: u16,
    },
    /// Body bytes: a whole DATA frame or a part of one. Give them back with `release`.
    Data {
        /// The stream.
        key: StreamKey,
        /// Without padding; empty only together with `end_stream`.
        payload: &'a [u8],
        /// Nothing follows.
        end_stream: bool,
    },
    /// Trailers; nothing follows.
    Trailers {
        /// The stream.
        key: StreamKey,
        /// May be swapped out like the block of `Headers`.
        fields: &'a mut FieldBlock,
    },
    /// The stream ended early, in both directions. The layer above must still `forget` it.
    Reset {
        /// The stream.
        key: StreamKey,
        /// The code that was received, or that we sent.
        reason: Reason,
        /// The peer did it (RST_STREAM or GOAWAY); otherwise it broke a rule and we did.
        remote: bool,
        /// The peer has certainly not processed the request (RFC 9113 section 8.7): safe to retry.
        unprocessed: bool,
    },
    /// A PING came; its acknowledgement is already queued.
    Ping {
        /// The peer's payload.
        opaque: [u8; 8],
    },
    /// One of our own pings, sent by `ping`, was acknowledged.
    PingAck {
        /// The payload given to `ping`.
        opaque: [u8; 8],
    },
    /// The peer's SETTINGS were applied; limits on opening streams may have changed.
    Settings,
    /// The peer will accept no new streams (RFC 9113 section 6.8).
    GoAway {
        /// The highest stream the peer has or may have processed.
        last_stream_id: u32,
        /// Why.
        reason: Reason,
        /// Debug data as sent, for instance `too_many_pings`.
        debug: &'a [u8],
    },
}
