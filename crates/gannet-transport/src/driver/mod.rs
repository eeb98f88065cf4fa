//! The driver: one task per connection that owns the engine, the I/O, the buffers and, through a
//! [`Side`], the calls.
//!
//! Each time the task is woken it takes what other tasks queued, reads what the socket has and
//! parses every frame, lets the side poll new and woken handlers, asks the engine once what to
//! send, and writes that with one vectored write. It repeats until a round finds nothing, and only
//! then registers its wakers: the queue's last.
//!
//! Does not know what a call is: see [`Side`].

mod closing;
mod rest;
mod side;

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use gannet_core::storage;
use gannet_http2::{Connection, ConnectionError, RecvBuf, SendBuf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::pool;
use crate::queue::{Command, Queue};
use crate::timer::Alarm;
use closing::Closing;
use rest::{Due, Rest};
pub use side::{Progress, Side, Turn};

/// Rounds of one wake before the task yields to others.
const ROUNDS_PER_WAKE_MAX: usize = 8;
/// Bytes read in one round before the rest waits for handlers and writes.
const READ_BYTES_PER_ROUND_MAX: usize = 256 << 10;
/// Bytes written in one wake before the task yields.
const WRITTEN_BYTES_PER_WAKE_MAX: usize = 2 << 20;
/// Commands taken in one go.
const COMMANDS_PER_ROUND_MAX: usize = 2_048;
/// Output of this size may have been cut short by the engine's bound: ask it again.
const TRANSMIT_AGAIN_BYTES_MIN: usize = 16 << 10;
/// How long a peer may leave a full socket unread before the connection ends. What waits for
/// flow-control windows does not count: a slow application is honest, a socket that nobody reads is
/// not, or dead.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// Slices of one vectored write.
const SLICES_MAX: usize = 64;

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

/// A connection as a future: spawn it. It resolves when the socket is closed and every call has
/// been told.
///
/// Dropping it ends the connection at once; calls are told the same way.
pub struct Driver<S: Side, Io> {
    io: Io,
    conn: Connection<S::Role>,
    side: S,
    queue: Arc<Queue<S::Command>>,
    recv: RecvBuf,
    send: SendBuf,
    alarm: Alarm,
    rest: Rest,
    /// Woken by a command, lets other tasks run before it looks.
    gathers: bool,
    /// The last poll ended in sleep.
    slept: bool,
    /// Parsing stopped with frames left, because the engine had too much to answer.
    parse_again: bool,
    read_ended: bool,
    /// The stream holds output of its own that the socket did not take: TLS records.
    unflushed: bool,
    /// Since when the socket has taken nothing, although there is output.
    stalled_since: Option<Instant>,
    closing: Option<Closing>,
}

/// What one poll of the driver has done so far.
#[derive(Default)]
struct Wake {
    rounds: usize,
    written_bytes: usize,
    /// Commands were taken after the handlers ran.
    touched: bool,
    /// The read side is registered with the reactor.
    read_pending: bool,
    /// The write side is, because the socket is full.
    write_pending: bool,
}

/// How a round ended.
enum Round {
    /// Something happened: look again.
    More,
    /// Nothing is left to do.
    Idle,
    /// Much is left to do, and others want to run.
    Yield,
}

impl<S, Io> Driver<S, Io>
where
    S: Side,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    /// Puts a connection together. `queue` is how other tasks reach it.
    pub fn new(
        io: Io,
        conn: Connection<S::Role>,
        side: S,
        queue: Arc<Queue<S::Command>>,
    ) -> Driver<S, Io> {
        Driver {
            io,
            conn,
            side,
            queue,
            recv: RecvBuf::new(),
            send: SendBuf::new(),
            alarm: Alarm::default(),
            rest: Rest::new(),
            gathers: other_tasks_are_overtaken(),
            slept: false,
            parse_again: false,
            read_ended: false,
            unflushed: false,
            stalled_since: None,
            closing: None,
        }
    }

    fn turn(&mut self, now: Instant) -> (&mut S, Turn<'_, S::Role>) {
        (&mut self.side, Turn { conn: &mut self.conn, now })
    }

    fn round(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<Round, CloseReason> {
        let first = wake.rounds == 0;
        wake.rounds += 1;
        let mut progress = self.take_commands(now)? | std::mem::take(&mut wake.touched);
        progress |= self.read(cx, now, wake)?;
        if first || progress {
            self.handle_timers(now)?;
        } else {
            return Ok(Round::Idle);
        }
        if self.is_busy() {
            self.rest.stir();
        }
        let (side, mut turn) = self.turn(now);
        let side_progress = side.run(&mut turn);
        // What handlers asked for may have made other handlers ready: another round sees to them.
        wake.touched = self.take_commands(now)?;
        let (side, mut turn) = self.turn(now);
        side.settle(&mut turn);
        self.write(cx, now, wake)?;
        let (side, mut turn) = self.turn(now);
        side.transmitted(&mut turn);
        while self.conn.poll_drained().is_some() {}
        if self.conn.is_finished() && !self.side.is_busy() {
            return Err(CloseReason::Finished);
        }
        if side_progress == Progress::More || wake.written_bytes > WRITTEN_BYTES_PER_WAKE_MAX {
            return Ok(Round::Yield);
        }
        Ok(Round::More)
    }

    /// Takes what other tasks queued; whether there was something.
    fn take_commands(&mut self, now: Instant) -> Result<bool, CloseReason> {
        let mut any = false;
        for _ in 0..COMMANDS_PER_ROUND_MAX {
            let Some(command) = self.queue.pop() else { break };
            any = true;
            let (side, mut turn) = self.turn(now);
            match command {
                Command::Call(call) => side.call_asks(&mut turn, &call),
                Command::Side(command) => side.command(&mut turn, command),
                Command::Drain => {
                    self.conn.drain(now);
                }
                Command::Abort => return Err(CloseReason::Aborted),
            }
        }
        Ok(any)
    }

    /// Reads what the socket has and parses it; whether anything came.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<bool, CloseReason> {
        let mut any = false;
        if std::mem::take(&mut self.parse_again) {
            any = self.parse(now)?;
        }
        let mut left = READ_BYTES_PER_ROUND_MAX;
        while left > 0 && !self.parse_again && !self.read_ended && !wake.read_pending {
            if self.conn.read_budget() == 0 {
                break;
            }
            if !self.recv.has_storage()
                && let Some(storage) = pool::take()
            {
                self.recv.restore_storage(storage);
            }
            let spare = self.recv.spare_mut();
            let room = spare.len();
            let mut buf = ReadBuf::new(spare);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => wake.read_pending = true,
                Poll::Ready(Err(error)) => return Err(CloseReason::Io(error)),
                Poll::Ready(Ok(())) => {
                    any = true;
                    let n = buf.filled().len();
                    self.recv.commit(n);
                    if n == 0 {
                        self.read_ended = true;
                        return Err(self.peer_closed());
                    }
                    self.parse(now)?;
                    if n < room {
                        break;
                    }
                    left = left.saturating_sub(n);
                }
            }
        }
        Ok(any)
    }

    /// Whether there are calls.
    fn is_busy(&self) -> bool {
        self.conn.open_streams() > 0 || self.side.is_busy()
    }

    /// What it means that the peer closed its half. HTTP/2 has no use for a half-closed connection:
    /// whoever closes it no longer waits for anything.
    fn peer_closed(&self) -> CloseReason {
        if !self.is_busy() {
            return CloseReason::Finished;
        }
        let told = "the peer closed the connection with calls open";
        CloseReason::Io(io::Error::new(io::ErrorKind::UnexpectedEof, told))
    }

    /// Parses every frame that is there, unless the peer is owed too much output; whether there was
    /// an event.
    fn parse(&mut self, now: Instant) -> Result<bool, CloseReason> {
        let mut any = false;
        loop {
            match self.conn.next_event(now, &mut self.recv) {
                Ok(Some(event)) => self.side.event(now, event),
                Ok(None) => return Ok(any),
                Err(error) => return Err(CloseReason::Protocol(error)),
            }
            any = true;
            if self.conn.read_budget() == 0 {
                self.parse_again = true;
                return Ok(any);
            }
        }
    }

    fn handle_timers(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.conn.poll_timeout().is_some_and(|at| at <= now) {
            self.conn.handle_timeout(now).map_err(CloseReason::Protocol)?;
        }
        if self.side.next_deadline().is_some_and(|at| at <= now) {
            let (side, mut turn) = self.turn(now);
            side.handle_deadlines(&mut turn);
        }
        Ok(())
    }

    /// Asks the engine what to send and writes it, as far as the socket takes it.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<(), CloseReason> {
        loop {
            self.conn.poll_transmit(now, &mut self.send);
            let output_bytes = self.send.len();
            if output_bytes == 0 && !self.unflushed || wake.write_pending {
                return Ok(());
            }
            match self.flush(cx).map_err(CloseReason::Io)? {
                Poll::Ready(()) => {}
                Poll::Pending => wake.write_pending = true,
            }
            self.watch_progress(now, self.send.len() < output_bytes, wake.write_pending)?;
            wake.written_bytes += output_bytes - self.send.len();
            let enough = wake.written_bytes > WRITTEN_BYTES_PER_WAKE_MAX;
            if output_bytes < TRANSMIT_AGAIN_BYTES_MIN || wake.write_pending || enough {
                return Ok(());
            }
        }
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
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.send.is_empty() {
            let io = Pin::new(&mut self.io);
            let written = match self.send.as_contiguous() {
                Some(bytes) => io.poll_write(cx, bytes),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let n = self.send.slices(&mut slices);
                    io.poll_write_vectored(cx, &slices[..n])
                }
            };
            match written {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.send.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx)?;
        self.unflushed = flushed.is_pending();
        Ok(flushed)
    }

    /// Registers for what can wake the task; false where something came up meanwhile.
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant, wake: &Wake) -> bool {
        let may_read = !self.read_ended && self.conn.read_budget() > 0;
        if self.parse_again && self.conn.read_budget() > 0 || may_read && !wake.read_pending {
            return false;
        }
        if let Some(storage) = self.recv.take_storage() {
            pool::give(storage);
        }
        self.give_back(now);
        let deadline = earlier(self.conn.poll_timeout(), self.side.next_deadline());
        let deadline = earlier(deadline, self.rest.next());
        let deadline = earlier(deadline, self.stalled_since.map(|since| since + WRITE_STALL_MAX));
        self.alarm.arm(deadline, now, cx) && self.queue.sleep(cx.waker())
    }

    /// Gives memory back that only calls need, when it is time to.
    fn give_back(&mut self, now: Instant) {
        let due = self.rest.due(now, !self.is_busy() && self.send.is_empty());
        if due == Due::Nothing {
            return;
        }
        self.side.release();
        self.conn.release_storage();
        self.send.release();
        self.alarm.release();
        if due == Due::All {
            storage::release();
        } else if !storage::is_empty() {
            self.rest.again(now);
        }
    }

    /// Tells every call, and goes on to close the socket.
    fn close(&mut self, reason: CloseReason, now: Instant) {
        if let Some(storage) = self.recv.take_storage() {
            pool::give(storage);
        }
        self.side.closed(&reason);
        self.queue.close();
        if matches!(reason, CloseReason::Aborted) {
            self.conn.goaway(gannet_http2::Reason::NO_ERROR, b"");
        }
        self.conn.poll_transmit(now, &mut self.send);
        self.closing = Some(Closing::new(reason, now));
    }
}

impl<S, Io> Future for Driver<S, Io>
where
    S: Side,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        let is_told = this.queue.awake();
        if std::mem::take(&mut this.slept) && is_told && this.gathers {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = tokio::time::Instant::now().into_std();
        let mut wake = Wake::default();
        while this.closing.is_none() {
            match this.round(cx, now, &mut wake) {
                Ok(Round::Idle) => {
                    if this.sleep(cx, now, &wake) {
                        this.slept = true;
                        return Poll::Pending;
                    }
                }
                Ok(Round::More) => {}
                Ok(Round::Yield) => wake.rounds = ROUNDS_PER_WAKE_MAX,
                Err(reason) => this.close(reason, now),
            }
            if wake.rounds >= ROUNDS_PER_WAKE_MAX && this.closing.is_none() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        ready!(this.poll_closed(cx, now));
        let closing = this.closing.take().expect("closing was set above");
        Poll::Ready(closing.into_reason())
    }
}

/// Nothing in it is pinned in place; the role is only a marker.
impl<S: Side, Io: Unpin> Unpin for Driver<S, Io> {}

impl<S: Side, Io> Drop for Driver<S, Io> {
    fn drop(&mut self) {
        if !self.queue.is_closed() {
            self.side.closed(&CloseReason::Aborted);
            self.queue.close();
        }
    }
}

impl<S: Side, Io> fmt::Debug for Driver<S, Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("conn", &self.conn)
            .field("queue", &self.queue)
            .field("send", &self.send)
            .finish_non_exhaustive()
    }
}

/// Whether the runtime lets a task that is woken go before those that are ready already, as tokio's
/// multi-thread runtime does. A connection that ran at once, for the first command of a hundred
/// tasks, would write a hundred times; so it goes to the end of the line once.
fn other_tasks_are_overtaken() -> bool {
    Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() != RuntimeFlavor::CurrentThread)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
