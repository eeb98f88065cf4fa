//! How many calls wait for a connection.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts a call, from when it begins to wait until this is dropped.
pub(super) struct Waiting<'a> {
    count: &'a AtomicUsize,
    has_begun: Cell<bool>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        Waiting { count, has_begun: Cell::new(false) }
    }

    pub(super) fn begins(&self) {
        if !self.has_begun.replace(true) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.has_begun.get() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
