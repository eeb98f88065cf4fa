//! Large messages, many streams, many connections, and readers that do not read.
//!
//! Over the real engine, transport, server and client, with generated code. What a machine's size
//! decides is small here; by hand, with figures of memory:
//!
//! ```sh
//! GANNET_SCALE=full cargo test --release -p gannet-interop --test scale -- \
//!     --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod back_pressure;
mod large;
mod many;
mod service;

/// Whether to run at full size: 100 MiB messages, 10,000 streams, 1,000 connections.
fn full() -> bool {
    std::env::var("GANNET_SCALE").is_ok_and(|size| size == "full")
}

/// A figure of this process' memory in KiB, from the kernel: `VmRSS` or `VmHWM`.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
