//! A client's call and its attempts, while they are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gannet_core::Metadata;
use gannet_transport::observe::{
    AttemptStart, ClientAttemptObserver, ClientCallObserver, Ended, MessageEvent,
};
use opentelemetry::KeyValue;

use super::instruments::{Instruments, Retries, seconds_between};
use super::series::ClientSeries;
use super::server::Bytes;

/// What counts a call.
pub(super) fn follow(
    instruments: Arc<Instruments>,
    retries: Option<Arc<Retries>>,
    series: Arc<ClientSeries>,
    at: Instant,
) -> Box<dyn ClientCallObserver> {
    let retries = retries.map(Retrying::new);
    Box::new(ClientCall(Arc::new(InCommon { instruments, retries, series, began: at })))
}

struct ClientCall(Arc<InCommon>);

/// What a call and its attempts have in common.
struct InCommon {
    instruments: Arc<Instruments>,
    retries: Option<Retrying>,
    series: Arc<ClientSeries>,
    began: Instant,
}

impl ClientCallObserver for ClientCall {
    fn attempt(
        &self,
        attempt: &AttemptStart,
        _: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let call = &self.0;
        call.series.attempts.started();
        if let Some(retries) = &call.retries {
            retries.begins(attempt, call.began);
        }
        let (call, bytes) = (Arc::clone(call), Bytes::default());
        Some(Box::new(Attempt { call, began: attempt.at, bytes }))
    }

    fn ended(&self, end: &Ended<'_>) {
        let InCommon { instruments, retries, series, began } = &*self.0;
        series.ended(instruments, end.code, seconds_between(*began, end.at));
        if let Some(retries) = retries {
            retries.record(&series.attempts.labels);
        }
    }
}

struct Attempt {
    call: Arc<InCommon>,
    began: Instant,
    bytes: Bytes,
}

impl ClientAttemptObserver for Attempt {
    fn message(&self, message: &MessageEvent) {
        self.bytes.add(message);
    }

    fn ended(&self, end: &Ended<'_>) {
        let seconds = seconds_between(self.began, end.at);
        let InCommon { instruments, series, .. } = &*self.call;
        series.attempts.ended(&instruments.attempt, end.code, seconds, self.bytes.both());
        if let Some(retries) = &self.call.retries {
            retries.ends(end.at.saturating_duration_since(self.call.began));
        }
    }
}

/// How a call is made again.
struct Retrying {
    instruments: Arc<Retries>,
    retries: AtomicU64,
    transparent_retries: AtomicU64,
    /// Attempts under way.
    under_way: AtomicU32,
    /// Since the call began: when the last attempt ended; nanoseconds.
    idle_since: AtomicU64,
    /// Without an attempt under way, between the first and the last, nanoseconds.
    delay: AtomicU64,
}

impl Retrying {
    fn new(instruments: Arc<Retries>) -> Retrying {
        Retrying {
            instruments,
            retries: AtomicU64::new(0),
            transparent_retries: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            delay: AtomicU64::new(0),
        }
    }

    fn begins(&self, attempt: &AttemptStart, began: Instant) {
        let is_again = attempt.is_transparent || attempt.previous > 0;
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 && is_again {
            let now = nanos(attempt.at.saturating_duration_since(began));
            let idle = now.saturating_sub(self.idle_since.load(Ordering::Relaxed));
            self.delay.fetch_add(idle, Ordering::Relaxed);
        }
        if attempt.is_transparent {
            self.transparent_retries.fetch_add(1, Ordering::Relaxed);
        } else if is_again {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ends(&self, since_began: Duration) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.idle_since.store(nanos(since_began), Ordering::Relaxed);
    }

    fn record(&self, labels: &[KeyValue]) {
        let (retries, transparent) = (
            self.retries.load(Ordering::Relaxed),
            self.transparent_retries.load(Ordering::Relaxed),
        );
        if retries > 0 {
            self.instruments.retries.record(retries, labels);
        }
        if transparent > 0 {
            self.instruments.transparent_retries.record(transparent, labels);
        }
        if retries + transparent > 0 {
            let delay = Duration::from_nanos(self.delay.load(Ordering::Relaxed));
            self.instruments.delay.record(delay.as_secs_f64(), labels);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
