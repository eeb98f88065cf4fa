//! When a connection of a channel is pinged (gRFC A8).

use std::time::Duration;

use gannet_http2::Keepalive;

/// What was said about keepalive.
#[derive(Clone, Debug)]
pub(super) struct KeepaliveOptions {
    pub(super) time: Duration,
    pub(super) timeout: Duration,
    pub(super) without_calls: bool,
}

impl Default for KeepaliveOptions {
    fn default() -> Self {
        KeepaliveOptions {
            time: Duration::MAX,
            timeout: Duration::from_secs(20),
            without_calls: false,
        }
    }
}

impl KeepaliveOptions {
    /// The least that does not make a nuisance of a client (gRFC A8).
    const TIME_MIN: Duration = Duration::from_secs(10);
    const TIMEOUT_MIN: Duration = Duration::from_millis(10);

    /// `None` where it is off.
    pub(super) fn keepalive(&self) -> Option<Keepalive> {
        let KeepaliveOptions { time, timeout, without_calls } = *self;
        let keepalive = Keepalive {
            time: time.max(Self::TIME_MIN),
            timeout: timeout.max(Self::TIMEOUT_MIN),
            without_calls,
        };
        (time != Duration::MAX).then_some(keepalive)
    }
}
