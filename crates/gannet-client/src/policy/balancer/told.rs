//! What a channel is at, in words, for whoever waited for it in vain; and whether there is news.

use std::fmt::{self, Write as _};
use std::time::Instant;

use super::{Backend, Balancer};
use crate::policy::SubchannelState;

/// Addresses that a message names.
const TOLD_MAX: usize = 4;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Some address is connected; calls wait for something else.
    pub(crate) is_connected: bool,
    /// Empty where there is nothing to tell.
    pub(crate) details: String,
}

impl Balancer {
    /// Another number whenever the policy was told of something else than that
    /// [calls](Self::wake) [wait](Self::exit_idle).
    pub(crate) fn news(&self) -> u64 {
        self.news
    }

    /// What is known of the name and the addresses.
    pub(crate) fn told(&self, now: Instant) -> Told {
        let is_ready = |backend: &&Backend| backend.machine.state().is_ready();
        let is_connected = self.backends.values().any(|backend| is_ready(&backend));
        let mut details = String::new();
        if self.policy.is_some() && !self.is_resolved {
            details.push_str("its name is not resolved yet");
        }
        // Those that say most go first: what calls might go to, what is tried, what has failed.
        let of_rank = |rank| {
            self.backends
                .values()
                .filter(move |backend| self::rank(backend.machine.state()) == rank)
        };
        for backend in (0..RANKS).flat_map(of_rank).take(TOLD_MAX) {
            let separator = if details.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(details, "{separator}{}", Shown(backend, self.checks_health, now));
        }
        let more = self.backends.len().saturating_sub(TOLD_MAX);
        if more > 0 {
            let _ = write!(details, ", and {more} more");
        }
        Told { is_connected, details }
    }
}

const RANKS: u8 = 4;

fn rank(state: &SubchannelState) -> u8 {
    match state {
        SubchannelState::Ready => 0,
        SubchannelState::Connecting => 1,
        SubchannelState::TransientFailure(_) => 2,
        SubchannelState::Idle => 3,
    }
}

/// An address, its attempt, its state, and why.
struct Shown<'a>(&'a Backend, bool, Instant);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(Backend { address, machine, health, .. }, checks_health, now) = self;
        let attempt = machine.attempts();
        match machine.state() {
            SubchannelState::Ready => {
                write!(f, "{address} [READY]")?;
                return match health {
                    Some(SubchannelState::TransientFailure(why)) => {
                        write!(f, ": {}", why.message())
                    }
                    Some(SubchannelState::Ready) => Ok(()),
                    _ if *checks_health => write!(f, ": it has not said how it feels"),
                    _ => Ok(()),
                };
            }
            SubchannelState::Connecting => {
                write!(f, "{address} [attempt {attempt}, CONNECTING")?;
                if let Some(at) = machine.retry_at() {
                    let after = at.saturating_duration_since(*now).as_secs_f64();
                    write!(f, " in {after:.1} s")?;
                }
                f.write_str("]")?;
            }
            SubchannelState::TransientFailure(status) => return f.write_str(status.message()),
            SubchannelState::Idle => write!(f, "{address} [IDLE]")?,
        }
        match machine.last_failure() {
            Some(failure) => write!(f, " after {}", failure.message()),
            None => Ok(()),
        }
    }
}
