//! How many calls wait for a connection, and what each of them has wished for.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::policy::Token;

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

/// What a call has a policy told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Wake(Token),
    ExitIdle,
}

/// What a call has wished for last. It does not so again while nothing else has happened: a policy
/// may publish whenever it is told something, and that is no news.
#[derive(Debug, Default)]
pub(super) struct Wished(Option<(Wish, u64)>);

impl Wished {
    /// `news` is another number when something has happened.
    pub(super) fn is_new(&self, wish: Wish, news: u64) -> bool {
        self.0 != Some((wish, news))
    }

    pub(super) fn note(&mut self, wish: Wish, news: u64) {
        self.0 = Some((wish, news));
    }
}
