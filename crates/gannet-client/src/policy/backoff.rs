//! When to try to connect again (gRPC's `connection-backoff.md`).
//!
//! The time between attempts is counted from start to start, so an attempt that took long to fail
//! is followed by the next one at once. Only the peer's SETTINGS prove that a connection works:
//! they, and not a connected socket, reset the backoff.

use std::time::{Duration, Instant};

use super::moment;

/// The parameters of [`Backoff`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// Time from the first failed attempt's start to the second (default 1 s).
    pub initial: Duration,
    /// What each further time is multiplied with (default 1.6; at least 1).
    pub multiplier: f64,
    /// How far each further time is spread, as a part of it, both ways (default 0.2; 0 to 1).
    pub jitter: f64,
    /// The longest time, before it is spread (default 120 s).
    pub max: Duration,
    /// How long an attempt may take at least (default 20 s). It may take until the next one is due.
    pub connect_timeout: Duration,
    /// How long it may take at most, whenever the next one is due (default: nothing is said).
    pub connect_timeout_max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        BackoffConfig {
            initial: Duration::from_secs(1),
            multiplier: 1.6,
            jitter: 0.2,
            max: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(20),
            connect_timeout_max: Duration::MAX,
        }
    }
}

/// The backoff of one address or set of addresses.
///
/// Its owner tells it what happens: [`attempt`](Self::attempt) when it starts to connect, then
/// [`failed`](Self::failed) or [`established`](Self::established).
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    /// The time that the last attempt stands for; `None` before the first.
    current: Option<Duration>,
    /// The earliest start of the next attempt, once there was one; `None` in it is never.
    retry_at: Option<Option<Instant>>,
}

/// What the owner of a [`Backoff`] is told when it starts an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When to give the attempt up. `None`: never, as no clock can express the time.
    pub give_up_at: Option<Instant>,
}

impl Backoff {
    /// A backoff that has seen nothing.
    pub fn new(config: BackoffConfig) -> Backoff {
        Backoff { config, current: None, retry_at: None }
    }

    /// An attempt starts `now`. `random`, evenly from [0, 1), decides how the time until the next
    /// one is spread.
    pub fn attempt(&mut self, now: Instant, random: f64) -> Attempt {
        let config = &self.config;
        let wait = match self.current {
            None => {
                let first = config.initial.min(config.max);
                self.current = Some(first);
                first
            }
            Some(last) => {
                let seconds = last.as_secs_f64() * config.multiplier.max(1.0);
                let next = seconds.min(config.max.as_secs_f64());
                self.current = Some(duration(next));
                let spread = config.jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
                duration(next * (1.0 + spread))
            }
        };
        let retry_at = moment(now, wait);
        let timeout_at = moment(now, config.connect_timeout);
        self.retry_at = Some(retry_at);
        let least = retry_at.zip(timeout_at).map(|(retry, timeout)| retry.max(timeout));
        let most = moment(now, config.connect_timeout_max);
        Attempt { give_up_at: least.into_iter().chain(most).min() }
    }

    /// The attempt failed `now`. Returns when to start the next: now at the earliest. `None`:
    /// never, as no clock can express the time.
    pub fn failed(&mut self, now: Instant) -> Option<Instant> {
        self.retry_at.map_or(Some(now), |at| at.map(|at| at.max(now)))
    }

    /// The peer's SETTINGS arrived: the next failure starts from the beginning.
    pub fn established(&mut self) {
        self.current = None;
        self.retry_at = None;
    }
}

/// Seconds that are known to be finite and not negative.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at once, over and over, and returns the times between the attempts.
    fn waits(backoff: &mut Backoff, random: f64, count: usize) -> Vec<f64> {
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..count {
            backoff.attempt(now, random);
            let retry_at = backoff.failed(now).unwrap();
            waits.push((retry_at - now).as_secs_f64());
            now = retry_at;
        }
        waits
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-6
    }

    #[test]
    fn grows_by_the_multiplier_up_to_the_maximum() {
        let mut backoff = Backoff::new(BackoffConfig::default());
        let waits = waits(&mut backoff, 0.5, 15);
        let mut want = 1.0_f64;
        for wait in waits {
            assert!(close(wait, want), "{wait} instead of {want}");
            want = (want * 1.6).min(120.0);
        }
        assert!(close(want, 120.0));
    }

    #[test]
    fn jitter_spreads_every_wait_but_the_first() {
        for (random, factor) in [(0.0, 0.8), (0.25, 0.9), (0.5, 1.0), (0.999_999_999, 1.2)] {
            let mut backoff = Backoff::new(BackoffConfig::default());
            let waits = waits(&mut backoff, random, 14);
            assert!(close(waits[0], 1.0));
            assert!(close(waits[1], 1.6 * factor), "{waits:?}");
            assert!(close(waits[2], 2.56 * factor), "the spread must not accumulate: {waits:?}");
            assert!(close(waits[13], 120.0 * factor), "{waits:?}");
        }
    }

    #[test]
    fn settings_start_it_over() {
        let mut backoff = Backoff::new(BackoffConfig::default());
        waits(&mut backoff, 0.5, 5);
        backoff.attempt(Instant::now(), 0.5);
        backoff.established();
        assert!(close(waits(&mut backoff, 0.5, 1)[0], 1.0));
    }

    #[test]
    fn counts_from_start_to_start() {
        let start = Instant::now();
        let mut backoff = Backoff::new(BackoffConfig::default());
        backoff.attempt(start, 0.5);
        let late = start + Duration::from_secs(20);
        assert_eq!(
            backoff.failed(late),
            Some(late),
            "an attempt of 20 s is longer than the wait of 1 s"
        );
        backoff.attempt(late, 0.5);
        let soon = late + Duration::from_millis(600);
        assert_eq!(backoff.failed(soon), Some(late + Duration::from_millis(1_600)));
    }

    #[test]
    fn an_attempt_may_take_the_connect_timeout_or_until_the_next() {
        let start = Instant::now();
        let mut backoff = Backoff::new(BackoffConfig::default());
        let timeout =
            |backoff: &mut Backoff| backoff.attempt(start, 0.5).give_up_at.unwrap() - start;
        for _ in 0..7 {
            assert_eq!(timeout(&mut backoff), Duration::from_secs(20));
        }
        // 1.6 to the power of 7 is the first above 20.
        assert!(timeout(&mut backoff) > Duration::from_secs(26));
        let config =
            BackoffConfig { connect_timeout: Duration::from_secs(30), ..Default::default() };
        assert_eq!(timeout(&mut Backoff::new(config)), Duration::from_secs(30));
        // No longer, where that is said.
        for max in [100, 15_000, 25_000].map(Duration::from_millis) {
            let config = BackoffConfig { connect_timeout_max: max, ..Default::default() };
            let mut backoff = Backoff::new(config);
            for nth in 0..20 {
                let least = if nth < 7 { Duration::from_secs(20) } else { max };
                assert_eq!(timeout(&mut backoff), max.min(least));
            }
        }
    }

    #[test]
    fn bends_nonsense_into_range() {
        let config = BackoffConfig {
            multiplier: f64::NAN,
            jitter: 7.0,
            initial: Duration::from_secs(500),
            ..BackoffConfig::default()
        };
        let mut backoff = Backoff::new(config);
        let waits = waits(&mut backoff, 2.0, 3);
        assert!(close(waits[0], 120.0));
        assert!(waits[1..].iter().all(|wait| close(*wait, 240.0)), "{waits:?}");
    }

    #[test]
    fn what_no_clock_can_express_is_never() {
        let start = Instant::now();
        let config = BackoffConfig { connect_timeout: Duration::MAX, ..BackoffConfig::default() };
        let mut backoff = Backoff::new(config);
        assert_eq!(backoff.attempt(start, 0.5).give_up_at, None);
        assert_eq!(backoff.failed(start), Some(start + Duration::from_secs(1)));

        let config = BackoffConfig {
            initial: Duration::MAX,
            max: Duration::MAX,
            multiplier: f64::INFINITY,
            ..BackoffConfig::default()
        };
        let mut backoff = Backoff::new(config);
        for _ in 0..3 {
            backoff.attempt(start, 0.999);
            // Where a float makes less of it, it is still beyond every life.
            let retry_at = backoff.failed(start);
            assert!(retry_at.is_none_or(|at| at - start > Duration::from_secs(1 << 40)));
        }
    }
}
