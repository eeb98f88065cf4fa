//! Goes on until somebody on another thread says that it is enough.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Registry, Token, Waker};

/// A poll's token for the end of a hold.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Holds until it is ended, and wakes the poll that it was made for.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    is_over: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Hold {
    /// For this poll; there is one at a time.
    pub(crate) fn new(registry: &Registry) -> io::Result<Hold> {
        let waker = Arc::new(Waker::new(registry, WAKER)?);
        Ok(Hold { is_over: Arc::default(), waker })
    }

    /// Ends when `wait`, on a thread of its own, has returned.
    pub(crate) fn until(&self, wait: impl FnOnce() + Send + 'static) {
        let hold = self.clone();
        std::thread::spawn(move || {
            wait();
            hold.is_over.store(true, Ordering::Release);
            hold.waker.wake()
        });
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}
