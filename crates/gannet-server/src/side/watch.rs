//! Which polls of handlers are timed, and when a round of them has lasted long enough.
//!
//! Reading the clock twice for each poll would cost as much as a small handler does. So it is read
//! after every few polls: a *lap*. A lap that took long had a slow poll in it, and from then on
//! each poll is a lap of its own, until many in a row were short; those tell which method it is. A
//! poll that is alone in its round keeps nothing of its connection waiting, only other connections
//! of the same worker. It is timed now and then, less often once its method has been quick for
//! long, and when its method was never timed before; not at all where it is said beforehand where
//! the method runs.
//!
//! Reads no clock: time is an argument.

use std::time::{Duration, Instant};

/// A lap that takes longer had a slow poll in it.
const LONG_LAP: Duration = Duration::from_micros(50);
/// Polls of one lap while nothing is known to be slow.
const POLLS_PER_LAP: u32 = 8;
/// After a long lap, polls that are timed one by one.
const POLLS_OBSERVED: u32 = 64;
/// Handlers polled in one round.
const POLLS_PER_ROUND_MAX: u32 = 256;
/// Handler time of one round, looked at after each lap.
const HANDLER_TIME_PER_ROUND: Duration = Duration::from_micros(500);

/// What is known of a connection's handlers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Polls yet to be timed one by one.
    observe: u32,
    /// Decides which rounds of one poll are timed. Not a plain count, which may keep step with the
    /// order of calls.
    chance: u32,
}

/// Polls that were timed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lap {
    pub(super) polls: u32,
    pub(super) took: Duration,
}

impl Watch {
    /// Whether a round with so many handlers that are ready is to be timed. `is_known`: the method
    /// of the first was timed before.
    pub(super) fn begins_round(&mut self, ready: usize, is_known: bool) -> bool {
        // One in four, in no order (the constants are those of Knuth's MMIX, cut to 32 bits).
        self.chance = self.chance.wrapping_mul(0x4c95_7f2d).wrapping_add(0xf767_814f);
        if !is_known {
            self.observe = self.observe.max(1);
        }
        ready > 1 || self.observe > 0 || self.chance >> 30 == 0
    }

    /// Whether a round that is to be timed is let pass all the same: three of four of those with a
    /// lone handler whose method has been quick for long (`is_steady`).
    pub(super) fn skips_round(&self, ready: usize, is_steady: bool) -> bool {
        is_steady && ready == 1 && self.observe == 0 && self.chance >> 28 != 0
    }

    /// A lap is over.
    pub(super) fn saw(&mut self, lap: Lap) {
        if lap.took > LONG_LAP {
            self.observe = POLLS_OBSERVED;
        } else {
            self.observe = self.observe.saturating_sub(lap.polls);
        }
    }

    fn polls_per_lap(&self) -> u32 {
        if self.observe > 0 { 1 } else { POLLS_PER_LAP }
    }
}

/// One round of polls.
#[derive(Debug)]
pub(super) struct Round {
    began: Instant,
    lap_began: Instant,
    lap_polls: u32,
    polls: u32,
    /// No time passes in it.
    ignores_time: bool,
}

impl Round {
    pub(super) fn begin(now: Instant, ignores_time: bool) -> Round {
        Round { began: now, lap_began: now, lap_polls: 0, polls: 0, ignores_time }
    }

    /// A handler was polled; whether that ends the lap.
    pub(super) fn polled(&mut self, watch: &Watch) -> bool {
        self.lap_polls += 1;
        self.lap_polls >= watch.polls_per_lap()
    }

    /// Ends the lap.
    pub(super) fn lap(&mut self, now: Instant) -> Lap {
        let polls = std::mem::take(&mut self.lap_polls);
        self.polls += polls;
        let now = if self.ignores_time { self.began } else { now };
        let took = now.saturating_duration_since(self.lap_began);
        self.lap_began = now;
        Lap { polls, took }
    }

    /// Whether others should have their turn, by what the last lap ended with.
    pub(super) fn is_over(&self) -> bool {
        self.polls >= POLLS_PER_ROUND_MAX
            || self.lap_began.saturating_duration_since(self.began) > HANDLER_TIME_PER_ROUND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one round of polls that take so many microseconds each; returns the laps.
    fn round(watch: &mut Watch, polls: &[u64]) -> Vec<(u32, u64)> {
        round_of(watch, polls, false)
    }

    fn round_of(watch: &mut Watch, polls: &[u64], ignores_time: bool) -> Vec<(u32, u64)> {
        let mut now = Instant::now();
        let mut round = Round::begin(now, ignores_time);
        let mut laps = Vec::new();
        for (n, micros) in polls.iter().enumerate() {
            now += Duration::from_micros(*micros);
            if !round.polled(watch) && n + 1 < polls.len() {
                continue;
            }
            let lap = round.lap(now);
            watch.saw(lap);
            laps.push((lap.polls, u64::try_from(lap.took.as_micros()).unwrap()));
            if round.is_over() {
                break;
            }
        }
        laps
    }

    #[test]
    fn quick_polls_share_looks_at_the_clock() {
        let mut watch = Watch::default();
        assert_eq!(round(&mut watch, &[1; 20]), [(8, 8), (8, 8), (4, 4)]);
        assert_eq!(round(&mut watch, &[1; 300]).len(), 32, "a round has an end");
    }

    #[test]
    fn after_a_slow_poll_each_is_timed_until_many_were_quick() {
        let mut watch = Watch::default();
        let laps = round(&mut watch, &[1, 1, 60, 1, 1, 1, 1, 1, 1, 70, 1]);
        assert_eq!(laps, [(8, 67), (1, 1), (1, 70), (1, 1)]);
        assert!(round(&mut watch, &[1; 63]).iter().all(|(polls, _)| *polls == 1));
        assert_eq!(round(&mut watch, &[1; 8]), [(8, 8)]);
    }

    #[test]
    fn slow_polls_end_the_round() {
        let mut watch = Watch::default();
        assert_eq!(round(&mut watch, &[100; 20]), [(8, 800)]);
        assert_eq!(round(&mut watch, &[100; 20]).len(), 6, "500 µs and what was begun");
    }

    #[test]
    fn where_time_is_ignored_only_the_number_of_polls_ends_a_round() {
        let mut watch = Watch::default();
        assert_eq!(round_of(&mut watch, &[1_000; 20], true), [(8, 0), (8, 0), (4, 0)]);
        assert_eq!(round_of(&mut watch, &[1_000; 300], true).len(), 32);
    }

    #[test]
    fn of_lone_polls_some_are_timed_and_no_order_of_calls_escapes() {
        let mut watch = Watch::default();
        assert!(watch.begins_round(2, true));
        assert!(watch.begins_round(3, false));
        assert_eq!(round(&mut watch, &[1; 3]), [(1, 1), (2, 2)], "an unknown one by itself");
        for period in 1..=16 {
            let rounds = 4_000 * period;
            let timed = (0..rounds).filter(|n| watch.begins_round(1, true) && n % period == 0);
            let timed = timed.count();
            assert!((700..1_300).contains(&timed), "{timed} of 4,000, every {period}");
        }
        watch.saw(Lap { polls: 1, took: Duration::from_millis(1) });
        assert!((0..10).all(|_| watch.begins_round(1, true)));
    }

    #[test]
    fn of_lone_polls_of_a_steady_method_fewer_are_timed_until_one_is_slow() {
        let mut watch = Watch::default();
        let is_timed = |watch: &mut Watch, is_steady| {
            watch.begins_round(1, true) && !watch.skips_round(1, is_steady)
        };
        for period in 1..=16 {
            let rounds = 4_000 * period;
            let timed = (0..rounds).filter(|n| is_timed(&mut watch, true) && n % period == 0);
            let timed = timed.count();
            assert!((150..350).contains(&timed), "{timed} of 4,000, every {period}");
        }
        let timed = (0..4_000).filter(|_| is_timed(&mut watch, false)).count();
        assert!((700..1_300).contains(&timed), "{timed} of 4,000 where the method is not steady");
        assert!(!watch.skips_round(2, true), "others wait");
        watch.saw(Lap { polls: 1, took: Duration::from_millis(1) });
        assert!((0..10).all(|_| is_timed(&mut watch, true)));
    }
}
