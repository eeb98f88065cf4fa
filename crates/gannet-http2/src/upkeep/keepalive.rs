//! Keepalive (gRFC A8 for clients, A9 for servers).
//!
//! One timer, which is not moved when bytes come: when it fires, the time of the last bytes decides
//! whether it was in vain, and until when the next one is.

use std::time::{Duration, Instant};

use super::{Action, Keepalive, Situation};
use crate::ConnectionError;

/// Why a connection is given up. A connection that is lost is no error of HTTP/2's.
const SILENT: &str = "keepalive: nothing came from the peer within the timeout after a PING";
/// The shortest times that make sense: below them a connection would do nothing but this.
const TIME_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Heartbeat {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// To be looked at then.
    Listening(Instant),
    /// A PING went out at the first moment; the second is the end.
    Pinged(Instant, Instant),
    /// There is no stream, and bytes came longer ago than the time allows.
    Dormant(Instant),
    /// What no clock can express.
    Never,
}

impl Heartbeat {
    pub(super) fn new(keepalive: Keepalive, now: Instant) -> Heartbeat {
        Heartbeat { state: listening(&keepalive, now) }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Listening(at) | State::Pinged(_, at) => Some(at),
            State::Dormant(_) | State::Never => None,
        }
    }

    /// There is a stream: where it was dormant, it is due at once.
    pub(super) fn wake(&mut self) -> bool {
        let State::Dormant(since) = self.state else { return false };
        self.state = State::Listening(since);
        true
    }

    pub(super) fn handle_timeout(
        &mut self,
        keepalive: &Keepalive,
        at: Situation,
    ) -> Option<Action> {
        let Situation { now, heard_at, is_busy, is_deaf } = at;
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let heard_at = if is_deaf { now } else { heard_at };
        match self.state {
            State::Pinged(since, _) if heard_at < since => {
                Some(Action::Fail(ConnectionError::lost(SILENT)))
            }
            _ => {
                self.state = listening(keepalive, heard_at);
                if self.due().is_none_or(|due| due > now) {
                    return None;
                }
                if !is_busy && !keepalive.without_calls {
                    self.state = State::Dormant(now);
                    return None;
                }
                let end = now.checked_add(keepalive.timeout.max(TIME_MIN));
                self.state = end.map_or(State::Never, |end| State::Pinged(now, end));
                Some(Action::Ping)
            }
        }
    }
}

fn listening(keepalive: &Keepalive, from: Instant) -> State {
    from.checked_add(keepalive.time.max(TIME_MIN)).map_or(State::Never, State::Listening)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Keepalive = Keepalive {
        time: Duration::from_secs(10),
        timeout: Duration::from_secs(20),
        without_calls: false,
    };

    fn at(now: Instant, heard_at: Instant, is_busy: bool) -> Situation {
        Situation { now, heard_at, is_busy, is_deaf: false }
    }

    #[test]
    fn what_came_puts_the_ping_off_and_answers_it() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(RULES, start);
        assert_eq!(beat.due(), Some(s(10)));
        assert_eq!(beat.handle_timeout(&RULES, at(s(9), start, true)), None);
        assert_eq!(beat.handle_timeout(&RULES, at(s(10), s(4), true)), None);
        assert_eq!(beat.due(), Some(s(14)), "ten seconds after the last bytes");
        assert_eq!(beat.handle_timeout(&RULES, at(s(14), s(4), true)), Some(Action::Ping));
        assert_eq!(beat.due(), Some(s(34)));
        assert_eq!(beat.handle_timeout(&RULES, at(s(33), s(4), true)), None);
        // What came in the same wake as the PING went out may have come after it.
        assert_eq!(beat.handle_timeout(&RULES, at(s(34), s(14), true)), Some(Action::Ping));
        assert_eq!(beat.handle_timeout(&RULES, at(s(54), s(50), true)), None);
        assert_eq!(beat.due(), Some(s(60)));
        assert_eq!(beat.handle_timeout(&RULES, at(s(60), s(50), true)), Some(Action::Ping));
        let lost = beat.handle_timeout(&RULES, at(s(80), s(59), true));
        assert!(matches!(lost, Some(Action::Fail(_))), "{lost:?}");
    }

    #[test]
    fn without_calls_it_sleeps_unless_told_otherwise() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(RULES, start);
        assert!(!beat.wake(), "it is awake");
        assert_eq!(beat.handle_timeout(&RULES, at(s(10), start, false)), None);
        assert_eq!(beat.due(), None);
        assert!(beat.wake());
        assert!(beat.due().is_some_and(|due| due <= s(100)));
        assert_eq!(beat.handle_timeout(&RULES, at(s(100), start, true)), Some(Action::Ping));
        let always = Keepalive { without_calls: true, ..RULES };
        let mut beat = Heartbeat::new(always, start);
        assert_eq!(beat.handle_timeout(&always, at(s(10), start, false)), Some(Action::Ping));
    }

    #[test]
    fn a_call_that_ended_does_not_save_the_peer() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(RULES, start);
        assert_eq!(beat.handle_timeout(&RULES, at(s(10), start, true)), Some(Action::Ping));
        let lost = beat.handle_timeout(&RULES, at(s(30), start, false));
        assert!(matches!(lost, Some(Action::Fail(_))), "{lost:?}");
    }

    #[test]
    fn who_does_not_read_cannot_tell() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Heartbeat::new(RULES, start);
        let deaf = |now| Situation { is_deaf: true, ..at(now, start, true) };
        assert_eq!(beat.handle_timeout(&RULES, at(s(10), start, true)), Some(Action::Ping));
        assert_eq!(beat.handle_timeout(&RULES, deaf(s(30))), None);
        assert_eq!(beat.due(), Some(s(40)));
    }

    #[test]
    fn times_beyond_every_clock_are_never() {
        let start = Instant::now();
        let never = Keepalive { time: Duration::MAX, ..RULES };
        assert_eq!(Heartbeat::new(never, start).due(), None);
        let patient = Keepalive { timeout: Duration::MAX, ..RULES };
        let mut beat = Heartbeat::new(patient, start);
        let then = start + patient.time;
        assert_eq!(beat.handle_timeout(&patient, at(then, start, true)), Some(Action::Ping));
        assert_eq!(beat.due(), None);
    }
}
