//! One address of a channel: its state, and when it may be connected to (gRPC's
//! `connectivity-semantics-and-api.md` and `connection-backoff.md`).
//!
//! SETTINGS prove that a connection works, and a backoff that starts over with them holds nobody
//! who accepts each connection and ends it. So it starts over when the connection has ended, if
//! that was good for something: a call was answered on it, or it was there for as long as the first
//! backoff. Of those that were not, the first may be chance (a server that drains, behind a
//! balancer), and the next attempt is made at once; from the second in a row on it rests.

use std::time::Instant;

use gannet_core::Status;

use super::{Attempt, Backoff, BackoffConfig, SubchannelState, moment};

/// See the module. Each verb that finds the machine in a state that it is not for changes nothing.
#[derive(Clone, Debug)]
pub(super) struct Subchannel {
    state: SubchannelState,
    backoff: Backoff,
    backoff_config: BackoffConfig,
    /// Attempts since it was connected to some good.
    attempts: u32,
    /// When it is idle again, after a failure; or when the attempt begins that was told to.
    retry_at: Option<Instant>,
    /// When a connection is no short one any more; `None` is never.
    good_at: Option<Instant>,
    /// Connections in a row that were good for nothing.
    shorts: u32,
    /// When the next attempt may begin, after several of those. `None` in it is never.
    rests_until: Option<Option<Instant>>,
    /// How it failed last, or was lost to no good, since it was connected to some.
    last_failure: Option<Status>,
}

/// What comes of a wish to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    /// An attempt begins.
    Now(Attempt),
    /// One is to [begin](Subchannel::begin) at this moment; `None` is never.
    At(Option<Instant>),
}

/// How a connection was lost.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// A call was answered on it.
    pub(crate) has_served: bool,
    /// What ended it, with the address.
    pub(crate) why: Status,
}

impl Subchannel {
    pub(super) fn new(config: BackoffConfig) -> Subchannel {
        Subchannel {
            state: SubchannelState::Idle,
            backoff: Backoff::new(config.clone()),
            backoff_config: config,
            attempts: 0,
            retry_at: None,
            good_at: None,
            shorts: 0,
            rests_until: None,
            last_failure: None,
        }
    }

    pub(super) fn state(&self) -> &SubchannelState {
        &self.state
    }

    /// Attempts since it was connected to some good.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How it failed last, since it was connected to some good.
    pub(super) fn last_failure(&self) -> Option<&Status> {
        self.last_failure.as_ref()
    }

    /// When a [timeout](Self::handle_timeout) is due, or the [beginning](Self::begin) of an
    /// attempt.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// It is wanted: whether an attempt begins, and when. `random` as for [`Backoff::attempt`].
    pub(super) fn connect(&mut self, now: Instant, random: f64) -> Option<Connect> {
        if !matches!(self.state, SubchannelState::Idle) {
            return None;
        }
        self.state = SubchannelState::Connecting;
        self.attempts = self.attempts.saturating_add(1);
        match self.rests_until {
            Some(until) if until.is_none_or(|until| until > now) => {
                self.retry_at = until;
                Some(Connect::At(until))
            }
            _ => Some(Connect::Now(self.begin(now, random))),
        }
    }

    /// Whether an attempt is to begin later.
    pub(super) fn is_resting(&self) -> bool {
        self.rests_until.is_some() && matches!(self.state, SubchannelState::Connecting)
    }

    /// The attempt begins that was to.
    pub(super) fn begin(&mut self, now: Instant, random: f64) -> Attempt {
        (self.retry_at, self.rests_until) = (None, None);
        self.backoff.attempt(now, random)
    }

    /// The server's SETTINGS came.
    pub(super) fn established(&mut self, now: Instant) {
        self.state = SubchannelState::Ready;
        self.good_at = moment(now, self.backoff_config.initial);
    }

    /// The attempt failed.
    pub(super) fn failed(&mut self, now: Instant, error: Status) {
        if !matches!(self.state, SubchannelState::Connecting) {
            return;
        }
        let attempt = self.attempts;
        let told = format!("{} [attempt {attempt}, TRANSIENT_FAILURE]", error.message());
        // It keeps its cause, and is none itself: its text is told already.
        let failure = error.with_message(told);
        self.last_failure = Some(failure.clone());
        self.state = SubchannelState::TransientFailure(failure);
        self.retry_at = self.backoff.failed(now);
    }

    /// A while has passed since a failure: whether that was long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_failure = matches!(self.state, SubchannelState::TransientFailure(_));
        if !is_failure || self.retry_at.is_none_or(|at| at > now) {
            return false;
        }
        self.retry_at = None;
        self.state = SubchannelState::Idle;
        true
    }

    /// The connection is lost, or takes no calls any more.
    pub(super) fn lost(&mut self, lost: Lost, now: Instant) -> bool {
        if !self.state.is_ready() {
            return false;
        }
        self.state = SubchannelState::Idle;
        if lost.has_served || self.good_at.is_some_and(|at| at <= now) {
            self.start_over();
            return true;
        }
        self.shorts = self.shorts.saturating_add(1);
        if self.shorts == 1 {
            self.backoff.established();
        } else {
            self.rests_until = Some(self.backoff.failed(now));
        }
        let told = format!("{} [attempt {}, READY]", lost.why.message(), self.attempts);
        self.last_failure = Some(lost.why.with_message(told));
        true
    }

    /// As if nothing had failed: whether it is idle because of that.
    pub(super) fn reset_backoff(&mut self) -> bool {
        self.backoff = Backoff::new(self.backoff_config.clone());
        (self.shorts, self.rests_until) = (0, None);
        if !matches!(self.state, SubchannelState::TransientFailure(_)) {
            return false;
        }
        self.retry_at = None;
        self.state = SubchannelState::Idle;
        true
    }

    fn start_over(&mut self) {
        self.backoff.established();
        (self.attempts, self.shorts) = (0, 0);
        self.last_failure = None;
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
        assert!(!one.lost(lost(true), start), "there is none");
        for _ in 0..3 {
            one.connect(start, 0.5);
            one.failed(start, Status::unavailable("no"));
            one.handle_timeout(start + s(1_000));
        }
        one.connect(start, 0.5);
        one.established(start);
        assert_eq!(one.state().state(), ChannelState::Ready);
        one.failed(start, Status::unavailable("late"));
        assert!(one.state().is_ready(), "an attempt that is over");
        assert!(one.lost(lost(true), start));
        assert_eq!((one.state().state(), one.attempts()), (ChannelState::Idle, 0));
        assert!(one.last_failure().is_none());
        one.connect(start, 0.5);
        one.failed(start, Status::unavailable("no"));
        assert_eq!(one.retry_at(), Some(start + s(1)), "from the beginning");
    }

    fn lost(has_served: bool) -> Lost {
        Lost { has_served, why: Status::unavailable("a:1: the peer closed the connection") }
    }

    /// Connects at once, and loses the connection a while after.
    fn short(one: &mut Subchannel, now: Instant, has_served: bool, lived: Duration) {
        assert!(matches!(one.connect(now, 0.5), Some(Connect::Now(_))), "{one:?}");
        one.established(now);
        assert!(one.lost(lost(has_served), now + lived));
        assert_eq!(one.state().state(), ChannelState::Idle);
    }

    #[test]
    fn after_connections_good_for_nothing_it_rests_and_longer_each_time() {
        let mut now = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        // The first may be chance.
        short(&mut one, now, false, s(0));
        short(&mut one, now, false, s(0));
        for (attempt, pause) in [(3, 1_000), (4, 1_600), (5, 2_560)] {
            let Some(Connect::At(Some(at))) = one.connect(now, 0.5) else { panic!("{one:?}") };
            assert_eq!((at - now).as_millis(), pause);
            assert!(one.is_resting() && !one.handle_timeout(at), "it is to begin");
            assert_eq!((one.retry_at(), one.attempts()), (Some(at), attempt));
            now = at;
            one.begin(now, 0.5);
            assert!(!one.is_resting() && one.retry_at().is_none());
            one.established(now);
            assert!(one.lost(lost(false), now));
        }
        let told = one.last_failure().map(|status| status.message().to_owned()).unwrap();
        assert_eq!(told, "a:1: the peer closed the connection [attempt 5, READY]");
        // Nobody wants it for a while: then it may begin.
        now += s(60);
        short(&mut one, now, true, s(0));
        short(&mut one, now, true, s(0));
        short(&mut one, now, false, s(0));
        short(&mut one, now, false, s(0));
        assert_eq!(one.connect(now, 0.5), Some(Connect::At(Some(now + s(1)))), "anew");
    }

    #[test]
    fn connections_that_served_or_lived_are_followed_by_the_next_at_once() {
        let start = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        for nth in 0..10 {
            short(&mut one, start + s(nth), true, Duration::from_millis(200));
        }
        for nth in 10..20 {
            short(&mut one, start + s(nth), false, s(1));
        }
    }

    #[test]
    fn an_attempt_that_fails_between_does_not_excuse() {
        let start = Instant::now();
        let mut one = Subchannel::new(BackoffConfig::default());
        short(&mut one, start, false, s(0));
        assert!(matches!(one.connect(start, 0.5), Some(Connect::Now(_))));
        one.failed(start, Status::unavailable("a:1: refused"));
        assert!(one.handle_timeout(start + s(1)));
        short(&mut one, start + s(1), false, s(0));
        let Some(Connect::At(Some(at))) = one.connect(start + s(1), 0.5) else { panic!("{one:?}") };
        assert_eq!((at - start - s(1)).as_millis(), 1_600);
        assert!(!one.reset_backoff() && !one.is_resting());
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
