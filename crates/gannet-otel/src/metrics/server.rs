//! A server's call, while it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gannet_transport::Direction;
use gannet_transport::observe::{Ended, MessageEvent, ServerCallObserver};

use super::instruments::{Instruments, seconds_between};
use super::series::Series;

/// Counts its start; what counts the rest.
pub(super) fn follow(
    instruments: Arc<Instruments>,
    series: Arc<Series>,
    at: Instant,
) -> Arc<dyn ServerCallObserver> {
    series.started();
    Arc::new(ServerCall { instruments, series, began: at, bytes: Bytes::default() })
}

struct ServerCall {
    instruments: Arc<Instruments>,
    series: Arc<Series>,
    began: Instant,
    bytes: Bytes,
}

impl ServerCallObserver for ServerCall {
    fn message(&self, message: &MessageEvent) {
        self.bytes.add(message);
    }

    fn ended(&self, end: &Ended<'_>) {
        let seconds = seconds_between(self.began, end.at);
        self.series.ended(&self.instruments.server_call, end.code, seconds, self.bytes.both());
    }
}

/// Bytes of messages as they travel.
#[derive(Default)]
pub(super) struct Bytes {
    sent: AtomicU64,
    rcvd: AtomicU64,
}

impl Bytes {
    pub(super) fn add(&self, message: &MessageEvent) {
        let sum = match message.direction {
            Direction::Outbound => &self.sent,
            Direction::Inbound => &self.rcvd,
        };
        let bytes = u64::try_from(message.wire_bytes()).unwrap_or(u64::MAX);
        // One task at a time adds to it.
        sum.store(sum.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
    }

    /// Sent and received.
    pub(super) fn both(&self) -> [u64; 2] {
        [&self.sent, &self.rcvd].map(|sum| sum.load(Ordering::Relaxed))
    }
}
