//! The end of a connection: flush, close our half, and give the peer a moment to read.
//!
//! Where it is a write that fails, the peer has closed or reset the connection, and what it said
//! before may lie in the socket unread: answers of calls, a GOAWAY, or an alert of TLS that tells
//! why. That is taken first, and what it ends with is the reason.
//!
//! Closing a socket that holds unread bytes makes TCP send a reset, which may destroy the GOAWAY
//! that is on its way. So our half is closed first, and the peer's bytes are thrown away until it
//! closes too, for a bounded time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gannet_http2::ConnectionError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Driver, Side, Wake};

/// How long output may take to leave, and the peer to close its half.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of the peer that are thrown away at most.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long the system may take to tell that a socket that cannot be written has bytes or an end.
/// It does so at once.
const LISTEN: Duration = Duration::from_millis(200);
/// Reads of what such a socket holds, of at most 256 KiB each, and under TLS often of less.
const LISTEN_READS_MAX: usize = 1_024;
/// Of these in a row, before others have their turn.
const LISTEN_READS_PER_POLL_MAX: usize = 8;

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides are done: drained, or the peer closed an idle connection.
    Finished,
    /// The socket failed, or closed in the middle of something.
    Io(io::Error),
    /// The peer broke HTTP/2 or exceeded a bound.
    Protocol(ConnectionError),
    /// Told to end at once, or its runtime went away.
    Aborted,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Finished => f.write_str("the connection has ended"),
            CloseReason::Io(error) => write!(f, "the connection was lost: {error}"),
            CloseReason::Protocol(error) => error.fmt(f),
            CloseReason::Aborted => f.write_str("the connection was closed from this side"),
        }
    }
}

impl std::error::Error for CloseReason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CloseReason::Io(error) => Some(error),
            CloseReason::Protocol(error) => Some(error),
            CloseReason::Finished | CloseReason::Aborted => None,
        }
    }
}

/// How far the closing went.
#[derive(Debug)]
pub(super) struct Closing {
    reason: CloseReason,
    until: Instant,
    step: Step,
    /// Bytes to throw away, or reads to listen to.
    left: usize,
}

#[derive(Debug)]
enum Step {
    /// Calls are not told yet: what the peer said is taken.
    Listen,
    Flush,
    Shutdown,
    Linger,
}

impl Closing {
    pub(super) fn new(reason: CloseReason, now: Instant) -> Closing {
        Closing { reason, until: now + LINGER, step: Step::Flush, left: LINGER_BYTES_MAX }
    }

    fn listening(reason: CloseReason, now: Instant) -> Closing {
        let (until, left) = (now + LISTEN, LISTEN_READS_MAX);
        Closing { reason, until, step: Step::Listen, left }
    }

    pub(super) fn into_reason(self) -> CloseReason {
        self.reason
    }
}

impl<S: Side> Driver<S> {
    /// A write has failed; why, for whoever is to be told, unless the peer has said more before it
    /// went.
    #[cold]
    pub(super) fn unwritable(&mut self, error: io::Error) -> CloseReason {
        use io::ErrorKind as Kind;
        let gone = [Kind::BrokenPipe, Kind::ConnectionReset, Kind::ConnectionAborted];
        self.is_unwritable = gone.contains(&error.kind());
        CloseReason::Io(error)
    }

    /// Takes what the peer said before it went, and closes then.
    pub(super) fn listen(&mut self, reason: CloseReason, now: Instant) {
        self.closing = Some(Box::new(Closing::listening(reason, now)));
    }

    /// Reads up to the end, which is near; ready when it is reached, or nothing comes.
    fn poll_last_words(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        until: Instant,
    ) -> Poll<Option<CloseReason>> {
        let mut wake = Wake::default();
        for _ in 0..LISTEN_READS_PER_POLL_MAX {
            match self.read(cx, now, &mut wake) {
                Err(said) => return Poll::Ready(Some(said)),
                // The rest would want answers.
                Ok(_) if now >= until || !self.may_read() => return Poll::Ready(None),
                Ok(_) if self.awaits_input(cx, &mut wake) => return Poll::Pending,
                Ok(_) => {}
            }
        }
        let Some(closing) = &mut self.closing else { return Poll::Ready(None) };
        closing.left = closing.left.saturating_sub(LISTEN_READS_PER_POLL_MAX);
        if closing.left == 0 {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when the socket may be dropped. Errors no longer matter to anyone.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Anew each time: what is due by now is not waited for.
            let now = tokio::time::Instant::now().into_std();
            let Some(closing) = &self.closing else { return Poll::Ready(()) };
            let until = closing.until;
            let is_over = matches!(closing.reason, CloseReason::Io(_)) || now >= until;
            let waits = match closing.step {
                Step::Listen => match self.poll_last_words(cx, now, until) {
                    Poll::Ready(said) => self.heard_last_words(said, now),
                    Poll::Pending => true,
                },
                _ if is_over => return Poll::Ready(()),
                Step::Flush => match self.flush(cx) {
                    Ok(Poll::Ready(())) => self.closing_step(Step::Shutdown),
                    Ok(Poll::Pending) => true,
                    Err(_) => return Poll::Ready(()),
                },
                Step::Shutdown => match Pin::new(&mut self.io).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) if !self.read_ended => self.closing_step(Step::Linger),
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => true,
                },
                Step::Linger => match self.throw_away(cx) {
                    Poll::Ready(()) => return Poll::Ready(()),
                    Poll::Pending => true,
                },
            };
            if waits && self.alarm.arm(Some(until), now, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Closes with what was `said`, or with what the write found.
    fn heard_last_words(&mut self, said: Option<CloseReason>, now: Instant) -> bool {
        let found = self.closing.take().map(|closing| closing.into_reason());
        if let Some(reason) = said.or(found) {
            self.close(reason, now);
        }
        false
    }

    fn closing_step(&mut self, step: Step) -> bool {
        if let Some(closing) = &mut self.closing {
            closing.step = step;
        }
        false
    }

    fn throw_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            let n = match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => buf.filled().len(),
            };
            let Some(closing) = &mut self.closing else { return Poll::Ready(()) };
            closing.left = closing.left.saturating_sub(n);
            if n == 0 || closing.left == 0 {
                return Poll::Ready(());
            }
        }
    }
}
