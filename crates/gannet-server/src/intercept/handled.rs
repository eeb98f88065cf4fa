//! [`Handled`]: a call on its way back. And [`Stash`], where the state of a call waits when an
//! interceptor returns without it.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crossbeam_utils::atomic::AtomicCell;
use gannet_core::{Codec, MethodDescriptor, Result, Status};
use gannet_transport::{CallShared, Peer};

use crate::Call;
use crate::service::encode_reply;

/// A call that ended well, on its way back through its interceptors: what
/// [`Next::run`](super::Next::run) returns.
///
/// It is the handler's [`Call`] still, so that trailers can be set, or read as the handler left
/// them; and headers, unless a message of a stream has taken them along.
pub struct Handled {
    /// `None` once it has moved on.
    call: Option<Call>,
    stash: Arc<Stash>,
    send_bytes_max: usize,
}

impl Handled {
    pub(super) fn new(call: Call, stash: Arc<Stash>, send_bytes_max: usize) -> Handled {
        Handled { call: Some(call), stash, send_bytes_max }
    }

    /// The encoded reply of a method with one, as it is before compression; `None` for a stream of
    /// replies, which has left.
    ///
    /// # Errors
    /// Where it was compressed, and cannot be decompressed.
    pub fn message(&mut self) -> Result<Option<Cow<'_, [u8]>>> {
        if self.method().kind.server_streams() {
            return Ok(None);
        }
        self.whole_reply().map(Some)
    }

    /// Replaces the reply of a method with one.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where it is over the send limit; INTERNAL where it cannot be encoded, and
    /// for a method with a stream of replies.
    pub fn set_reply<C, T>(&mut self, message: &T) -> Result<()>
    where
        C: Codec<T>,
    {
        let send_bytes_max = self.send_bytes_max;
        reply_with::<C, T>(self, message, send_bytes_max)
    }
}

impl Deref for Handled {
    type Target = Call;

    fn deref(&self) -> &Call {
        self.call.as_ref().expect("it moves on with the last use of this")
    }
}

impl DerefMut for Handled {
    fn deref_mut(&mut self) -> &mut Call {
        self.call.as_mut().expect("it moves on with the last use of this")
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.stash.put(call);
        }
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handled").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Makes `message` the one reply.
pub(super) fn reply_with<C: Codec<T>, T>(
    call: &mut Call,
    message: &T,
    send_bytes_max: usize,
) -> Result<()> {
    if call.method().kind.server_streams() {
        let path = call.method().path;
        return Err(Status::internal(format!("{path} has a stream of replies, not one")));
    }
    encode_reply::<C, T>(call, message, send_bytes_max)
}

/// Where the state of a call goes when an interceptor drops it, so that headers and trailers are
/// not lost with it, nor its storage.
///
/// A call that lies here does not know of it: nothing keeps itself in memory.
#[derive(Default)]
pub(crate) struct Stash(AtomicCell<Option<Call>>);

impl Stash {
    pub(super) fn put(&self, call: Call) {
        self.0.store(Some(call));
    }

    fn take(&self) -> Option<Call> {
        self.0.take()
    }
}

/// What is known of a call while an interceptor has it.
pub(super) struct Home {
    pub(super) stash: Arc<Stash>,
    pub(super) shared: Arc<CallShared>,
    pub(super) method: &'static MethodDescriptor,
    pub(super) peer: Arc<Peer>,
}

impl Home {
    /// Takes the call back with what an interceptor returned.
    pub(super) fn receive(self, result: Result<Handled>) -> (Call, Result<()>) {
        let (call, result) = match result {
            Ok(mut handled) if Arc::ptr_eq(&handled.stash, &self.stash) => {
                (handled.call.take(), Ok(()))
            }
            Ok(_) => (None, Err(another_call())),
            Err(status) => (None, Err(status)),
        };
        let call = call.or_else(|| self.stash.take());
        // It may still be with a task that the interceptor started.
        let mut call = call.unwrap_or_else(|| Call::new(self.shared, self.method, self.peer));
        if Arc::strong_count(&self.stash) == 1 {
            call.extra_mut().stash = Some(self.stash);
        }
        (call, result)
    }
}

#[cold]
fn another_call() -> Status {
    Status::internal("an interceptor returned the outcome of another call")
}
