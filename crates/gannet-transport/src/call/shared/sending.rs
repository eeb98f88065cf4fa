//! What a call's sender does: one task at a time, which waits while too much is queued.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use gannet_core::{Code, Status};

use super::super::outbox::Held;
use super::super::{Asks, desk};
use super::CallShared;

/// Bytes of messages that one call may have queued or in flight in the engine before
/// [`Outbound::send`](crate::Outbound::send) waits; one message more is always accepted.
pub const SEND_QUEUE_BYTES_MAX: usize = 64 << 10;

impl CallShared {
    /// From here on dropping the sender ends nothing: [`finish`](Self::finish) does, or
    /// [`fail`](Self::fail).
    pub fn hold_open(&self) {
        self.set_streamed();
        self.finished.store(true, Ordering::Relaxed);
    }

    /// No message follows.
    pub fn finish(self: &Arc<Self>) {
        self.finished.store(true, Ordering::Relaxed);
        self.ask(Asks::FINISH);
    }

    /// The sender is gone.
    pub(in crate::call) fn sender_gone(self: &Arc<Self>) {
        if !self.finished.load(Ordering::Relaxed) {
            self.ask(Asks::OUTBOUND_DROPPED);
        }
    }

    /// Puts what `write` appends behind the messages that were sent before. One task at a time may
    /// do so.
    #[inline]
    pub(in crate::call) fn put_message<E>(
        self: &Arc<Self>,
        write: impl Fn(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let queued = self.queued.load(Ordering::Relaxed);
        if queued == 0 {
            self.fix_headers();
        }
        let bytes = match desk::append(self, queued, &write) {
            Some(appended) => appended?,
            None => {
                let mut held = Held::take(self);
                let bytes = held.append(write)?;
                held.put_back();
                bytes
            }
        };
        self.queued.store(queued.wrapping_add(bytes), Ordering::Relaxed);
        Ok(())
    }

    /// What a sender is told, once the call has ended: what it [failed with](Self::end_failed), or
    /// its code, and where it ended.
    pub fn over(&self) -> Option<Status> {
        self.ended().map(|code| self.why_over(code))
    }

    #[cold]
    fn why_over(&self, code: Code) -> Status {
        if let Some(why) = self.rare.get().and_then(|rare| rare.why.get()) {
            return why.clone();
        }
        let (code, told) = match code {
            Code::Ok => (Code::Cancelled, "the call has ended"),
            Code::Cancelled => (code, "the call was cancelled"),
            Code::DeadlineExceeded => (code, "the call's deadline has passed"),
            Code::Unavailable => (code, "the connection was lost"),
            other => (other, "the call has ended"),
        };
        match self.queue.address() {
            Some(address) => Status::new(code, format!("{address}: {told}")),
            None => Status::new(code, told),
        }
    }

    /// Whether another message may be queued.
    ///
    /// # Errors
    /// Once the call has ended: as [`over`](Self::over).
    #[inline]
    fn room(&self) -> Result<bool, Status> {
        if let Some(code) = self.ended() {
            return Err(self.why_over(code));
        }
        let queued = self.queued.load(Ordering::Relaxed);
        let in_flight = queued.wrapping_sub(self.sent.load(Ordering::SeqCst));
        Ok(in_flight < SEND_QUEUE_BYTES_MAX)
    }

    /// Ready when another message may be queued. One task at a time may wait.
    ///
    /// # Errors
    /// Once the call has ended: as [`over`](Self::over).
    #[inline]
    pub(in crate::call) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self.room() {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => self.wait_for_room(cx),
            Err(status) => Poll::Ready(Err(status)),
        }
    }

    #[cold]
    fn wait_for_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.wait(&self.rare().outbound, cx);
        match self.room() {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) if self.queue.is_closed() => {
                Poll::Ready(Err(self.why_over(Code::Unavailable)))
            }
            Ok(false) => Poll::Pending,
            Err(status) => Poll::Ready(Err(status)),
        }
    }
}
