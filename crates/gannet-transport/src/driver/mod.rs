//! The driver: one task per connection that owns the engine, the I/O, the buffers and, through a
//! [`Side`], the calls.
//!
//! Each time the task is woken it takes what other tasks queued, reads what the socket has and
//! parses every frame, lets the side poll new and woken handlers, asks the engine once what to
//! send, and writes that with one vectored write. It repeats where a round left something to do,
//! and registers its wakers last of all: the queue's after the others.
//!
//! Does not know what a call is: see [`Side`].

mod closing;
mod http1;
mod input;
mod output;
mod rest;
mod side;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gannet_core::storage;
use gannet_http2::{Connection, RecvBuf, SendBuf};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::io::{Input, Stream};
use crate::pool;
use crate::queue::{Command, Queue};
use crate::timer::Alarm;
pub use closing::CloseReason;
use closing::Closing;
use rest::Rest;
pub use side::{Progress, Side, Turn};

/// Rounds of one wake before the task yields to others.
const ROUNDS_PER_WAKE_MAX: usize = 8;
/// Commands taken in one go.
const COMMANDS_PER_ROUND_MAX: usize = 2_048;
/// From so many lone commands in a row on, the next is expected to be alone too.
const ALONE_MIN: u8 = 8;
/// And from so many on, it is made sure: where answers come at once, callers that take turns look
/// like one.
const ALONE_MAX: u8 = 40;

/// A connection as a future: spawn it. It resolves when the socket is closed and every call has
/// been told.
///
/// Dropping it ends the connection at once; calls are told the same way.
pub struct Driver<S: Side> {
    io: Stream,
    conn: Connection<S::Role>,
    side: S,
    queue: Arc<Queue<S::Command>>,
    recv: RecvBuf,
    send: SendBuf,
    alarm: Alarm,
    rest: Rest,
    /// When the engine wants to be called, as of the last sleep.
    engine_due: Option<Instant>,
    /// Woken by a command, lets other tasks run before it looks.
    gathers: bool,
    /// How often in a row there was one command, and no call but its own: nothing to gather.
    alone: u8,
    /// The last poll ended in sleep.
    slept: bool,
    /// Parsing stopped with frames left, because the engine had too much to answer.
    parse_again: bool,
    read_ended: bool,
    /// The socket takes no more, as the peer has closed or reset the connection.
    is_unwritable: bool,
    /// Since when the socket has taken nothing, although there is output.
    stalled_since: Option<Instant>,
    closing: Option<Box<Closing>>,
    /// Frees what is kept of long messages, when nobody else does.
    watch: Option<storage::Watch>,
    /// Goes last: what the fields above hold of long messages is kept for other connections.
    _lease: storage::Lease,
}

/// What one poll of the driver has done so far.
#[derive(Default)]
struct Wake {
    rounds: usize,
    written_bytes: usize,
    /// Commands that were taken.
    commands: usize,
    /// Some of them after the handlers ran.
    touched: bool,
    input: Input,
    /// The write side is registered with the reactor, because the socket is full.
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

impl<S: Side> Driver<S> {
    /// Puts a connection together. `queue` is how other tasks reach it.
    pub fn new(
        io: Stream,
        conn: Connection<S::Role>,
        side: S,
        queue: Arc<Queue<S::Command>>,
    ) -> Driver<S> {
        Driver {
            io,
            conn,
            side,
            queue,
            recv: RecvBuf::new(),
            send: SendBuf::new(),
            alarm: Alarm::default(),
            rest: Rest::new(),
            engine_due: None,
            gathers: other_tasks_are_overtaken(),
            alone: 0,
            slept: false,
            parse_again: false,
            read_ended: false,
            is_unwritable: false,
            stalled_since: None,
            closing: None,
            watch: None,
            _lease: storage::Lease::new(),
        }
    }

    /// The calls' side of the connection.
    pub fn side(&self) -> &S {
        &self.side
    }

    fn turn(&mut self, now: Instant) -> (&mut S, Turn<'_, S::Role>) {
        (&mut self.side, Turn { conn: &mut self.conn, now })
    }

    #[inline]
    fn round(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<Round, CloseReason> {
        let first = wake.rounds == 0;
        wake.rounds += 1;
        let mut progress = self.take_commands(now, wake)? | std::mem::take(&mut wake.touched);
        progress |= self.read(cx, now, wake)?;
        progress |= self.handle_timers(now)?;
        // Reading may have made TLS answer by itself.
        progress |= self.io.holds_output() && !wake.write_pending;
        if !first && !progress {
            return Ok(Round::Idle);
        }
        if self.is_busy() {
            self.rest.stir();
        }
        let (side, mut turn) = self.turn(now);
        let side_progress = side.run(&mut turn);
        // What handlers asked for may have made other handlers ready: another round sees to them.
        wake.touched = self.take_commands(now, wake)?;
        let (side, mut turn) = self.turn(now);
        side.settle(&mut turn);
        self.write(cx, now, wake)?;
        let (side, mut turn) = self.turn(now);
        side.transmitted(&mut turn);
        while self.conn.poll_drained().is_some() {}
        if self.conn.is_finished() && !self.side.is_busy() {
            return Err(CloseReason::Finished);
        }
        if side_progress == Progress::More || wake.has_written_enough() {
            return Ok(Round::Yield);
        }
        let idle = !wake.touched && self.input_is_used_up(wake);
        Ok(if idle { Round::Idle } else { Round::More })
    }

    /// Takes what other tasks queued; whether there was something.
    #[inline(always)]
    fn take_commands(&mut self, now: Instant, wake: &mut Wake) -> Result<bool, CloseReason> {
        if self.queue.is_empty() {
            return Ok(false);
        }
        let before = wake.commands;
        self.take_queued(now, wake)?;
        Ok(wake.commands > before)
    }

    fn take_queued(&mut self, now: Instant, wake: &mut Wake) -> Result<(), CloseReason> {
        for _ in 0..COMMANDS_PER_ROUND_MAX {
            let Some(command) = self.queue.pop() else { break };
            wake.commands += 1;
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
        Ok(())
    }

    /// Whether there are calls.
    fn is_busy(&self) -> bool {
        self.conn.open_streams() > 0 || self.side.is_busy()
    }

    /// Sees to timers that have expired; whether there were some.
    #[inline]
    fn handle_timers(&mut self, now: Instant) -> Result<bool, CloseReason> {
        let mut any = false;
        if self.engine_due.is_some_and(|at| at <= now) {
            self.conn.handle_timeout(now).map_err(CloseReason::Protocol)?;
            self.engine_due = self.conn.poll_timeout().filter(|at| *at > now);
            any = true;
        }
        if self.side.next_deadline().is_some_and(|at| at <= now) {
            let (side, mut turn) = self.turn(now);
            side.handle_deadlines(&mut turn);
            any = true;
        }
        Ok(any)
    }

    /// Registers for what can wake the task; false where something came up meanwhile.
    #[inline]
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant, wake: &mut Wake) -> bool {
        if !self.awaits_input(cx, wake) {
            return false;
        }
        if let Some(storage) = self.recv.take_storage() {
            pool::give(storage);
        }
        if self.queue.take_roused() {
            self.rest.is_noted = false;
        }
        self.give_back(now);
        self.engine_due = self.conn.poll_timeout();
        let deadline = earlier(self.engine_due, self.side.next_deadline());
        let deadline = earlier(deadline, self.rest_deadline());
        let mut deadline = earlier(deadline, self.stall_deadline());
        if self.rest.is_noted && self.rest.is_roused_before(deadline, now) {
            // No timer for what is hours away, while it is looked at every few seconds anyway.
            deadline = None;
            if self.alarm.is_armed() {
                self.alarm.release();
            }
        }
        self.alarm.arm(deadline, now, cx) && self.queue.sleep(cx.waker())
    }

    /// Whether callers run beside the connection, on other threads: it has written, and they went
    /// on asking. What they ask for comes one by one, and is to leave in one write.
    #[inline]
    fn gathers_more(&self, wake: &Wake) -> bool {
        self.gathers && wake.touched && wake.commands > 1 && wake.written_bytes > 0
    }

    /// Notes whether whoever woke the task is the only one who does.
    #[inline]
    fn count_callers(&mut self, wake: &Wake) {
        if wake.commands > 0 {
            let alone = wake.commands == 1 && self.conn.open_streams() <= 1;
            self.alone = match self.alone {
                _ if !alone => 0,
                ALONE_MAX.. => ALONE_MIN - 1,
                before => before + 1,
            };
        }
    }

    /// Gives memory back that only calls need, when it is time to.
    #[inline]
    fn give_back(&mut self, now: Instant) {
        if !storage::is_empty() {
            storage::release_unused(now, rest::KEPT);
        }
        let is_due = self.rest.is_due(now, !self.is_busy() && self.send.is_empty());
        if is_due {
            self.side.release();
            self.conn.release_storage();
            self.send.release();
            self.alarm.release();
        }
        if is_due || self.watch.is_some() {
            self.watch_storage(now);
        }
    }

    /// When to look again whether memory is to be given back, where nobody rouses the connection
    /// for that.
    #[inline]
    fn rest_deadline(&mut self) -> Option<Instant> {
        let at = self.rest.next()?;
        (!self.rest.is_noted && !self.note_rest()).then_some(at)
    }

    #[cold]
    fn note_rest(&mut self) -> bool {
        let queue = Arc::downgrade(&self.queue);
        self.rest.is_noted = self.rest.rouser.note(queue);
        self.rest.is_noted
    }

    /// Perhaps nobody else is awake by the time what is kept has lain unused for long enough: one
    /// connection sees to that, until nothing is kept.
    fn watch_storage(&mut self, now: Instant) {
        if storage::is_empty() {
            self.watch = None;
            return;
        }
        self.watch = self.watch.take().or_else(storage::Watch::claim);
        if self.watch.is_some() && self.rest.next().is_none() {
            self.rest.again(now);
        }
    }

    /// Tells every call, and goes on to close the socket; where nothing can be written to that any
    /// more, not before all was read.
    #[cold]
    fn close(&mut self, reason: CloseReason, now: Instant) {
        if std::mem::take(&mut self.is_unwritable) {
            return self.listen(reason, now);
        }
        self.side.closed(&reason);
        self.queue.close();
        if matches!(reason, CloseReason::Aborted) {
            self.conn.goaway(gannet_http2::Reason::NO_ERROR, b"");
        }
        self.say_last_words(now);
        if let Some(storage) = self.recv.take_storage() {
            pool::give(storage);
        }
        self.closing = Some(Box::new(Closing::new(reason, now)));
    }
}

impl<S: Side> Future for Driver<S> {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        let is_told = this.queue.awake();
        if !std::mem::take(&mut this.slept) {
            this.engine_due = this.conn.poll_timeout();
        } else if is_told && this.gathers && this.alone < ALONE_MIN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = tokio::time::Instant::now().into_std();
        let mut wake = Wake::default();
        while this.closing.is_none() {
            match this.round(cx, now, &mut wake) {
                Ok(Round::Idle) => {
                    if this.sleep(cx, now, &mut wake) {
                        this.count_callers(&wake);
                        this.slept = true;
                        return Poll::Pending;
                    }
                }
                Ok(Round::More) if !this.gathers_more(&wake) => {}
                Ok(Round::More | Round::Yield) => wake.rounds = ROUNDS_PER_WAKE_MAX,
                Err(reason) => this.close(reason, now),
            }
            if wake.rounds >= ROUNDS_PER_WAKE_MAX && this.closing.is_none() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        ready!(this.poll_closed(cx));
        let closing = this.closing.take().expect("closing was set above");
        Poll::Ready(closing.into_reason())
    }
}

/// Nothing in it is pinned in place; the role is only a marker.
impl<S: Side> Unpin for Driver<S> {}

impl<S: Side> Drop for Driver<S> {
    fn drop(&mut self) {
        if !self.queue.is_closed() {
            self.side.closed(&CloseReason::Aborted);
            self.queue.close();
        }
    }
}

impl<S: Side> fmt::Debug for Driver<S> {
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
/// tasks, would write a hundred times; so it goes to the end of the line once. Not for a caller who
/// is alone: the runtime wakes another of its threads for a task in that line.
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
