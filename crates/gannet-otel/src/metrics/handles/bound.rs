//! Handles of instruments with labels that the SDK has looked up once (feature `bound`).

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram};

/// A counter with labels.
pub(super) struct Adds(BoundCounter<u64>);

impl Adds {
    pub(super) fn new(counter: &Counter<u64>, labels: &[KeyValue]) -> Adds {
        Adds(counter.bind(labels))
    }

    pub(super) fn add(&self, number: u64) {
        self.0.add(number);
    }
}

/// A histogram with labels.
pub(super) struct Records<T>(BoundHistogram<T>);

impl<T> Records<T> {
    pub(super) fn new(histogram: &Histogram<T>, labels: &[KeyValue]) -> Records<T> {
        Records(histogram.bind(labels))
    }

    pub(super) fn record(&self, value: T) {
        self.0.record(value);
    }
}
