//! The transport without gRPC's server or client: call state, listeners, and the driver with small
//! sides of the tests' own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod call;
mod driver;
mod http1;
mod listeners;
mod relay;
#[cfg(feature = "_tls")]
mod tls;
