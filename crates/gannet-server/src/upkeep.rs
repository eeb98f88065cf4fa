//! How a server keeps its connections up, what it puts up with, and when it asks clients to connect
//! anew (gRFC A8, A9, A18).

use std::time::Duration;

use gannet_http2::{Keepalive, PingPolicy, Upkeep};

use crate::Server;

/// The shortest time after which a silent client is asked whether it is there.
const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// What was said about it. A time of [`Duration::MAX`] is never.
#[derive(Clone, Debug)]
pub(crate) struct UpkeepOptions {
    keepalive_time: Duration,
    keepalive_timeout: Duration,
    ping_interval_min: Duration,
    pings_without_calls: bool,
    age_max: Duration,
    age_grace: Duration,
    idle_max: Duration,
}

impl Default for UpkeepOptions {
    fn default() -> Self {
        UpkeepOptions {
            keepalive_time: Duration::from_secs(7_200),
            keepalive_timeout: Duration::from_secs(20),
            ping_interval_min: Duration::from_secs(300),
            pings_without_calls: false,
            age_max: Duration::MAX,
            age_grace: Duration::MAX,
            idle_max: Duration::MAX,
        }
    }
}

impl UpkeepOptions {
    pub(crate) fn upkeep(&self) -> Upkeep {
        let finite = |time: Duration| (time != Duration::MAX).then_some(time);
        let mut upkeep = Upkeep::default();
        upkeep.keepalive = finite(self.keepalive_time).map(|time| Keepalive {
            time: time.max(KEEPALIVE_TIME_MIN),
            timeout: self.keepalive_timeout.max(KEEPALIVE_TIMEOUT_MIN),
            without_calls: true,
        });
        upkeep.ping_policy = Some(PingPolicy {
            interval_min: self.ping_interval_min,
            without_calls: self.pings_without_calls,
        });
        upkeep.age_max = finite(self.age_max);
        upkeep.age_grace = finite(self.age_grace);
        upkeep.idle_max = finite(self.idle_max);
        upkeep
    }
}

/// Connections: kept alive, and ended in time.
impl Server {
    /// Sets how long a client may be silent before it is asked by a PING whether it is still there
    /// (gRFC A9; default 2 hours, at least 1 s). [`Duration::MAX`] turns keepalive off.
    pub fn keepalive_time(mut self, time: Duration) -> Server {
        self.upkeep.keepalive_time = time;
        self
    }

    /// Sets how long after such a PING nothing must have come, before the connection is given up
    /// with its calls (gRFC A9; default 20 s, at least 10 ms).
    ///
    /// Where keepalive is on, this is TCP_USER_TIMEOUT too (gRFC A18): a client that leaves what it
    /// was sent unacknowledged, or its receive window shut, for as long is given up by the system.
    /// That takes Linux, Android or Fuchsia; elsewhere keepalive finds out alone.
    pub fn keepalive_timeout(mut self, timeout: Duration) -> Server {
        self.upkeep.keepalive_timeout = timeout;
        self
    }

    /// Sets the shortest time between a client's PINGs (gRFC A8; default 5 minutes). More than two
    /// that come earlier, with neither headers nor messages sent between them, end the connection:
    /// ENHANCE_YOUR_CALM, `too_many_pings`. Zero permits any while there are calls.
    pub fn min_ping_interval(mut self, interval: Duration) -> Server {
        self.upkeep.ping_interval_min = interval;
        self
    }

    /// Whether clients may send PINGs at that pace while they have no calls (gRFC A8; default: no,
    /// they must then wait for two hours).
    pub fn pings_without_calls(mut self, on: bool) -> Server {
        self.upkeep.pings_without_calls = on;
        self
    }

    /// Sets how long a connection is used, so that clients resolve their target anew now and then
    /// (gRFC A9; default: no limit). Each connection's is spread by ±10 %, so that those that came
    /// together do not all leave together. It then drains, `max_age`: calls that it has go on, and
    /// new ones go to another connection.
    pub fn max_connection_age(mut self, age: Duration) -> Server {
        self.upkeep.age_max = age;
        self
    }

    /// Sets how long calls may go on after [`max_connection_age`](Self::max_connection_age), before
    /// the connection is closed with them (gRFC A9; default: as long as they take).
    pub fn max_connection_age_grace(mut self, grace: Duration) -> Server {
        self.upkeep.age_grace = grace;
        self
    }

    /// Sets how long a connection may be without calls before it drains, `max_idle` (gRFC A9;
    /// default: no limit). PINGs are no calls.
    pub fn max_connection_idle(mut self, idle: Duration) -> Server {
        self.upkeep.idle_max = idle;
        self
    }
}
