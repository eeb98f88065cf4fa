//! The instruments, their labels and their buckets, as gRFC A66 and A96 name them.

use std::time::Instant;

use gannet_core::Code;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{Key, KeyValue, StringValue};

/// `grpc.method`.
const METHOD: Key = Key::from_static_str("grpc.method");
/// `grpc.target`.
const TARGET: Key = Key::from_static_str("grpc.target");
/// `grpc.status`.
const STATUS: Key = Key::from_static_str("grpc.status");

/// Seconds.
const LATENCIES: &[f64] = &[
    0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005,
    0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16,
    0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
/// Bytes.
const SIZES: &[f64] = &[
    0.0,
    1_024.0,
    2_048.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];
const RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0];
const TRANSPARENT_RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0];

/// What is counted of every call.
pub(super) struct Instruments {
    pub(super) attempt_started: Counter<u64>,
    pub(super) attempt: Ends,
    pub(super) client_call_duration: Histogram<f64>,
    pub(super) server_call_started: Counter<u64>,
    pub(super) server_call: Ends,
}

/// What is counted when an attempt ends, or a server's call.
pub(super) struct Ends {
    pub(super) duration: Histogram<f64>,
    pub(super) sent: Histogram<u64>,
    pub(super) rcvd: Histogram<u64>,
}

/// What is counted of calls that were made again.
pub(super) struct Retries {
    pub(super) retries: Histogram<u64>,
    pub(super) transparent_retries: Histogram<u64>,
    pub(super) delay: Histogram<f64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Instruments {
        let duration = |name, told| seconds(meter, name, told);
        let size = |name, told| integers(meter, name, "By", told, SIZES);
        let started = |name, unit, told| {
            meter.u64_counter(name).with_unit(unit).with_description(told).build()
        };
        Instruments {
            attempt_started: started(
                "grpc.client.attempt.started",
                "{attempt}",
                "Attempts that were started, including those that have not completed",
            ),
            attempt: Ends {
                duration: duration(
                    "grpc.client.attempt.duration",
                    "How long attempts took, including the time to pick a connection",
                ),
                sent: size(
                    "grpc.client.attempt.sent_total_compressed_message_size",
                    "Bytes of all request messages of an attempt, compressed",
                ),
                rcvd: size(
                    "grpc.client.attempt.rcvd_total_compressed_message_size",
                    "Bytes of all response messages of an attempt, compressed",
                ),
            },
            client_call_duration: duration(
                "grpc.client.call.duration",
                "How long calls took, as the application sees it",
            ),
            server_call_started: started(
                "grpc.server.call.started",
                "{call}",
                "Calls that were started, including those that have not completed",
            ),
            server_call: Ends {
                duration: duration(
                    "grpc.server.call.duration",
                    "How long calls took, as the server's transport sees it",
                ),
                sent: size(
                    "grpc.server.call.sent_total_compressed_message_size",
                    "Bytes of all response messages of a call, compressed",
                ),
                rcvd: size(
                    "grpc.server.call.rcvd_total_compressed_message_size",
                    "Bytes of all request messages of a call, compressed",
                ),
            },
        }
    }
}

impl Retries {
    pub(super) fn new(meter: &Meter) -> Retries {
        Retries {
            retries: integers(
                meter,
                "grpc.client.call.retries",
                "{retry}",
                "How often calls were tried again",
                RETRIES,
            ),
            transparent_retries: integers(
                meter,
                "grpc.client.call.transparent_retries",
                "{transparent_retry}",
                "How often calls were tried again that a server had not seen",
                TRANSPARENT_RETRIES,
            ),
            delay: seconds(
                meter,
                "grpc.client.call.retry_delay",
                "How long calls waited without an attempt under way",
            ),
        }
    }
}

fn seconds(meter: &Meter, name: &'static str, told: &'static str) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(told);
    histogram.with_boundaries(LATENCIES.to_vec()).build()
}

fn integers(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    told: &'static str,
    boundaries: &[f64],
) -> Histogram<u64> {
    let histogram = meter.u64_histogram(name).with_unit(unit).with_description(told);
    histogram.with_boundaries(boundaries.to_vec()).build()
}

/// The label `grpc.method`.
pub(super) fn method(name: &StringValue) -> KeyValue {
    KeyValue::new(METHOD, name.clone())
}

/// The label `grpc.target`.
pub(super) fn target(name: &StringValue) -> KeyValue {
    KeyValue::new(TARGET, name.clone())
}

/// The label `grpc.status`.
pub(super) fn status(code: Code) -> KeyValue {
    KeyValue::new(STATUS, code.name())
}

/// From one moment to another.
pub(super) fn seconds_between(began: Instant, ended: Instant) -> f64 {
    ended.saturating_duration_since(began).as_secs_f64()
}
