//! The PINGs that a server puts up with (gRFC A8, "Server Enforcement").

use std::time::{Duration, Instant};

use super::PingPolicy;
use crate::ConnectionError;

/// PINGs that may come too early.
const STRIKES_MAX: u8 = 2;
/// Between PINGs of a client without calls, unless the policy permits those.
const WITHOUT_CALLS_INTERVAL: Duration = Duration::from_secs(7_200);

#[derive(Debug, Default)]
pub(super) struct PingStrikes {
    last: Option<Instant>,
    strikes: u8,
}

impl PingStrikes {
    pub(super) fn pinged(
        &mut self,
        policy: &PingPolicy,
        now: Instant,
        answered: bool,
        is_busy: bool,
    ) -> Result<(), ConnectionError> {
        let last = self.last.replace(now);
        if answered {
            self.strikes = 0;
            return Ok(());
        }
        let interval = match is_busy || policy.without_calls {
            true => policy.interval_min,
            false => WITHOUT_CALLS_INTERVAL,
        };
        if last.is_some_and(|last| now.saturating_duration_since(last) < interval) {
            self.strikes += 1;
        }
        if self.strikes > STRIKES_MAX {
            return Err(ConnectionError::calm("too_many_pings"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    const POLICY: PingPolicy =
        PingPolicy { interval_min: Duration::from_secs(300), without_calls: false };

    /// PINGs at these seconds; which of them ends the connection.
    fn ended_by(policy: PingPolicy, is_busy: bool, pings: &[(u64, bool)]) -> Option<usize> {
        let start = Instant::now();
        let mut strikes = PingStrikes::default();
        pings.iter().position(|(second, answered)| {
            let now = start + Duration::from_secs(*second);
            let judged = strikes.pinged(&policy, now, *answered, is_busy);
            judged.is_err_and(|error| error.reason == Reason::ENHANCE_YOUR_CALM)
        })
    }

    #[test]
    fn the_third_that_is_too_early_is_too_many() {
        let quick = |n: u64| (n, false);
        let pings: Vec<_> = (0..10).map(quick).collect();
        assert_eq!(ended_by(POLICY, true, &pings), Some(3));
        let honest: Vec<_> = (0..50).map(|n| (n * 300, false)).collect();
        assert_eq!(ended_by(POLICY, true, &honest), None);
        // Early ones add up, however many good ones lie between.
        let mixed = [0, 300, 599, 899, 1_198, 1_498, 1_797].map(quick);
        assert_eq!(ended_by(POLICY, true, &mixed), Some(6));
    }

    #[test]
    fn without_calls_they_must_be_rare() {
        let honest: Vec<_> = (0..50).map(|n| (n * 300, false)).collect();
        assert_eq!(ended_by(POLICY, false, &honest), Some(3));
        let rare: Vec<_> = (0..50).map(|n| (n * 7_200, false)).collect();
        assert_eq!(ended_by(POLICY, false, &rare), None);
        let permits = PingPolicy { without_calls: true, ..POLICY };
        assert_eq!(ended_by(permits, false, &honest), None);
    }

    #[test]
    fn what_is_sent_forgives() {
        let always: Vec<_> = (0..50).map(|n| (n, n > 0)).collect();
        assert_eq!(ended_by(POLICY, true, &always), None);
        let once = [(0, false), (1, false), (2, false), (3, true), (4, false), (5, false)];
        assert_eq!(ended_by(POLICY, true, &once), None);
        assert_eq!(ended_by(POLICY, true, &[&once[..], &[(6, false)]].concat()), Some(6));
    }
}
