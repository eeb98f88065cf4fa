//! One address of a channel: its state, and when it may be connected to (gRPC's
//! `connectivity-semantics-and-api.md` and `connection-backoff.md`).

use std::time::Instant;

use gannet_core::Status;

use super::{Attempt, Backoff, BackoffConfig, SubchannelState};

/// See the module. Each verb that finds the machine in a state that it is not for changes nothing.
#[derive(Clone, Debug)]
pub(super) struct Subchannel {
    state: SubchannelState,
    backoff: Backoff,
    backoff_config: BackoffConfig,
    /// Attempts since it was connected last.
    attempts: u32,
    /// When it is idle again, after a failure.
    retry_at: Option<Instant>,
}

impl Subchannel {
    pub(super) fn new(config: BackoffConfig) -> Subchannel {
        Subchannel {
            state: SubchannelState::Idle,
            backoff: Backoff::new(config.clone()),
            backoff_config: config,
            attempts: 0,
            retry_at: None,
        }
    }

    pub(super) fn state(&self) -> &SubchannelState {
        &self.state
    }

    /// Attempts since it was connected last.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When it is idle again, after a failure.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// It is wanted: whether an attempt begins. `random` as for [`Backoff::attempt`].
    pub(super) fn connect(&mut self, now: Instant, random: f64) -> Option<Attempt> {
        if !matches!(self.state, SubchannelState::Idle) {
            return None;
        }
        self.state = SubchannelState::Connecting;
        self.attempts = self.attempts.saturating_add(1);
        Some(self.backoff.attempt(now, random))
    }

    /// The server's SETTINGS came.
    pub(super) fn established(&mut self) {
        self.state = SubchannelState::Ready;
        self.backoff.established();
        self.attempts = 0;
    }

    /// The attempt failed.
    pub(super) fn failed(&mut self, now: Instant, error: Status) {
        if !matches!(self.state, SubchannelState::Connecting) {
            return;
        }
        let attempt = self.attempts;
        let told = format!("{} [attempt {attempt}, TRANSIENT_FAILURE]", error.message());
        // It keeps its cause, and is none itself: its text is told already.
        self.state = SubchannelState::TransientFailure(error.with_message(told));
        self.retry_at = self.backoff.failed(now);
    }

    /// A while has passed since a failure: whether that was long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.retry_at.is_none_or(|at| at > now) {
            return false;
        }
        self.retry_at = None;
        self.state = SubchannelState::Idle;
        true
    }

    /// The connection is lost, or takes no calls any more.
    pub(super) fn lost(&mut self) -> bool {
        let was_ready = self.state.is_ready();
        if was_ready {
            self.state = SubchannelState::Idle;
        }
        was_ready
    }

    /// As if nothing had failed: whether it is idle because of that.
    pub(super) fn reset_backoff(&mut self) -> bool {
        self.backoff = Backoff::new(self.backoff_config.clone());
        if !matches!(self.state, SubchannelState::TransientFailure(_)) {
            return false;
        }
        self.retry_at = None;
        self.state = SubchannelState::Idle;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gannet_core::Code;

    use super::*;
    use crate::policy::ChannelState;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_attempt_is_made_from_idle_only_and_failures_count() {
        let start = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        assert!(one.connect(start, 0.5).is_some());
        assert!(one.connect(start, 0.5).is_none(), "one is under way");
        one.failed(start, Status::unavailable("a:1: refused"));
        assert_eq!(one.state().state(), ChannelState::TransientFailure);
        assert!(one.connect(start, 0.5).is_none(), "in backoff");
        assert!(!one.handle_timeout(start + s(1) / 2));
        assert!(one.handle_timeout(start + s(1)));
        assert_eq!(one.state().state(), ChannelState::Idle);
        assert!(!one.handle_timeout(start + s(9)), "once");
        assert!(one.connect(start + s(1), 0.5).is_some());
        one.failed(start + s(1), Status::unavailable("a:1: refused"));
        let SubchannelState::TransientFailure(status) = one.state() else { panic!("{one:?}") };
        assert_eq!(status.message(), "a:1: refused [attempt 2, TRANSIENT_FAILURE]");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(one.retry_at(), Some(start + s(1) + Duration::from_millis(1_600)));
    }

    #[test]
    fn a_connection_starts_over_and_its_loss_is_idle() {
        let start = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        assert!(!one.lost(), "there is none");
        for _ in 0..3 {
            one.connect(start, 0.5);
            one.failed(start, Status::unavailable("no"));
            one.handle_timeout(start + s(1_000));
        }
        one.connect(start, 0.5);
        one.established();
        assert_eq!((one.state().state(), one.attempts()), (ChannelState::Ready, 0));
        one.failed(start, Status::unavailable("late"));
        assert!(one.state().is_ready(), "an attempt that is over");
        assert!(one.lost());
        assert_eq!(one.state().state(), ChannelState::Idle);
        one.connect(start, 0.5);
        one.failed(start, Status::unavailable("no"));
        assert_eq!(one.retry_at(), Some(start + s(1)), "from the beginning");
    }

    #[test]
    fn who_resets_the_backoff_need_not_wait() {
        let start = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        assert!(!one.reset_backoff());
        one.connect(start, 0.5);
        one.failed(start, Status::unavailable("no"));
        assert!(one.reset_backoff());
        assert_eq!(one.retry_at(), None);
        assert!(one.connect(start, 0.5).is_some());
    }
}
