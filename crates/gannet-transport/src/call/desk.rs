//! Where a handler's messages lie while the connection's task polls it: in plain memory of this
//! thread, not in the call's outbox, so that a message costs its encoding and no atomic operation.
//!
//! The connection puts the call on the desk, polls the handler, and takes what lies there. Messages
//! that the handler's other tasks send on other threads meanwhile go through the outbox. One sender
//! is at work at a time, but it may be handed from one thread to the other in the midst of a poll:
//! so the first message of a poll, and each before which others were sent elsewhere, brings those
//! along, and the connection sees to the desk before it looks into the outbox.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::Ordering;

use super::delivery::Spares;
use super::{Asks, CallShared};

/// Storage of messages above this many bytes is not kept by the thread.
const RETAINED_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static DESK: RefCell<Desk> = const { RefCell::new(Desk::new()) };
}

/// A handler is being polled: see [`CallShared::attend`]. Its call is on this thread's desk; one
/// that was there before, on this thread's stack, lies below it.
#[must_use]
pub struct Attended {
    below: Desk,
}

impl CallShared {
    /// From here until [`take_asks`](Self::take_asks), which must follow, asking takes no way
    /// through the queue: for what runs within the connection's task.
    pub fn hush(&self) {
        self.asks.fetch_or(Asks::HUSHED.0, Ordering::AcqRel);
    }

    /// From here until [`heed`](Self::heed), which must follow on this thread: for a handler that
    /// is polled within the connection's task. What it asks for takes no way through the queue,
    /// and what it sends none through the outbox.
    pub fn attend(&self) -> Attended {
        self.hush();
        Attended::put(self)
    }

    /// What a handler asked for while it was [polled here](Self::attend), and the messages that it
    /// sent, which come before those in the outbox. Their storage can be
    /// [given back](Attended::give).
    pub fn heed(&self, attended: Attended, spares: &mut Spares) -> (Asks, Vec<u8>) {
        let messages = attended.take();
        if let Some(used) = self.spare.take() {
            spares.give(used);
        }
        (self.take_asks(), messages)
    }
}

impl Attended {
    /// Puts a call on the desk.
    fn put(call: &CallShared) -> Attended {
        let below = DESK.try_with(|desk| {
            let mut desk = desk.try_borrow_mut().ok()?;
            let below = (desk.call != 0).then(|| std::mem::replace(&mut *desk, Desk::new()));
            desk.call = address(call);
            below
        });
        Attended { below: below.ok().flatten().unwrap_or(Desk::new()) }
    }

    /// Takes it away, with the messages that lie there.
    fn take(self) -> Vec<u8> {
        let taken = DESK.try_with(|desk| {
            let mut desk = desk.try_borrow_mut().ok()?;
            let mut messages = std::mem::take(&mut desk.messages);
            messages.truncate(desk.whole);
            *desk = self.below;
            Some(messages)
        });
        taken.ok().flatten().unwrap_or_default()
    }

    /// Gives storage of messages back to the thread, for those of the next handler.
    pub fn give(mut storage: Vec<u8>) {
        storage.clear();
        let _ = DESK.try_with(|desk| {
            if let Ok(mut desk) = desk.try_borrow_mut()
                && desk.messages.capacity() == 0
                && storage.capacity() <= RETAINED_BYTES_MAX
            {
                desk.messages = storage;
            }
        });
    }
}

impl fmt::Debug for Attended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attended").finish_non_exhaustive()
    }
}

/// What lies there.
struct Desk {
    /// Address of the call's shared state, which the connection keeps alive meanwhile; 0 for none.
    call: usize,
    /// Messages behind each other, each with its prefix; beyond `whole`, what came to nothing.
    messages: Vec<u8>,
    whole: usize,
    /// How many bytes the sender had queued in all after the last message here.
    queued: Option<usize>,
}

impl Desk {
    const fn new() -> Desk {
        Desk { call: 0, messages: Vec::new(), whole: 0, queued: None }
    }
}

/// Appends what `write` writes to the messages of `call`, if that is on the desk; returns how many
/// bytes that were. `queued` is how many bytes its sender has queued in all by now.
#[inline]
pub(super) fn append<E>(
    call: &CallShared,
    queued: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Option<Result<usize, E>> {
    DESK.try_with(|desk| {
        let mut desk = desk.try_borrow_mut().ok()?;
        if desk.call != address(call) {
            return None;
        }
        let desk = &mut *desk;
        if desk.queued != Some(queued) {
            bring(call, desk);
        }
        let whole = desk.whole;
        desk.messages.truncate(whole);
        if let Err(error) = write(&mut desk.messages) {
            return Some(Err(error));
        }
        desk.whole = desk.messages.len();
        let bytes = desk.whole - whole;
        desk.queued = Some(queued.wrapping_add(bytes));
        Some(Ok(bytes))
    })
    .ok()
    .flatten()
}

/// Brings the messages that were sent before, and lie in the outbox.
#[cold]
fn bring(call: &CallShared, desk: &mut Desk) {
    desk.messages.truncate(desk.whole);
    if let Some(before) = call.outbox.take() {
        desk.messages.extend_from_slice(&before.0);
        desk.whole = desk.messages.len();
    }
}

fn address(call: &CallShared) -> usize {
    std::ptr::from_ref(call).addr()
}
