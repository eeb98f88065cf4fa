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
pub(super) struct Wished {
    last: Option<Wish>,
    news: Option<u64>,
    /// Wishes since there was news.
    count: u32,
}

impl Wished {
    /// Whether the wish is to be told, which [`told`](Self::told) follows. `news` is another number
    /// when something has happened.
    pub(super) fn is_new(&mut self, wish: Wish, news: u64) -> bool {
        if self.news != Some(news) {
            *self = Wished { news: Some(news), ..Wished::default() };
        }
        self.last != Some(wish) && self.count < WISHES_MAX
    }

    /// What the wish itself has brought about is no news.
    pub(super) fn told(&mut self, wish: Wish, news: u64) {
        *self = Wished { last: Some(wish), news: Some(news), count: self.count + 1 };
    }
}

/// How many wishes, one after the other, a policy may have a call make while nothing else happens.
/// One does for most; the bound is for one that has a new wish in each picker.
const WISHES_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Actions;

    #[test]
    fn a_call_makes_few_wishes_while_nothing_else_happens() {
        let wake = Wish::Wake(Actions::new("test", 1).token());
        for wishes in [[Wish::ExitIdle; 2], [Wish::ExitIdle, wake]] {
            let mut wished = Wished::default();
            for mut news in [3, 1_000] {
                let mut told = 0;
                for wish in wishes.into_iter().cycle().take(100) {
                    if wished.is_new(wish, news) {
                        told += 1;
                        // It has an attempt begun.
                        news += 1;
                        wished.told(wish, news);
                    }
                }
                assert_eq!(told, if wishes[0] == wishes[1] { 1 } else { WISHES_MAX });
            }
        }
    }
}
