//! What a channel decides, as pure state machines of events and times that are passed in.
//!
//! Nothing in here reads a clock, rolls dice, opens a socket or knows tokio, so that every decision
//! can be tested in virtual time.

mod backoff;
mod moment;

pub use backoff::{Attempt, Backoff, BackoffConfig};
pub(crate) use moment::{moment, timed};
