//! Contexts of compressors, used again by whoever compresses next.
//!
//! A context is some ten to hundreds of kilobytes; to make one costs more than a short message.

use crossbeam_queue::ArrayQueue;

use crate::limits::COMPRESSION_CONTEXTS_KEPT_MAX;

/// Contexts that are not in use. They go with the compressor they belong to.
pub(super) struct Pool<T>(ArrayQueue<T>);

impl<T> Pool<T> {
    pub(super) fn new() -> Pool<T> {
        Pool(ArrayQueue::new(COMPRESSION_CONTEXTS_KEPT_MAX))
    }

    /// One that was used before, which is to be reset.
    pub(super) fn take(&self) -> Option<T> {
        self.0.pop()
    }

    /// Keeps a context, if there is room for it.
    pub(super) fn give(&self, context: T) {
        // The queue gives back what it has no room for, and that is dropped.
        let _ = self.0.push(context);
    }
}
