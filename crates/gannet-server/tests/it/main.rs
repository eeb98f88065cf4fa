//! The server against a raw client built on the engine's client role: whatever a client may do,
//! also what a correct gRPC client never does. Time is paused where it matters.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod calls;
mod client;
mod compression;
mod deadlines;
mod dispatch;
mod hostile;
mod intercept;
mod observe;
mod pressure;
mod refusals;
mod service;
mod serving;
mod streams;
mod upkeep;
mod wire;
