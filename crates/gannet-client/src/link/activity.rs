//! When there was a call last: written where calls end, read by the channel's timer for idleness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::policy::Activity;

/// See the module. Writers are few and need not agree: the last one counts.
#[derive(Debug)]
pub(crate) struct LastCall {
    since: Instant,
    /// There are calls.
    is_busy: AtomicBool,
    /// When there was one last, milliseconds since `since`.
    last: AtomicU64,
}

impl LastCall {
    /// None before `now`.
    pub(crate) fn new(now: Instant) -> LastCall {
        LastCall { since: now, is_busy: AtomicBool::new(false), last: AtomicU64::new(0) }
    }

    /// There are calls.
    #[inline]
    pub(crate) fn begin(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    /// There are none any more.
    #[inline]
    pub(crate) fn end(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let passed_ms = passed
            .as_secs()
            .saturating_mul(1_000)
            .saturating_add(u64::from(passed.subsec_millis()));
        self.last.store(passed_ms, Ordering::Relaxed);
        self.is_busy.store(false, Ordering::Relaxed);
    }

    pub(crate) fn activity(&self) -> Activity {
        if self.is_busy.load(Ordering::Relaxed) {
            return Activity::Busy;
        }
        let passed = Duration::from_millis(self.last.load(Ordering::Relaxed));
        Activity::Since(self.since.checked_add(passed).unwrap_or(self.since))
    }
}
