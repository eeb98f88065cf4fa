//! Moments that may be too far away for a clock.

use std::time::{Duration, Instant};

/// Room that timers want behind a moment: they round it up.
const ROUNDING: Duration = Duration::from_secs(1);

/// The moment `after` `now`; `None`, which is never, where no clock can express it.
pub(crate) fn moment(now: Instant, after: Duration) -> Option<Instant> {
    now.checked_add(after).and_then(timed)
}

/// `at`, where a timer can be set to it; otherwise `None`, which is never.
pub(crate) fn timed(at: Instant) -> Option<Instant> {
    at.checked_add(ROUNDING).map(|_| at)
}
