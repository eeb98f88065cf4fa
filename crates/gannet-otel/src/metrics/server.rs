//! A server's call, while it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gannet_transport::Direction;
use gannet_transport::observe::{Ended, MessageEvent, ServerCallObserver};
use opentelemetry::StringValue;

use super::instruments::{Ends, Instruments, method, seconds_between, status};

/// Counts its start; what counts the rest.
pub(super) fn follow(
    instruments: Arc<Instruments>,
    name: StringValue,
    at: Instant,
) -> Arc<dyn ServerCallObserver> {
    instruments.server_call_started.add(1, &[method(&name)]);
    Arc::new(ServerCall { instruments, name, began: at, bytes: Bytes::default() })
}

struct ServerCall {
    instruments: Arc<Instruments>,
    name: StringValue,
    began: Instant,
    bytes: Bytes,
}

impl ServerCallObserver for ServerCall {
    fn message(&self, message: &MessageEvent) {
        self.bytes.add(message);
    }

    fn ended(&self, end: &Ended<'_>) {
        let labels = [method(&self.name), status(end.code)];
        let Ends { duration, sent, rcvd } = &self.instruments.server_call;
        duration.record(seconds_between(self.began, end.at), &labels);
        sent.record(self.bytes.sent(), &labels);
        rcvd.record(self.bytes.rcvd(), &labels);
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

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn rcvd(&self) -> u64 {
        self.rcvd.load(Ordering::Relaxed)
    }
}
