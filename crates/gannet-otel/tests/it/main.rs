//! Metrics and traces of real calls, as an SDK's exporters get them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod metrics;
#[allow(dead_code, reason = "what these tests do not script")]
#[path = "../../../gannet-client/tests/it/peer.rs"]
mod peer;
#[cfg(feature = "prometheus")]
mod prometheus;
mod propagation;
mod service;
mod subchannels;
mod tracing;
