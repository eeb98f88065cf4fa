//! What keeps a connection alive, and what ends it in time: keepalive of both roles, the server's
//! policy for its clients' PINGs (gRFC A8), the end of connections that are old or idle (gRFC A9).
//!
//! State machines of events and times that are passed in. Nothing here writes frames: `connection`
//! does what an [`Action`] says.

mod keepalive;
mod lifetime;
mod pings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ConnectionError;
use keepalive::Heartbeat;
use lifetime::Lifetime;
use pings::PingStrikes;

/// Why and how a connection is kept up, or ended while nothing is wrong with it. The default does
/// nothing.
///
/// A time that no clock can express is never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// PINGs of ours, to learn whether the peer is still there.
    pub keepalive: Option<Keepalive>,
    /// How often the peer may send PINGs (server only).
    pub ping_policy: Option<PingPolicy>,
    /// How long a connection is used, spread by ±10 % (server only). It then drains, with the debug
    /// data `max_age`.
    pub age_max: Option<Duration>,
    /// How long calls may go on after that, before the connection is closed with them. `None`: for
    /// as long as they take.
    pub age_grace: Option<Duration>,
    /// How long a connection may be without a call (server only). It then drains, with the debug
    /// data `max_idle`.
    pub idle_max: Option<Duration>,
}

/// PINGs by which one end learns that the other is gone (gRFC A8, A9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long nothing must have come before a PING is sent.
    pub time: Duration,
    /// How long after a PING nothing must have come before the connection is given up.
    pub timeout: Duration,
    /// Also while there is no stream.
    pub without_calls: bool,
}

/// The PINGs that a server puts up with (gRFC A8). More than two that come too early, with neither
/// HEADERS nor DATA sent between them, end the connection with ENHANCE_YOUR_CALM and the debug data
/// `too_many_pings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingPolicy {
    /// The shortest time between two PINGs.
    pub interval_min: Duration,
    /// It holds also while there is no stream; otherwise that takes two hours.
    pub without_calls: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ping,
    /// A graceful end, for this reason.
    Drain(Farewell),
    /// The end.
    Fail(ConnectionError),
}

/// What a connection that ends in good health tells its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The owner knows why.
    Unsaid,
    MaxAge,
    MaxIdle,
}

impl Farewell {
    /// Debug data of GOAWAY.
    pub(crate) fn debug(self) -> &'static [u8] {
        match self {
            Farewell::Unsaid => b"",
            Farewell::MaxAge => b"max_age",
            Farewell::MaxIdle => b"max_idle",
        }
    }
}

/// What a connection knows when a moment comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) now: Instant,
    /// When bytes came last.
    pub(crate) heard_at: Instant,
    /// There are streams.
    pub(crate) is_busy: bool,
    /// Nothing is read at present, so silence says nothing.
    pub(crate) is_deaf: bool,
}

/// The upkeep of one connection.
#[derive(Debug)]
pub(crate) struct Caretaker {
    rules: Arc<Upkeep>,
    heartbeat: Option<Heartbeat>,
    strikes: PingStrikes,
    /// Boxed, as most connections have none that ends.
    lifetime: Option<Box<Lifetime>>,
}

impl Caretaker {
    /// `random`, evenly from [0, 1), decides how the age is spread.
    pub(crate) fn new(rules: Arc<Upkeep>, random: f64, now: Instant) -> Caretaker {
        Caretaker {
            heartbeat: rules.keepalive.map(|keepalive| Heartbeat::new(keepalive, now)),
            strikes: PingStrikes::default(),
            lifetime: Lifetime::new(&rules, random, now).map(Box::new),
            rules,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn due(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.as_ref().and_then(Heartbeat::due);
        let lifetime = self.lifetime.as_ref().and_then(|lifetime| lifetime.due());
        [heartbeat, lifetime].into_iter().flatten().min()
    }

    /// One thing that is due, if any is: to be called until nothing is.
    pub(crate) fn handle_timeout(&mut self, at: Situation) -> Option<Action> {
        if let Some(lifetime) = &mut self.lifetime
            && let Some(action) = lifetime.handle_timeout(at, self.rules.age_grace)
        {
            return Some(action);
        }
        let keepalive = self.rules.keepalive.as_ref()?;
        self.heartbeat.as_mut()?.handle_timeout(keepalive, at)
    }

    /// A stream was opened: whether that makes something due.
    pub(crate) fn wake(&mut self) -> bool {
        self.heartbeat.as_mut().is_some_and(Heartbeat::wake)
    }

    /// A PING came. `answered`: HEADERS or DATA were sent since the last one.
    pub(crate) fn pinged(
        &mut self,
        now: Instant,
        answered: bool,
        is_busy: bool,
    ) -> Result<(), ConnectionError> {
        match &self.rules.ping_policy {
            Some(policy) => self.strikes.pinged(policy, now, answered, is_busy),
            None => Ok(()),
        }
    }

    /// The connection is watched for being without calls.
    pub(crate) fn watches_idleness(&self) -> bool {
        self.lifetime.as_ref().is_some_and(|lifetime| lifetime.watches_idleness())
    }

    /// What there is of calls now: `streams` of them, and the highest identifier so far.
    pub(crate) fn look(&mut self, now: Instant, streams: usize, highest_id: u32) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.look(now, streams > 0, highest_id);
        }
    }
}
