//! What goes out: asking the engine, writing, and watching that the peer reads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::{CloseReason, Driver, Side, Wake, http1};

/// Bytes written in one wake before the task yields.
const WRITTEN_BYTES_PER_WAKE_MAX: usize = 2 << 20;
/// Output of this size may have been cut short by the engine's bound: ask it again.
const TRANSMIT_AGAIN_BYTES_MIN: usize = 16 << 10;
/// How long a peer may leave a full socket unread before the connection ends. What waits for
/// flow-control windows does not count: a slow application is honest, a socket that nobody reads is
/// not, or dead.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// Slices of one vectored write.
const SLICES_MAX: usize = 64;

impl<S: Side> Driver<S> {
    /// Asks the engine what to send and writes it, as far as the socket takes it.
    #[inline]
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<(), CloseReason> {
        if self.holds_back() {
            return Ok(());
        }
        loop {
            self.conn.poll_transmit(now, &mut self.send);
            let output_bytes = self.send.len();
            if output_bytes == 0 && !self.io.holds_output() || wake.write_pending {
                return Ok(());
            }
            let sent_bytes = self.io.sent_bytes();
            match self.flush(cx).map_err(|error| self.unwritable(error))? {
                Poll::Ready(()) => {}
                Poll::Pending => wake.write_pending = true,
            }
            let progress = match sent_bytes {
                // What TLS takes may stay with it.
                Some(_) => self.io.sent_bytes() > sent_bytes,
                None => self.send.len() < output_bytes,
            };
            self.watch_progress(now, progress, wake.write_pending)?;
            wake.written_bytes += output_bytes - self.send.len();
            let again_min = TRANSMIT_AGAIN_BYTES_MIN.min(self.conn.send_buffer_bytes_max());
            let short = output_bytes < again_min;
            if short || wake.write_pending || wake.has_written_enough() {
                return Ok(());
            }
        }
    }

    /// Whether the peer may still turn out to speak HTTP/1, so that it is told nothing in HTTP/2. A
    /// client of HTTP/2 begins with its preface, whatever it hears (RFC 9113 section 3.4); so it
    /// waits for nothing, and SETTINGS leave with their acknowledgement. Who came by ALPN or by a
    /// pipe speaks HTTP/2.
    #[inline]
    pub(super) fn holds_back(&self) -> bool {
        self.conn.awaits_preface() && self.io.is_socket()
    }

    /// Has the last words leave next: the engine's, or, to a client that has heard nothing and
    /// speaks HTTP/1, what it can read.
    pub(super) fn say_last_words(&mut self, now: Instant) {
        match self.conn.http1_method(&self.recv).filter(|_| self.holds_back()) {
            Some(method) => http1::answer(method, &mut self.send),
            None => {
                self.conn.poll_transmit(now, &mut self.send);
            }
        }
    }

    /// When a peer that reads nothing has had its time.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + WRITE_STALL_MAX)
    }

    /// Ends a connection whose peer has not read for too long.
    fn watch_progress(
        &mut self,
        now: Instant,
        progress: bool,
        pending: bool,
    ) -> Result<(), CloseReason> {
        if progress || !pending {
            self.stalled_since = None;
        }
        if !pending {
            return Ok(());
        }
        let since = *self.stalled_since.get_or_insert(now);
        if now < since + WRITE_STALL_MAX {
            return Ok(());
        }
        let told = format!("the peer has read nothing for {} s", WRITE_STALL_MAX.as_secs());
        Err(CloseReason::Io(io::Error::new(io::ErrorKind::TimedOut, told)))
    }

    /// Writes what is in the send buffer. Pending: the rest waits for the socket.
    #[inline(always)]
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.send.is_empty() {
            let written = match self.send.as_contiguous() {
                Some(bytes) => match self.io.write_now(bytes)? {
                    0 => Pin::new(&mut self.io).poll_write(cx, bytes),
                    n => Poll::Ready(Ok(n)),
                },
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let n = self.send.slices(&mut slices);
                    Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..n])
                }
            };
            match written {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.send.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if !self.io.needs_flush() {
            return Ok(Poll::Ready(()));
        }
        Ok(Pin::new(&mut self.io).poll_flush(cx)?)
    }
}

impl Wake {
    /// Whether others should have their turn, for what was written.
    pub(super) fn has_written_enough(&self) -> bool {
        self.written_bytes > WRITTEN_BYTES_PER_WAKE_MAX
    }
}
