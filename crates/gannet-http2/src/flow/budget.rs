//! Counters that bound what a peer can make us do for nothing.

use std::time::{Duration, Instant};

use crate::ConnectionError;

/// A token bucket over resets that the peer sends or provokes: rapid reset (CVE-2023-44487) and
/// made-you-reset (CVE-2025-8671).
#[derive(Debug)]
pub(crate) struct ResetBudget {
    tokens: u32,
    burst: u32,
    refill: Duration,
    refilled_at: Instant,
}

impl ResetBudget {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let refill = Duration::from_secs(1) / per_second.max(1);
        ResetBudget { tokens: burst, burst, refill, refilled_at: now }
    }

    /// Takes one token.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.refill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(ConnectionError::calm("too many streams were reset")),
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled_at);
        let earned = elapsed.as_nanos() / self.refill.as_nanos().max(1);
        if earned == 0 {
            return;
        }
        let missing = self.burst - self.tokens;
        match u32::try_from(earned) {
            Ok(earned) if earned < missing => {
                self.tokens += earned;
                self.refilled_at += self.refill * earned;
            }
            _ => {
                self.tokens = self.burst;
                self.refilled_at = now;
            }
        }
    }
}

/// Counts useless frames in a row.
#[derive(Debug)]
pub(crate) struct StrikeCounter {
    strikes: u32,
    max: u32,
    detail: &'static str,
}

impl StrikeCounter {
    pub(crate) fn new(max: u32, detail: &'static str) -> Self {
        StrikeCounter { strikes: 0, max, detail }
    }

    pub(crate) fn strike(&mut self) -> Result<(), ConnectionError> {
        self.strikes += 1;
        if self.strikes > self.max { Err(ConnectionError::calm(self.detail)) } else { Ok(()) }
    }

    pub(crate) fn clear(&mut self) {
        self.strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut budget = ResetBudget::new(3, 10, start);
        for _ in 0..3 {
            assert!(budget.take(start).is_ok());
        }
        assert!(budget.take(start).is_err());
        let later = start + Duration::from_millis(250);
        assert!(budget.take(later).is_ok());
        assert!(budget.take(later).is_ok());
        assert!(budget.take(later).is_err());
        assert!(budget.take(later + Duration::from_millis(50)).is_ok(), "fractions are kept");
        for _ in 0..3 {
            assert!(budget.take(later + Duration::from_secs(9)).is_ok());
        }
        assert!(budget.take(later + Duration::from_secs(9)).is_err());
    }
}
