//! The end of a connection: flush, close our half, and give the peer a moment to read.
//!
//! Closing a socket that holds unread bytes makes TCP send a reset, which may destroy the GOAWAY
//! that is on its way. So our half is closed first, and the peer's bytes are thrown away until it
//! closes too, for a bounded time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{CloseReason, Driver, Side};

/// How long output may take to leave, and the peer to close its half.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of the peer that are thrown away at most.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// How far the closing went.
#[derive(Debug)]
pub(super) struct Closing {
    reason: CloseReason,
    until: Instant,
    step: Step,
    left: usize,
}

#[derive(Debug)]
enum Step {
    Flush,
    Shutdown,
    Linger,
}

impl Closing {
    pub(super) fn new(reason: CloseReason, now: Instant) -> Closing {
        Closing { reason, until: now + LINGER, step: Step::Flush, left: LINGER_BYTES_MAX }
    }

    pub(super) fn into_reason(self) -> CloseReason {
        self.reason
    }
}

impl<S, Io> Driver<S, Io>
where
    S: Side,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    /// Ready when the socket may be dropped. Errors no longer matter to anyone.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        loop {
            let Some(closing) = &self.closing else { return Poll::Ready(()) };
            let until = closing.until;
            if matches!(closing.reason, CloseReason::Io(_)) || now >= until {
                return Poll::Ready(());
            }
            let waits = match closing.step {
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
