//! What is counted while calls are made, and which calls may begin.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What a run has done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Calls that may yet begin.
    pub(crate) left: u64,
    /// Calls that are under way.
    pub(crate) open: u64,
    pub(crate) counts: Counts,
    pub(crate) latencies: Option<Latencies>,
    pub(crate) pace: Pace,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As replies come.
    #[default]
    Free,
    /// In lockstep, and replies are due: not now.
    Waits,
    /// In lockstep, and nothing is due: now.
    Goes,
}

/// Counts that a difference can be taken of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Calls that were answered rightly.
    pub(crate) calls: u64,
    /// Messages received.
    pub(crate) messages: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Tally {
    /// Whether one more call may begin; it is then counted as begun.
    pub(crate) fn begin(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.open += 1;
        true
    }

    /// A call ended as it should.
    pub(crate) fn end(&mut self, latency: Duration) {
        self.open -= 1;
        self.counts.calls += 1;
        if let Some(latencies) = &mut self.latencies {
            latencies.record(latency);
        }
    }

    /// No call is under way, and none may begin.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0 && self.open == 0
    }
}

impl Counts {
    pub(crate) fn since(self, earlier: Counts) -> Counts {
        Counts {
            calls: self.calls - earlier.calls,
            messages: self.messages - earlier.messages,
            reads: self.reads - earlier.reads,
            writes: self.writes - earlier.writes,
            bytes_in: self.bytes_in - earlier.bytes_in,
            bytes_out: self.bytes_out - earlier.bytes_out,
        }
    }
}

/// How long calls took: three digits of precision, from 100 ns to 100 s. Allocates nothing once it
/// is made.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

const UNIT: Duration = Duration::from_nanos(100);
const LATENCY_MAX: Duration = Duration::from_secs(100);

impl Latencies {
    pub(crate) fn new() -> io::Result<Latencies> {
        let max = units(LATENCY_MAX);
        Histogram::new_with_max(max, 3).map(Latencies).map_err(io::Error::other)
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(units(latency));
    }

    /// The latency, in µs, that this share of the calls did not exceed.
    pub(crate) fn at_quantile(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 * UNIT.as_secs_f64() * 1e6
    }
}

fn units(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos() / UNIT.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_begin_while_some_are_left() {
        let mut tally = Tally { left: 2, ..Tally::default() };
        assert!(tally.begin() && tally.begin() && !tally.begin());
        tally.end(Duration::ZERO);
        assert!(!tally.is_done());
        tally.end(Duration::ZERO);
        assert!(tally.is_done());
        assert_eq!(tally.counts.calls, 2);
    }

    #[test]
    fn quantiles_are_microseconds() {
        let mut latencies = Latencies::new().unwrap();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        latencies.record(Duration::from_secs(1000));
        for (quantile, due) in [(0.5, 501.0), (0.99, 991.0), (0.999, 1000.0)] {
            let read = latencies.at_quantile(quantile);
            assert!((read - due).abs() <= due * 0.001 + 0.2, "{quantile}: {read}");
        }
        assert!((latencies.at_quantile(1.0) - 1e8).abs() < 2e5);
        latencies.clear();
        assert!(latencies.at_quantile(0.5) < 0.1);
    }
}
