//! Connections that have lived for long enough, or have nothing to do (gRFC A9).

use std::time::{Duration, Instant};

use super::{Action, Farewell, Situation, Upkeep};
use crate::ConnectionError;

/// How far ages are spread, so that connections that began together do not end together.
const SPREAD: f64 = 0.1;

/// When a connection ends in good health.
#[derive(Debug)]
pub(super) struct Lifetime {
    age: Age,
    idleness: Option<Idleness>,
}

impl Lifetime {
    /// `None` where nothing ends it.
    pub(super) fn new(rules: &Upkeep, random: f64, now: Instant) -> Option<Lifetime> {
        let age = Age::new(rules.age_max, random, now);
        let idleness = rules.idle_max.and_then(|max| Idleness::new(max, now));
        (age.due().is_some() || idleness.is_some()).then_some(Lifetime { age, idleness })
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let idle = self.idleness.as_ref().and_then(|idleness| idleness.due);
        [self.age.due(), idle].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(
        &mut self,
        at: Situation,
        grace: Option<Duration>,
    ) -> Option<Action> {
        if let Some(action) = self.age.handle_timeout(at.now, grace) {
            return Some(action);
        }
        if !self.idleness.as_mut()?.is_over(at) {
            return None;
        }
        self.idleness = None;
        Some(Action::Drain(Farewell::MaxIdle))
    }

    pub(super) fn watches_idleness(&self) -> bool {
        self.idleness.is_some()
    }

    /// See [`Caretaker::look`](super::Caretaker::look).
    pub(super) fn look(&mut self, now: Instant, is_busy: bool, highest_id: u32) {
        if let Some(idleness) = &mut self.idleness {
            idleness.look(now, is_busy, highest_id);
        }
    }
}

/// How a connection stands to its age.
#[derive(Debug)]
enum Age {
    /// It is used until then.
    Used(Option<Instant>),
    /// It drains; its calls have until then.
    Left(Option<Instant>),
}

impl Age {
    fn new(max: Option<Duration>, random: f64, now: Instant) -> Age {
        let spread = 1.0 + SPREAD * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let seconds = max.map(|max| max.as_secs_f64() * spread);
        let age = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Age::Used(age.and_then(|age| now.checked_add(age)))
    }

    fn due(&self) -> Option<Instant> {
        let (Age::Used(until) | Age::Left(until)) = self;
        *until
    }

    fn handle_timeout(&mut self, now: Instant, grace: Option<Duration>) -> Option<Action> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        match self {
            Age::Used(_) => {
                *self = Age::Left(grace.and_then(|grace| now.checked_add(grace)));
                Some(Action::Drain(Farewell::MaxAge))
            }
            Age::Left(_) => Some(Action::Fail(ConnectionError::lost("max_age"))),
        }
    }
}

/// For how long a connection has been without calls.
#[derive(Debug)]
struct Idleness {
    max: Duration,
    /// There was a call then, or the connection began.
    since: Instant,
    /// When to look.
    due: Option<Instant>,
    was_busy: bool,
    /// The highest stream by then: calls may come and go between two looks.
    highest_id: u32,
}

impl Idleness {
    fn new(max: Duration, now: Instant) -> Option<Idleness> {
        let due = Some(now.checked_add(max)?);
        Some(Idleness { max, since: now, due, was_busy: false, highest_id: 0 })
    }

    fn look(&mut self, now: Instant, is_busy: bool, highest_id: u32) {
        if is_busy || self.was_busy || self.highest_id != highest_id {
            self.since = now;
            self.was_busy = is_busy;
            self.highest_id = highest_id;
        }
    }

    /// Whether it was without calls for too long.
    fn is_over(&mut self, at: Situation) -> bool {
        if self.due.is_none_or(|due| due > at.now) {
            return false;
        }
        let since = if at.is_busy { at.now } else { self.since };
        self.due = since.checked_add(self.max);
        self.due.is_some_and(|due| due <= at.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_by_a_tenth_and_the_grace_is_not() {
        let start = Instant::now();
        let max = Some(Duration::from_secs(1_000));
        for (random, seconds) in [(0.0, 900), (0.5, 1_000), (1.0, 1_100)] {
            let mut age = Age::new(max, random, start);
            let due = start + Duration::from_secs(seconds);
            assert_eq!(age.due(), Some(due));
            let grace = Some(Duration::from_secs(7));
            assert_eq!(age.handle_timeout(due - Duration::from_secs(1), grace), None);
            let left = age.handle_timeout(due, grace);
            assert_eq!(left, Some(Action::Drain(Farewell::MaxAge)));
            assert_eq!(age.due(), Some(due + Duration::from_secs(7)));
            let cut = age.handle_timeout(due + Duration::from_secs(7), grace);
            assert_eq!(cut, Some(Action::Fail(ConnectionError::lost("max_age"))));
        }
    }

    #[test]
    fn ages_and_graces_may_have_no_end() {
        let start = Instant::now();
        assert_eq!(Age::new(None, 0.5, start).due(), None);
        assert_eq!(Age::new(Some(Duration::MAX), 0.99, start).due(), None);
        let mut age = Age::new(Some(Duration::ZERO), 0.5, start);
        assert!(age.handle_timeout(start, None).is_some());
        assert_eq!(age.due(), None);
        assert!(Idleness::new(Duration::MAX, start).is_none());
    }

    #[test]
    fn idle_is_who_had_no_call_for_long() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let at = |now, is_busy| Situation { now, heard_at: now, is_busy, is_deaf: false };
        let mut idleness = Idleness::new(Duration::from_secs(10), start).expect("a time");
        // A call that came and went between two looks.
        idleness.look(s(4), false, 1);
        idleness.look(s(5), false, 1);
        assert!(!idleness.is_over(at(s(10), false)));
        assert_eq!(idleness.due, Some(s(14)));
        // One that lasts.
        idleness.look(s(12), true, 3);
        assert!(!idleness.is_over(at(s(14), true)));
        assert_eq!(idleness.due, Some(s(24)));
        idleness.look(s(20), false, 3);
        assert!(!idleness.is_over(at(s(24), false)));
        assert_eq!(idleness.due, Some(s(30)));
        assert!(idleness.is_over(at(s(30), false)));
    }
}
