//! The services as clients see them: over Gannet's own channel, in process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod health;
mod reflection;
#[path = "../../../gannet-server/tests/it/wire.rs"]
mod wire;
