//! When a channel without calls becomes idle (gRPC's
//! `connectivity-semantics-and-api.md`, `IDLE_TIMEOUT`).
//!
//! Nobody tells of each call: what calls there were is looked at when the time may be over.

use std::time::{Duration, Instant};

use super::moment;

/// The shortest time, as in grpc-java: a channel connects in less, and is not torn down between
/// calls that follow each other.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Idleness {
    /// `None`: never.
    timeout: Option<Duration>,
    look_at: Option<Instant>,
}

/// What calls there were, since it was looked at last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activity {
    /// There are some now.
    Busy,
    /// There are none since this moment, at least.
    Since(Instant),
}

impl Idleness {
    pub(crate) fn new(timeout: Option<Duration>) -> Idleness {
        let timeout = timeout.map(|timeout| timeout.max(IDLE_TIMEOUT_MIN));
        Idleness { timeout, look_at: None }
    }

    /// The channel leaves the idle state.
    pub(crate) fn start(&mut self, now: Instant) {
        self.look_at = self.timeout.and_then(|timeout| moment(now, timeout));
    }

    /// It is idle.
    pub(crate) fn stop(&mut self) {
        self.look_at = None;
    }

    /// When to look.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether the channel is to be idle. `look` tells what calls there are.
    pub(crate) fn handle_timeout(&mut self, now: Instant, look: impl FnOnce() -> Activity) -> bool {
        let Some(timeout) = self.timeout.filter(|_| self.look_at.is_some_and(|at| at <= now))
        else {
            return false;
        };
        let (since, is_busy) = match look() {
            Activity::Busy => (now, true),
            Activity::Since(since) => (since.min(now), false),
        };
        self.look_at = moment(since, timeout);
        !is_busy && self.look_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1_800);

    #[test]
    fn the_time_counts_from_the_last_call() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut idleness = Idleness::new(Some(TIMEOUT));
        assert!(!idleness.handle_timeout(at(9_999), || Activity::Since(start)), "not begun");
        idleness.start(start);
        assert_eq!(idleness.next_timeout(), Some(at(1_800)));
        assert!(!idleness.handle_timeout(at(1_799), || panic!("too early to look")));
        assert!(!idleness.handle_timeout(at(1_800), || Activity::Since(at(100))));
        assert_eq!(idleness.next_timeout(), Some(at(1_900)));
        assert!(!idleness.handle_timeout(at(1_900), || Activity::Busy));
        assert_eq!(idleness.next_timeout(), Some(at(3_700)));
        assert!(idleness.handle_timeout(at(3_700), || Activity::Since(at(1_900))));
    }

    #[test]
    fn less_than_a_second_is_a_second() {
        let start = Instant::now();
        for short in [Duration::ZERO, Duration::from_nanos(1)] {
            let mut idleness = Idleness::new(Some(short));
            idleness.start(start);
            let second = Duration::from_secs(1);
            assert_eq!(idleness.next_timeout(), Some(start + second));
            assert!(!idleness.handle_timeout(start + second, || Activity::Busy));
            assert_eq!(idleness.next_timeout(), Some(start + second * 2));
            assert!(idleness.handle_timeout(start + second * 2, || Activity::Since(start)));
        }
    }

    #[test]
    fn it_can_be_off() {
        let start = Instant::now();
        let mut idleness = Idleness::new(None);
        idleness.start(start);
        assert_eq!(idleness.next_timeout(), None);
        for endless in [Duration::MAX, Duration::MAX - Duration::from_nanos(1)] {
            let mut endless = Idleness::new(Some(endless));
            endless.start(start);
            assert_eq!(endless.next_timeout(), None);
        }
    }
}
