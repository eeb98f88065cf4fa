//! When a name is resolved again: when asked, but not more often than each 30 s, and after an error
//! by itself, with growing pauses.

use std::time::{Duration, Instant};

use super::{Backoff, BackoffConfig, moment};

/// How long after a name was resolved it may be resolved again, by default.
pub(crate) const RESOLVE_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Pacing {
    interval_min: Duration,
    backoff: Backoff,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    /// It went well: not before this, and only when asked. `None` is never.
    Resolved(Option<Instant>),
    /// It failed: at this moment.
    Failed(Option<Instant>),
}

/// When to resolve next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At this moment.
    At(Instant),
    /// When asked, but not before this moment.
    AskedFrom(Instant),
    Never,
}

impl Pacing {
    pub(crate) fn new(interval_min: Duration, backoff: BackoffConfig) -> Pacing {
        Pacing { interval_min, backoff: Backoff::new(backoff), state: State::New }
    }

    pub(crate) fn next(&self, now: Instant) -> Next {
        match self.state {
            State::New => Next::At(now),
            State::Resolved(Some(from)) => Next::AskedFrom(from),
            State::Failed(Some(at)) => Next::At(at),
            State::Resolved(None) | State::Failed(None) => Next::Never,
        }
    }

    /// It begins. `random` as for [`Backoff::attempt`].
    pub(crate) fn begin(&mut self, now: Instant, random: f64) {
        self.backoff.attempt(now, random);
    }

    pub(crate) fn succeeded(&mut self, now: Instant) {
        self.backoff.established();
        self.state = State::Resolved(moment(now, self.interval_min));
    }

    /// As if it had never been resolved: it may be at once, and pauses are short again.
    pub(crate) fn start_over(&mut self) {
        self.backoff.established();
        self.state = State::New;
    }

    pub(crate) fn failed(&mut self, now: Instant) {
        self.state = State::Failed(self.backoff.failed(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_for_and_not_too_often() {
        let start = Instant::now();
        let mut pacing = Pacing::new(RESOLVE_INTERVAL_MIN, BackoffConfig::default());
        assert_eq!(pacing.next(start), Next::At(start));
        pacing.begin(start, 0.5);
        let done = start + Duration::from_secs(2);
        pacing.succeeded(done);
        assert_eq!(pacing.next(done), Next::AskedFrom(done + Duration::from_secs(30)));
    }

    #[test]
    fn errors_are_followed_by_other_tries_with_growing_pauses() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(RESOLVE_INTERVAL_MIN, BackoffConfig::default());
        for pause in [1_000, 1_600, 2_560] {
            pacing.begin(now, 0.5);
            pacing.failed(now);
            let next = now + Duration::from_millis(pause);
            let Next::At(at) = pacing.next(now) else { panic!("{pacing:?}") };
            assert!(at.saturating_duration_since(next) < Duration::from_millis(1), "{pause}");
            now = at;
        }
        pacing.begin(now, 0.5);
        pacing.succeeded(now);
        assert!(matches!(pacing.next(now), Next::AskedFrom(_)));
        pacing.begin(now, 0.5);
        pacing.failed(now);
        assert_eq!(pacing.next(now), Next::At(now + Duration::from_secs(1)), "from the beginning");
    }
}
