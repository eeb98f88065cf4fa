//! Time for one connection: a heap of call deadlines, and the single tokio timer behind it.
//!
//! The timer is re-armed only for an earlier moment; one that fires too early costs one wake. The
//! heap forgets nothing at once: entries of finished calls are skipped when they come up, and swept
//! out when they outnumber the live ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::time::Sleep;

/// Stale entries that are tolerated before the heap is swept.
const STALE_ENTRIES_MIN: usize = 64;

/// Deadlines of calls, each with a token by which the side recognises a call that is gone.
///
/// `K` is `Copy` and ordered, for instance a stream key.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
    /// Entries whose calls are still open, as far as `forget` told.
    live: usize,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// No deadlines, no storage.
    pub fn new() -> Self {
        Deadlines { heap: BinaryHeap::new(), live: 0 }
    }

    /// Adds a deadline.
    pub fn insert(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
        self.live += 1;
    }

    /// Tells that one call with a deadline ended before it came; `is_live` says which keys still
    /// count, and is asked only when a sweep is due.
    pub fn forget(&mut self, is_live: impl Fn(K) -> bool) {
        self.live = self.live.saturating_sub(1);
        let stale = self.heap.len() - self.live.min(self.heap.len());
        if stale > STALE_ENTRIES_MIN && stale > self.live {
            self.heap.retain(|Reverse((_, key))| is_live(*key));
            self.live = self.heap.len();
        }
    }

    /// The earliest moment, perhaps of a call that is gone.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry whose moment has come. Stale keys come too.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let Reverse((at, key)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some(key)
    }

    /// Tells that an entry from `pop_due` belonged to a live call.
    pub fn expired(&mut self) {
        self.live = self.live.saturating_sub(1);
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The one tokio timer of a connection, made when it is first needed.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When `sleep` fires; `None` when it is not armed.
    armed: Option<Instant>,
    /// Who is woken, to notice that the task moved to another executor.
    waker: Option<Waker>,
}

impl Alarm {
    /// Makes sure that the task is woken at `want` at the latest. Returns false where that moment
    /// is already past, so that the caller runs again at once.
    #[inline]
    pub(crate) fn arm(
        &mut self,
        want: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(want) = want else { return true };
        let is_armed = self.armed.is_some_and(|at| now < at && at <= want);
        is_armed && self.wakes(cx) || self.arm_anew(want, now, cx)
    }

    fn wakes(&self, cx: &Context<'_>) -> bool {
        self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    fn arm_anew(&mut self, want: Instant, now: Instant, cx: &mut Context<'_>) -> bool {
        self.armed = None;
        if want <= now {
            return false;
        }
        let at = tokio::time::Instant::from_std(want);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep
            }
            None => self.sleep.insert(Box::pin(tokio::time::sleep_until(at))),
        };
        // Out of budget, tokio does not register the timer: the task is woken at once instead.
        let is_registered = tokio::task::coop::has_budget_remaining();
        if sleep.as_mut().poll(cx).is_ready() {
            return false;
        }
        self.armed = is_registered.then_some(want);
        if !self.wakes(cx) {
            self.waker = Some(cx.waker().clone());
        }
        true
    }
}

impl Alarm {
    /// Whether there is a timer that will fire.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Gives the timer back, where nothing waits for it.
    pub(crate) fn release(&mut self) {
        *self = Alarm::default();
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("armed", &self.armed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_stale_ones_are_swept() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new();
        let total = 1_000u32;
        for n in (0..total).rev() {
            deadlines.insert(start + Duration::from_millis(u64::from(n)), n);
        }
        assert_eq!(deadlines.next(), Some(start));
        assert_eq!(deadlines.pop_due(start), Some(0));
        assert_eq!(deadlines.pop_due(start), None);
        deadlines.expired();
        for gone in 1..total - 1 {
            deadlines.forget(|key| key > gone);
        }
        assert!(deadlines.heap.len() < 200, "{} entries kept for one call", deadlines.heap.len());
        let end = start + Duration::from_secs(10);
        assert_eq!(std::iter::from_fn(|| deadlines.pop_due(end)).last(), Some(total - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn is_armed_although_the_tasks_budget_is_used_up() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let start = tokio::time::Instant::now().into_std();
        let due = start + Duration::from_secs(1);
        let mut alarm = Alarm::default();
        let task = tokio::spawn(std::future::poll_fn(move |cx| {
            let n = counted.fetch_add(1, Ordering::Relaxed);
            let now = tokio::time::Instant::now().into_std();
            if now >= due {
                return std::task::Poll::Ready(());
            }
            if n == 0 {
                // What handlers do.
                while tokio::task::coop::has_budget_remaining() {
                    let _ = tokio::task::coop::poll_proceed(cx).map(|c| c.made_progress());
                }
            }
            assert!(alarm.arm(Some(due), now, cx));
            std::task::Poll::Pending
        }));
        let done = tokio::time::timeout(Duration::from_secs(100), task).await;
        assert!(done.is_ok(), "never woken; polls: {}", polls.load(Ordering::Relaxed));
    }
}
