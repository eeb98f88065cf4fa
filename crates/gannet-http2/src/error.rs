//! Error codes (RFC 9113 section 7) and the errors the engine reports.

use std::fmt;

/// An HTTP/2 error code, as carried by RST_STREAM and GOAWAY (RFC 9113 section 7).
///
/// Unknown codes are kept as they came: they trigger no special behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u32);

impl Reason {
    /// Graceful shutdown, or no error at all.
    pub const NO_ERROR: Reason = Reason(0x0);
    /// The peer broke a rule that has no code of its own.
    pub const PROTOCOL_ERROR: Reason = Reason(0x1);
    /// An internal fault.
    pub const INTERNAL_ERROR: Reason = Reason(0x2);
    /// A flow-control window was exceeded.
    pub const FLOW_CONTROL_ERROR: Reason = Reason(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Reason = Reason(0x4);
    /// A frame arrived on a stream that was already half-closed.
    pub const STREAM_CLOSED: Reason = Reason(0x5);
    /// A frame had an invalid size.
    pub const FRAME_SIZE_ERROR: Reason = Reason(0x6);
    /// The stream was refused before any processing; safe to retry.
    pub const REFUSED_STREAM: Reason = Reason(0x7);
    /// The stream is no longer wanted.
    pub const CANCEL: Reason = Reason(0x8);
    /// The header compression state cannot be kept.
    pub const COMPRESSION_ERROR: Reason = Reason(0x9);
    /// A CONNECT tunnel broke.
    pub const CONNECT_ERROR: Reason = Reason(0xa);
    /// The peer generates too much load.
    pub const ENHANCE_YOUR_CALM: Reason = Reason(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Reason = Reason(0xc);
    /// HTTP/1.1 is required.
    pub const HTTP_1_1_REQUIRED: Reason = Reason(0xd);

    /// The registered name, or `None` for a code this version does not know.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The connection cannot go on: the engine has queued a GOAWAY with `reason` and accepts no verbs.
///
/// Flush what [`Connection::poll_transmit`](crate::Connection::poll_transmit) still yields, then
/// close the socket (RFC 9113 section 5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code sent in GOAWAY. NO_ERROR where the connection was given up: its keepalive had no
    /// answer, or it was as old as it may get.
    pub reason: Reason,
    /// Which rule was broken, or which bound was exceeded.
    pub detail: &'static str,
}

impl ConnectionError {
    pub(crate) const fn new(reason: Reason, detail: &'static str) -> Self {
        ConnectionError { reason, detail }
    }

    pub(crate) const fn protocol(detail: &'static str) -> Self {
        Self::new(Reason::PROTOCOL_ERROR, detail)
    }

    pub(crate) const fn frame_size(detail: &'static str) -> Self {
        Self::new(Reason::FRAME_SIZE_ERROR, detail)
    }

    /// No rule was broken: the peer is gone, or its time is over.
    pub(crate) const fn lost(detail: &'static str) -> Self {
        Self::new(Reason::NO_ERROR, detail)
    }

    pub(crate) const fn calm(detail: &'static str) -> Self {
        Self::new(Reason::ENHANCE_YOUR_CALM, detail)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::NO_ERROR => f.write_str(self.detail),
            reason => write!(f, "HTTP/2 connection error {reason}: {}", self.detail),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// A verb named a stream that is gone, or whose sending side already ended.
///
/// This is the ordinary outcome of a race with a peer's reset: the caller drops what it wanted to
/// send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleKey;

impl fmt::Display for StaleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream is closed")
    }
}

impl std::error::Error for StaleKey {}

/// Why a client cannot open another stream on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached; try again when a stream has closed.
    StreamLimit,
    /// A GOAWAY was sent or received, or the connection failed: use another connection.
    GoingAway,
    /// All 2^30 stream identifiers are used up: use another connection.
    IdsExhausted,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::StreamLimit => "the peer's limit of concurrent streams is reached",
            OpenError::GoingAway => "the connection is going away",
            OpenError::IdsExhausted => "the connection has used up its stream identifiers",
        })
    }
}

impl std::error::Error for OpenError {}
