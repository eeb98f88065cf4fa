//! Where the connection's task puts what became of a call, for the task that waits for it.
//!
//! Set once, read by reference: no lock. A stream's messages do not come this way; for a stream it
//! only says that it was opened.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use gannet_core::codec::Payload;
use gannet_core::compression::{Compressed, Packed};
use gannet_core::{DecodeFn, Metadata, Status, storage};

use super::request::Request;

/// Set by the connection, awaited by the caller.
pub(crate) struct Notice {
    /// Where the connection finds the call; meaningful to its task only.
    place: AtomicU32,
    told: OnceLock<Told>,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Told {
    outcome: Outcome,
    /// What was asked: memory that one thread takes and another gives back costs both, so it is
    /// freed where it was made.
    _request: Option<Box<Request>>,
}

/// What became of a call, as far as the caller waits for it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The one response.
    Response {
        /// The encoded message.
        payload: Received,
        /// Where the request asked for it, and there is any.
        metadata: Option<Box<Around>>,
    },
    /// The stream is open.
    Opened,
    /// The call is over.
    Failed(Status),
    /// The server has certainly not seen the call, and it may be made again.
    Unsent(Mutex<Option<Box<Request>>>),
}

/// The metadata around a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) headers: Metadata,
    pub(crate) trailers: Metadata,
}

impl Around {
    #[cold]
    pub(crate) fn new(headers: Option<Box<Metadata>>, trailers: Metadata) -> Box<Around> {
        let headers = headers.map_or_else(Metadata::new, |headers| *headers);
        Box::new(Around { headers, trailers })
    }
}

/// An encoded message.
#[derive(Debug)]
pub(crate) enum Received {
    /// Left to the allocator.
    Short(Vec<u8>),
    /// To be shared with what it is decoded to.
    Long(Bytes),
    /// Compressed.
    Packed(Box<Packed>),
}

impl Received {
    /// Decodes it; what compression came to, besides.
    ///
    /// # Errors
    /// As decompressing and decoding.
    #[inline]
    pub(crate) fn decode<T>(&self, decode: DecodeFn<T>) -> Result<(T, Compressed), Status> {
        let message = match self {
            Received::Short(message) => decode(Payload::Borrowed(message)),
            Received::Long(message) => decode(Payload::Shared(message)),
            Received::Packed(packed) => return packed.decode(decode),
        };
        Ok((message?, Compressed::default()))
    }

    /// How long it is, decompressed, and as it travelled where it was compressed.
    pub(crate) fn bytes(&self) -> (usize, Option<usize>) {
        match self {
            Received::Short(message) => (message.len(), None),
            Received::Long(message) => (message.len(), None),
            Received::Packed(packed) => {
                let told = packed.told();
                let count = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
                (count(told.bytes), Some(count(told.wire_bytes)))
            }
        }
    }
}

impl From<Vec<u8>> for Received {
    fn from(message: Vec<u8>) -> Received {
        if storage::is_long(&message) {
            Received::Long(storage::share(message))
        } else {
            Received::Short(message)
        }
    }
}

impl Notice {
    pub(crate) fn new() -> Arc<Notice> {
        Arc::new(Notice {
            place: AtomicU32::new(u32::MAX),
            told: OnceLock::new(),
            waker: AtomicWaker::new(),
        })
    }

    pub(crate) fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    pub(crate) fn set_place(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Tells the caller. Only the first outcome counts.
    pub(crate) fn set(&self, outcome: Outcome) {
        if self.told.set(Told { outcome, _request: None }).is_ok() {
            self.waker.wake();
        }
    }

    /// Tells the caller, and leaves everything that the call took to them: the request, and the
    /// notice itself.
    pub(crate) fn tell(self: Arc<Self>, outcome: Outcome, request: Option<Box<Request>>) {
        if self.told.set(Told { outcome, _request: request }).is_ok() {
            let waker = self.waker.take();
            // Before the caller is woken, who then is the last to have it.
            drop(self);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Hands the request back, to be made on another connection.
    pub(crate) fn set_unsent(&self, request: Box<Request>) {
        self.set(Outcome::Unsent(Mutex::new(Some(request))));
    }

    pub(crate) fn get(&self) -> Option<&Outcome> {
        self.told.get().map(|told| &told.outcome)
    }

    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<&Outcome> {
        if let Some(outcome) = self.get() {
            return Poll::Ready(outcome);
        }
        self.waker.register(cx.waker());
        match self.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Outcome {
    /// The request that was handed back; the one caller takes it once.
    pub(crate) fn take_unsent(&self) -> Option<Box<Request>> {
        match self {
            Outcome::Unsent(request) => {
                request.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes by how many a notice is held when its caller is woken.
    struct Held {
        notice: std::sync::Weak<Notice>,
        at_wake: AtomicU32,
    }

    impl std::task::Wake for Held {
        fn wake(self: Arc<Self>) {
            let count = u32::try_from(self.notice.strong_count()).unwrap();
            self.at_wake.store(count, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_told_is_the_last_to_have_what_the_call_took() {
        let notice = Notice::new();
        let held =
            Arc::new(Held { notice: Arc::downgrade(&notice), at_wake: AtomicU32::new(u32::MAX) });
        let waker = Waker::from(Arc::clone(&held));
        assert!(notice.poll(&mut Context::from_waker(&waker)).is_pending());
        Arc::clone(&notice).tell(Outcome::Opened, None);
        assert_eq!(held.at_wake.load(Ordering::Relaxed), 1, "the caller's alone");
        assert!(notice.poll(&mut Context::from_waker(&waker)).is_ready());
        Arc::clone(&notice).tell(Outcome::Failed(Status::internal("late")), None);
        assert!(matches!(notice.get(), Some(Outcome::Opened)), "only the first counts");
    }

    /// As a request: one is made and dropped for every call, with two counters before it.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_notice_fits_the_allocators_quick_lists() {
        assert!(size_of::<Notice>() + 16 <= 120, "{}", size_of::<Notice>());
    }
}
