//! What observers are told of a channel's connections (gRFC A94).

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use gannet_core::Status;
use gannet_http2::Reason;

use crate::CloseReason;

/// Something has become of an attempt to connect to one of a channel's servers, or of a connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionEvent<'a> {
    /// The channel's target, with its scheme.
    pub target: &'a Arc<str>,
    /// What it leads to.
    pub address: &'a str,
    /// What has become of it.
    pub change: ConnectionChange<'a>,
}

impl<'a> ConnectionEvent<'a> {
    /// For the client.
    pub fn new(
        target: &'a Arc<str>,
        address: &'a str,
        change: ConnectionChange<'a>,
    ) -> ConnectionEvent<'a> {
        ConnectionEvent { target, address, change }
    }
}

/// See [`ConnectionEvent`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ConnectionChange<'a> {
    /// An attempt has led to a connection, which takes calls from here on.
    Opened,
    /// An attempt has failed. None that nobody wanted any more, as when another was faster (A61).
    Failed(&'a Status),
    /// A connection that was told of as opened takes no more calls; those that are on it may go on.
    Closed(Disconnect),
}

/// Why a connection takes no more calls: the first that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disconnect {
    /// The server said so, with this code.
    GoAway(Reason),
    /// This side does not want it any more: the channel was closed, is idle, or goes elsewhere.
    Shutdown,
    /// The server, or somebody on the way, reset it.
    Reset,
    /// The server does not answer: keepalive, or the operating system's own patience.
    TimedOut,
    /// The operating system gave it up.
    Aborted,
    /// The socket failed in another way.
    Socket,
    /// Anything else: the server closed it without a word, or broke HTTP/2.
    Unknown,
}

impl Disconnect {
    /// For the client: of a connection that has ended like this.
    pub fn of(reason: &CloseReason) -> Disconnect {
        match reason {
            CloseReason::Io(error) => Disconnect::of_socket(error),
            // What no rule was broken for is what no answer came for.
            CloseReason::Protocol(error) if error.reason == Reason::NO_ERROR => {
                Disconnect::TimedOut
            }
            CloseReason::Aborted => Disconnect::Shutdown,
            _ => Disconnect::Unknown,
        }
    }

    fn of_socket(error: &io::Error) -> Disconnect {
        match error.kind() {
            io::ErrorKind::ConnectionReset => Disconnect::Reset,
            io::ErrorKind::TimedOut => Disconnect::TimedOut,
            io::ErrorKind::ConnectionAborted => Disconnect::Aborted,
            _ if error.raw_os_error().is_some() => Disconnect::Socket,
            io::ErrorKind::BrokenPipe => Disconnect::Socket,
            _ => Disconnect::Unknown,
        }
    }

    /// As A94 has it for `grpc.disconnect_error`. Codes that HTTP/2 does not know are
    /// `GOAWAY INTERNAL_ERROR` (RFC 9113 section 7), so that servers cannot make up labels.
    pub fn label(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Disconnect::GoAway(reason) => {
                let name = reason.name().unwrap_or("INTERNAL_ERROR");
                return Cow::Owned(format!("GOAWAY {name}"));
            }
            Disconnect::Shutdown => "subchannel shutdown",
            Disconnect::Reset => "connection reset",
            Disconnect::TimedOut => "connection timed out",
            Disconnect::Aborted => "connection aborted",
            Disconnect::Socket => "socket error",
            Disconnect::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_http2::ConnectionError;
    use std::io::ErrorKind;

    #[test]
    fn ends_of_connections_have_the_words_of_a94() {
        let socket = |kind: ErrorKind| Disconnect::of(&CloseReason::Io(kind.into())).label();
        assert_eq!(socket(ErrorKind::ConnectionReset), "connection reset");
        assert_eq!(socket(ErrorKind::TimedOut), "connection timed out");
        assert_eq!(socket(ErrorKind::ConnectionAborted), "connection aborted");
        assert_eq!(socket(ErrorKind::BrokenPipe), "socket error");
        assert_eq!(socket(ErrorKind::UnexpectedEof), "unknown");
        let unreachable = io::Error::from_raw_os_error(113);
        assert_eq!(Disconnect::of(&CloseReason::Io(unreachable)).label(), "socket error");
        assert_eq!(Disconnect::of(&CloseReason::Aborted).label(), "subchannel shutdown");
        assert_eq!(Disconnect::of(&CloseReason::Finished).label(), "unknown");
        let engine = |reason| {
            let error = ConnectionError { reason, detail: "told by the engine" };
            Disconnect::of(&CloseReason::Protocol(error)).label()
        };
        assert_eq!(engine(Reason::NO_ERROR), "connection timed out", "keepalive");
        assert_eq!(engine(Reason::PROTOCOL_ERROR), "unknown");
        let goaway = |code| Disconnect::GoAway(Reason(code)).label();
        assert_eq!(goaway(0), "GOAWAY NO_ERROR");
        assert_eq!(goaway(11), "GOAWAY ENHANCE_YOUR_CALM");
        assert_eq!(goaway(4_711), "GOAWAY INTERNAL_ERROR", "no label of the server's own");
    }
}
