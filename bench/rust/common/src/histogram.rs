//! Latencies, counted in buckets that are less than 1 % wide.

use std::time::Duration;

/// Buckets per doubling, as a power of two.
const STEPS_LOG2: u32 = 7;
const STEPS: u64 = 1 << STEPS_LOG2;
/// The last bucket is for everything from 2^40 ns (18 minutes) on.
const BUCKETS: usize = ((40 - STEPS_LOG2 + 1) << STEPS_LOG2) as usize;

/// How often each latency occurred.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.counts[bucket(latency)] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The latency in microseconds that this share of all did not exceed; 0 if there was none.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.map_or(0.0, |bucket| upper_ns(bucket) as f64 / 1_000.0)
    }
}

/// Below `STEPS` ns each nanosecond has its bucket; above, each doubling has `STEPS` of them.
fn bucket(latency: Duration) -> usize {
    let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    let doublings = ns.checked_ilog2().unwrap_or(0).saturating_sub(STEPS_LOG2);
    let index = u64::from(doublings) * STEPS + (ns >> doublings);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first latency above a bucket, in ns.
fn upper_ns(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket >> STEPS_LOG2).saturating_sub(1);
    (bucket - doublings * STEPS + 1) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        let mut last = 0;
        for ns in (0..5_000).chain((13..39).map(|power| (1 << power) + 77)) {
            let bucket = bucket(Duration::from_nanos(ns));
            assert!(bucket >= last, "{ns}");
            assert!(upper_ns(bucket) > ns, "{ns}");
            assert!(bucket == 0 || upper_ns(bucket - 1) <= ns, "{ns}");
            last = bucket;
        }
        assert_eq!(bucket(Duration::from_secs(100_000)), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut all = Histogram::new();
        assert_eq!(all.quantile_us(0.5), 0.0);
        for us in 1..=1_000 {
            let mut one = Histogram::new();
            one.record(Duration::from_micros(us));
            all.add(&one);
        }
        assert_eq!(all.total(), 1_000);
        for (share, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = all.quantile_us(share);
            assert!((found / us - 1.0).abs() < 0.01, "{share}: {found}");
        }
    }
}
