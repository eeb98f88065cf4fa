//! Handles of instruments with labels that are told with each record, among which the SDK looks
//! then: what OpenTelemetry's stable API has.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

/// A counter with labels.
pub(super) struct Adds(Counter<u64>, Vec<KeyValue>);

impl Adds {
    pub(super) fn new(counter: &Counter<u64>, labels: &[KeyValue]) -> Adds {
        Adds(counter.clone(), labels.to_vec())
    }

    pub(super) fn add(&self, number: u64) {
        self.0.add(number, &self.1);
    }
}

/// A histogram with labels.
pub(super) struct Records<T>(Histogram<T>, Vec<KeyValue>);

impl<T: Clone> Records<T> {
    pub(super) fn new(histogram: &Histogram<T>, labels: &[KeyValue]) -> Records<T> {
        Records(histogram.clone(), labels.to_vec())
    }

    pub(super) fn record(&self, value: T) {
        self.0.record(value, &self.1);
    }
}
