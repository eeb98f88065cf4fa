//! What the connection's task and the tasks of the application share about one call.
//!
//! Everything here is an atomic; there is no lock. Counters only grow (and wrap): each has one
//! writer, and both sides compare.
//!
//! | field | written by | read by |
//! | --- | --- | --- |
//! | `taken` | application | connection: how much receive credit to give back |
//! | `attention` | connection | application: ring when you have taken the last message |
//! | `queued` | application | application: how much it has queued to send |
//! | `sent` | connection | application: how much of that is on its way to the socket |
//! | `ended` | connection | application: the call is over |

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Wake};

use atomic_waker::AtomicWaker;
use gannet_core::{Code, Metadata, Status};

use crate::queue::CallQueue;

/// Bytes of messages that one call may have queued or in flight in the engine before
/// [`Outbound::send`](crate::Outbound::send) waits; one message more is always accepted.
pub const SEND_QUEUE_BYTES_MAX: usize = 64 << 10;

/// Taken bytes after which the connection is told, so that credit flows in large steps.
pub(crate) const RELEASE_STEP_BYTES: usize = 16 << 10;

/// What a call asks of its connection.
#[derive(Debug)]
pub enum CallCommand {
    /// The call's waker was woken, or its counters moved. At most one waits per call.
    Touch,
    /// Send this message, prefix included.
    Message(Vec<u8>),
    /// These are the response headers so far; each replaces the one before.
    Headers(Metadata),
    /// Send the response headers now, without waiting for a message.
    SendHeaders,
    /// No message follows ([`Outbound::finish`](crate::Outbound::finish)).
    Finish,
    /// The application dropped its [`Outbound`](crate::Outbound) unfinished.
    OutboundDropped,
    /// The application dropped its [`Inbound`](crate::Inbound) before the end.
    InboundDropped,
    /// The application does not want the call any more.
    Cancel,
}

/// The shared state of one call.
///
/// It is also the call's waker ([`Wake`]): waking it puts one [`CallCommand::Touch`] into the
/// connection's queue.
pub struct CallShared {
    queue: Arc<dyn CallQueue>,
    place: AtomicU32,
    touched: AtomicBool,
    attention: AtomicBool,
    /// 0 while the call runs, then 1 + the code it ended with.
    ended: AtomicU32,
    taken: AtomicUsize,
    queued: AtomicUsize,
    sent: AtomicUsize,
    pub(super) nodes_taken: AtomicUsize,
    /// Whether any of the wakers was ever used: a unary call on a server uses none, and then none
    /// needs to be looked at.
    has_waited: AtomicBool,
    inbound_waker: AtomicWaker,
    outbound_waker: AtomicWaker,
    ended_waker: AtomicWaker,
}

/// For the connection's task.
impl CallShared {
    /// State of a call that sends its commands to `queue`. `place` is where the side finds the
    /// call.
    pub fn new(queue: Arc<dyn CallQueue>, place: u32) -> Arc<CallShared> {
        Arc::new(CallShared {
            queue,
            place: AtomicU32::new(place),
            touched: AtomicBool::new(false),
            attention: AtomicBool::new(false),
            ended: AtomicU32::new(0),
            taken: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            nodes_taken: AtomicUsize::new(0),
            has_waited: AtomicBool::new(false),
            inbound_waker: AtomicWaker::new(),
            outbound_waker: AtomicWaker::new(),
            ended_waker: AtomicWaker::new(),
        })
    }

    /// Makes the state fit for another call, where nobody but the `holders` that the caller knows
    /// of can still reach it; otherwise changes nothing and returns false.
    pub fn recycle(self: &Arc<Self>, holders: usize) -> bool {
        if Arc::strong_count(self) != holders {
            return false;
        }
        // Pairs with the release in the last other holder's drop.
        fence(Ordering::Acquire);
        self.touched.store(false, Ordering::Relaxed);
        self.attention.store(false, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        for counter in [&self.taken, &self.queued, &self.sent, &self.nodes_taken] {
            counter.store(0, Ordering::Relaxed);
        }
        if self.has_waited.load(Ordering::Relaxed) {
            self.has_waited.store(false, Ordering::Relaxed);
            for waker in [&self.inbound_waker, &self.outbound_waker, &self.ended_waker] {
                drop(waker.take());
            }
        }
        true
    }

    /// Where the side finds the call; meaningful to the connection's task only.
    pub fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    /// Sets [`place`](Self::place).
    pub fn set_place(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// To be called when a [`CallCommand::Touch`] is taken from the queue, before acting on it.
    pub fn untouch(&self) {
        self.touched.store(false, Ordering::Relaxed);
        // What the toucher wrote before is seen, and what it writes from now on touches again.
        fence(Ordering::SeqCst);
    }

    /// Bytes of messages, prefixes included, that the application has taken. Wraps.
    pub fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Asks the application to touch when it has taken the last message that is there.
    pub(super) fn set_attention(&self, on: bool) {
        if self.attention.load(Ordering::Relaxed) != on {
            self.attention.store(on, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// Tells how many bytes of the call's messages have left the engine in all, and wakes a sender
    /// that waits for room. Wraps.
    pub fn set_sent_bytes(&self, total: usize) {
        if self.sent.load(Ordering::Relaxed) != total {
            self.sent.store(total, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            self.outbound_waker.wake();
        }
    }

    /// Wakes who waits for something to come.
    pub(super) fn wake_inbound(&self) {
        self.inbound_waker.wake();
    }

    /// Ends the call for everyone who holds a part of it. The first code stays. Only the
    /// connection's task calls this.
    pub fn end(&self, code: Code) {
        if self.ended.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.ended.store(1 + u32::from(code as u8), Ordering::SeqCst);
        // Who waits says so before it looks at `ended` for the last time.
        if self.has_waited.load(Ordering::SeqCst) {
            self.inbound_waker.wake();
            self.outbound_waker.wake();
            self.ended_waker.wake();
        }
    }
}

/// For the application's tasks.
impl CallShared {
    /// The code the call ended with, once it has.
    pub fn ended(&self) -> Option<Code> {
        match self.ended.load(Ordering::Acquire) {
            0 => None,
            code => i32::try_from(code - 1).ok().map(Code::from),
        }
    }

    /// Ready when the call has ended. One task at a time may wait.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Code> {
        if let Some(code) = self.ended() {
            return Poll::Ready(code);
        }
        self.wait(&self.ended_waker, cx);
        match self.ended() {
            Some(code) => Poll::Ready(code),
            None => Poll::Pending,
        }
    }

    /// Makes the connection look at the call; costs nothing where that is already due.
    pub fn touch(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        if !self.touched.swap(true, Ordering::AcqRel) {
            self.queue.push_call(self, CallCommand::Touch);
        }
    }

    /// Sends a command of this call to the connection.
    pub fn push(self: &Arc<Self>, command: CallCommand) {
        self.queue.push_call(self, command);
    }

    /// Queues one message, prefix included, whatever is queued already.
    pub fn push_message(self: &Arc<Self>, framed: Vec<u8>) {
        self.queued.fetch_add(framed.len(), Ordering::Relaxed);
        self.push(CallCommand::Message(framed));
    }

    /// Ready when another message may be queued. One task at a time may wait.
    ///
    /// # Errors
    /// Once the call has ended: its code, with a message that says no more than that.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(outcome) = self.room() {
            return Poll::Ready(outcome);
        }
        self.wait(&self.outbound_waker, cx);
        match self.room() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }

    /// Registers the task for something to come.
    pub(super) fn wait_inbound(&self, cx: &mut Context<'_>) {
        self.wait(&self.inbound_waker, cx);
    }

    fn wait(&self, waker: &AtomicWaker, cx: &mut Context<'_>) {
        if !self.has_waited.load(Ordering::Relaxed) {
            self.has_waited.store(true, Ordering::SeqCst);
        }
        waker.register(cx.waker());
        fence(Ordering::SeqCst);
    }

    fn room(&self) -> Option<Result<(), Status>> {
        if let Some(code) = self.ended() {
            return Some(Err(over(code)));
        }
        if self.queue.is_closed() {
            return Some(Err(over(Code::Unavailable)));
        }
        let queued = self.queued.load(Ordering::Relaxed);
        let in_flight = queued.wrapping_sub(self.sent.load(Ordering::SeqCst));
        (in_flight < SEND_QUEUE_BYTES_MAX).then_some(Ok(()))
    }

    /// Accounts for a message that the application took; `unrung` counts what the connection was
    /// not told of yet.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, unrung: &mut usize) {
        self.taken.fetch_add(bytes, Ordering::SeqCst);
        *unrung += bytes;
        if *unrung >= RELEASE_STEP_BYTES {
            *unrung = 0;
            self.touch();
        }
    }

    /// The application has taken all there was; rings if the connection asked for that.
    pub(super) fn drained(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        if self.attention.load(Ordering::SeqCst) && self.attention.swap(false, Ordering::SeqCst) {
            self.touch();
        }
    }
}

impl Wake for CallShared {
    fn wake(self: Arc<Self>) {
        self.touch();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.touch();
    }
}

impl fmt::Debug for CallShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallShared")
            .field("place", &self.place)
            .field("ended", &self.ended())
            .field("taken", &self.taken)
            .field("queued", &self.queued)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// What a sender is told once the call is over. The whole status is at the receiving half.
#[cold]
fn over(code: Code) -> Status {
    match code {
        Code::Ok => Status::cancelled("the call has ended"),
        Code::Cancelled => Status::cancelled("the call was cancelled"),
        Code::DeadlineExceeded => Status::deadline_exceeded("the call's deadline has passed"),
        Code::Unavailable => Status::unavailable("the connection was lost"),
        other => Status::new(other, "the call has ended"),
    }
}
