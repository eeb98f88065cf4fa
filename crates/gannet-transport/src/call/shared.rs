//! What the connection's task and the tasks of the application share about one call.
//!
//! Everything here is an atomic; there is no lock. Counters only grow (and wrap): each has one
//! writer, and both sides compare. What is handed over lies in a slot, one pointer that is swapped:
//! whoever takes it owns it, and puts it back or something else in its place.
//!
//! | field | written by | read by |
//! | --- | --- | --- |
//! | `asks` | application | connection: what to see to |
//! | `taken` | application | connection: how much receive credit to give back |
//! | `attention` | connection | application: ask to look when you have taken the last message |
//! | `sent` | connection | application: how much of what it queued is on its way to the socket |
//! | `ended` | connection | application: the call is over |
//! | `outbox`, `rare.headers` | application | connection: messages and headers to send |
//! | `inbox` | connection | application: what came |
//! | `spare` | application | connection: an empty delivery to fill |
//! | `queued`, `finished` | application | application: what its sender knows |

mod sending;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake};

use atomic_waker::AtomicWaker;
use crossbeam_utils::atomic::AtomicCell;
use gannet_core::{Code, Metadata, Status};

use super::Asks;
use super::coding::Coding;
use super::delivery::Delivery;
use super::outbox::Framed;
use super::tap::Taps;
use crate::queue::CallQueue;
pub use sending::SEND_QUEUE_BYTES_MAX;

/// A sender that waits is woken when no more than this is left of what it queued, so that it goes
/// on in large steps.
const SEND_QUEUE_LOW_BYTES: usize = SEND_QUEUE_BYTES_MAX / 2;
/// Each time so many bytes more were taken the connection is told, so that credit flows in large
/// steps. A power of two.
const RELEASE_STEP_BYTES: usize = 16 << 10;
/// Storage up to this size is kept for the next messages of the same call, bytes.
pub(super) const RETAINED_BYTES_MAX: usize = 512;

/// Observers are shown messages.
pub(super) const TAPPED: u8 = 1;
/// A [`Watcher`](super::Watcher) is told of them.
pub(super) const WATCHED: u8 = 2;
/// Those who look, or are told, are not told of the end where that is read.
pub(super) const HELD: u8 = 4;
/// The application has met with a failure before the end.
pub(super) const MET: u8 = 8;

/// A slot that hands something over by one atomic swap.
type Slot<T> = AtomicCell<Option<Box<T>>>;

/// The shared state of one call.
///
/// It is also the call's waker ([`Wake`]): waking it asks the connection to poll the handler.
pub struct CallShared {
    queue: Arc<dyn CallQueue>,
    place: AtomicU32,
    pub(super) asks: AtomicU32,
    attention: AtomicBool,
    /// The headers that go out are those which were published by now.
    headers_fixed: AtomicBool,
    /// Whether any of the wakers was ever used: a unary call on a server uses none, and then none
    /// needs to be looked at.
    has_waited: AtomicBool,
    /// Whether any of the slots may hold something: likewise.
    has_streamed: AtomicBool,
    /// The application said that it sends no more.
    finished: AtomicBool,
    /// Messages may be compressed: see the `coding` of the rare things.
    pub(super) has_coding: AtomicBool,
    /// Who looks at the messages: [`TAPPED`], [`WATCHED`]; and, where somebody does, [`HELD`] and
    /// [`MET`].
    pub(super) shown: AtomicU8,
    /// 0 while the call runs, then 1 + the code it ended with.
    ended: AtomicU8,
    /// What a message to be sent may have, bytes.
    send_bytes_max: AtomicU32,
    taken: AtomicU32,
    pub(super) queued: AtomicUsize,
    sent: AtomicUsize,
    pub(super) outbox: Slot<Framed>,
    pub(super) inbox: Slot<Delivery>,
    pub(super) spare: Slot<Delivery>,
    inbound_waker: AtomicWaker,
    /// Made when somebody needs it.
    pub(super) rare: OnceLock<Box<Rare>>,
}

/// What most calls do without.
#[derive(Default)]
pub(super) struct Rare {
    headers: Slot<Metadata>,
    /// Who waits for room for another message.
    outbound: AtomicWaker,
    /// Who waits for the end of the call.
    ended: AtomicWaker,
    pub(super) coding: OnceLock<Box<Coding>>,
    pub(super) taps: Taps,
    /// What a sender is told once the call has ended.
    why: OnceLock<Status>,
}

/// For the connection's task.
impl CallShared {
    /// State of a call that asks `queue` for what it wants. `place` is where the side finds the
    /// call.
    pub fn new(queue: Arc<dyn CallQueue>, place: u32) -> Arc<CallShared> {
        Arc::new(CallShared {
            queue,
            place: AtomicU32::new(place),
            asks: AtomicU32::new(0),
            attention: AtomicBool::new(false),
            headers_fixed: AtomicBool::new(false),
            has_waited: AtomicBool::new(false),
            has_streamed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            has_coding: AtomicBool::new(false),
            shown: AtomicU8::new(0),
            ended: AtomicU8::new(0),
            send_bytes_max: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            queued: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            outbox: AtomicCell::new(None),
            inbox: AtomicCell::new(None),
            spare: AtomicCell::new(None),
            inbound_waker: AtomicWaker::new(),
            rare: OnceLock::new(),
        })
    }

    /// Makes the state fit for another call, where nobody but the `holders` that the caller knows
    /// of can still reach it; otherwise returns false, and is to be used no more. So it is after a
    /// call whose messages were compressed or [watched](Self::watch), or that ended
    /// [with words](Self::end_failed): what that takes is not made for a second one.
    pub fn recycle(self: &Arc<Self>, holders: usize) -> bool {
        if Arc::strong_count(self) != holders || self.has_coding() {
            return false;
        }
        // Pairs with the release in the last other holder's drop.
        fence(Ordering::Acquire);
        self.asks.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        if self.has_waited.load(Ordering::Relaxed) {
            self.has_waited.store(false, Ordering::Relaxed);
            drop(self.inbound_waker.take());
            if let Some(rare) = self.rare.get() {
                drop((rare.outbound.take(), rare.ended.take()));
            }
        }
        !self.has_streamed.load(Ordering::Relaxed) || self.clear_streams()
    }

    /// Whether that can be done.
    #[cold]
    fn clear_streams(&self) -> bool {
        match self.shown.swap(0, Ordering::Relaxed) & !MET {
            0 => {}
            TAPPED => self.rare().taps.clear(),
            _ => return false,
        }
        if self.rare.get().is_some_and(|rare| rare.why.get().is_some()) {
            return false;
        }
        let flags = [&self.has_streamed, &self.attention, &self.headers_fixed, &self.finished];
        flags.iter().for_each(|flag| flag.store(false, Ordering::Relaxed));
        self.taken.store(0, Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        drop((self.outbox.take(), self.take_headers(), self.inbox.take(), self.spare.take()));
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

    /// The slots are used: to be said before anyone sends or receives.
    pub(super) fn set_streamed(&self) {
        self.has_streamed.store(true, Ordering::Relaxed);
    }

    /// What the call asks for. To be called when it comes out of the queue.
    pub fn take_asks(&self) -> Asks {
        let asks = self.asks.swap(0, Ordering::AcqRel);
        // What was written before an ask is seen, and whoever asks from now on is heard again.
        fence(Ordering::SeqCst);
        Asks(asks & !Asks::HUSHED.0)
    }

    /// The messages that the application has put into the outbox, each with its prefix; possibly
    /// none. Whatever was published before they were put there is seen after this.
    ///
    /// `empty` takes their place, with storage that a sender may use: who holds the messages
    /// meanwhile sees by it that they were looked for, and asks again.
    pub fn take_outbox(&self, empty: Option<Box<Framed>>) -> Option<Box<Framed>> {
        debug_assert!(empty.as_ref().is_none_or(|empty| empty.0.is_empty()));
        self.outbox.swap(Some(empty.unwrap_or_default()))
    }

    /// As [`take_outbox`](Self::take_outbox), for the last time.
    pub fn take_last_outbox(&self) -> Option<Box<Framed>> {
        self.outbox.take()
    }

    /// The response headers, where some were published since this was called last.
    pub fn take_headers(&self) -> Option<Metadata> {
        self.rare.get()?.headers.take().map(|headers| *headers)
    }

    /// Bytes of messages, prefixes included, that the application has taken. Wraps.
    pub fn taken_bytes(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Asks the application to ask to look when it has taken the last message that is there.
    pub(super) fn set_attention(&self, on: bool) {
        if self.attention.load(Ordering::Relaxed) != on {
            self.attention.store(on, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// Tells how many bytes of the call's messages have left the engine in all, and how many lie
    /// there, and wakes a sender that waits for room once these are few. The total wraps.
    pub fn set_sent_bytes(&self, total: usize, queued: usize) {
        if self.sent.load(Ordering::Relaxed) != total {
            self.sent.store(total, Ordering::SeqCst);
            if queued <= SEND_QUEUE_LOW_BYTES {
                fence(Ordering::SeqCst);
                if let Some(rare) = self.rare.get() {
                    rare.outbound.wake();
                }
            }
        }
    }

    /// Wakes who waits for something to come.
    pub(super) fn wake_inbound(&self) {
        self.inbound_waker.wake();
    }

    /// As [`end`](Self::end), and who sends on is told why.
    #[cold]
    pub fn end_failed(&self, why: &Status) {
        if self.ended.load(Ordering::Relaxed) == 0 {
            self.set_streamed();
            // It is empty before the call has ended.
            let _ = self.rare().why.set(why.clone());
            self.end(why.code());
        }
    }

    /// Ends the call for everyone who holds a part of it. The first code stays. Only the
    /// connection's task calls this.
    pub fn end(&self, code: Code) {
        if self.ended.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.ended.store(1 + code as u8, Ordering::SeqCst);
        // Who waits says so before it looks at `ended` for the last time.
        if self.has_waited.load(Ordering::SeqCst) {
            self.inbound_waker.wake();
            if let Some(rare) = self.rare.get() {
                rare.outbound.wake();
                rare.ended.wake();
            }
        }
    }
}

/// For the application's tasks.
impl CallShared {
    /// Where its connection leads to: a client's.
    pub fn address(&self) -> Option<&str> {
        self.queue.address()
    }

    /// The code the call ended with, once it has.
    pub fn ended(&self) -> Option<Code> {
        match self.ended.load(Ordering::Acquire) {
            0 => None,
            code => Some(Code::from(i32::from(code - 1))),
        }
    }

    /// Ready when the call has ended. One task at a time may wait.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Code> {
        if let Some(code) = self.ended() {
            return Poll::Ready(code);
        }
        self.wait(&self.rare().ended, cx);
        match self.ended() {
            Some(code) => Poll::Ready(code),
            None => Poll::Pending,
        }
    }

    /// Asks something of the connection; costs next to nothing where that is already asked.
    pub fn ask(self: &Arc<Self>, what: Asks) {
        fence(Ordering::SeqCst);
        // Still asked: then it is taken after this, and what was written before is seen.
        if Asks(self.asks.load(Ordering::Relaxed)).has(what) {
            return;
        }
        if self.asks.fetch_or(what.0, Ordering::AcqRel) == 0 {
            self.queue.push_call(self);
        }
    }

    /// Publishes response headers, in place of those that were published before; without effect
    /// once a message was sent or headers were asked to be sent. One task at a time may do so.
    pub fn publish_headers(&self, headers: Metadata) {
        if !self.headers_fixed.load(Ordering::Relaxed) {
            self.set_streamed();
            self.rare().headers.store(Some(Box::new(headers)));
        }
    }

    /// No headers are published from here on.
    pub fn fix_headers(&self) {
        self.set_streamed();
        if self.has_coding() {
            self.coding().decide();
        }
        self.headers_fixed.store(true, Ordering::Relaxed);
    }

    /// Whether a message was sent, or headers were asked to be.
    pub fn is_headers_fixed(&self) -> bool {
        self.headers_fixed.load(Ordering::Relaxed)
    }

    /// Says how long messages to be sent may be.
    pub fn set_send_bytes_max(&self, bytes: usize) {
        self.set_streamed();
        // A length has four bytes, so this is as good as more.
        self.send_bytes_max.store(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// See [`set_send_bytes_max`](Self::set_send_bytes_max).
    #[inline]
    pub(super) fn send_bytes_max(&self) -> usize {
        self.send_bytes_max.load(Ordering::Relaxed) as usize
    }

    /// Registers the task for something to come.
    pub(super) fn wait_inbound(&self, cx: &mut Context<'_>) {
        self.wait(&self.inbound_waker, cx);
    }

    pub(super) fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn wait(&self, waker: &AtomicWaker, cx: &mut Context<'_>) {
        if !self.has_waited.load(Ordering::Relaxed) {
            self.has_waited.store(true, Ordering::SeqCst);
        }
        waker.register(cx.waker());
        fence(Ordering::SeqCst);
    }

    /// Accounts for a message that the application took, of so many bytes with its prefix.
    #[inline]
    pub(super) fn take(self: &Arc<Self>, bytes: usize) {
        let before = self.taken.load(Ordering::Relaxed);
        let total = before.wrapping_add(low_bits(bytes));
        self.taken.store(total, Ordering::Release);
        if (before ^ total) as usize | bytes >= RELEASE_STEP_BYTES {
            self.ask(Asks::LOOK);
        }
    }

    /// Lets the connection have an empty delivery. Much storage only where it takes it soon.
    pub(super) fn put_away(&self, mut used: Box<Delivery>) {
        let is_soon = Asks(self.asks.load(Ordering::Relaxed)).has(Asks::HUSHED);
        if !is_soon && used.packed.capacity() > RETAINED_BYTES_MAX {
            used.packed = Vec::new();
        }
        self.spare.store(Some(used));
    }

    /// The application has taken all there was; tells so if the connection asked for that.
    pub(super) fn drained(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        if self.attention.load(Ordering::SeqCst) && self.attention.swap(false, Ordering::SeqCst) {
            self.ask(Asks::LOOK);
        }
    }
}

impl Wake for CallShared {
    fn wake(self: Arc<Self>) {
        self.ask(Asks::POLL);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ask(Asks::POLL);
    }
}

impl fmt::Debug for CallShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallShared")
            .field("place", &self.place)
            .field("ended", &self.ended())
            .field("asks", &Asks(self.asks.load(Ordering::Relaxed)))
            .field("taken", &self.taken)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// What a counter of bytes that wraps counts.
#[expect(clippy::cast_possible_truncation, reason = "the counters wrap")]
pub(super) fn low_bits(bytes: usize) -> u32 {
    bytes as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_no_lock() {
        assert!(Slot::<Framed>::is_lock_free());
    }
}
