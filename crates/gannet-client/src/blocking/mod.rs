//! Calls for threads without async code: `.wait()` in place of `.await`.
//!
//! ```no_run
//! # use gannet_core::{MethodDescriptor, MethodKind, codec::Raw};
//! # static SAY: MethodDescriptor = MethodDescriptor::new("/echo.Echo/Say", MethodKind::Unary);
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = gannet_client::blocking::channel("localhost:50051")?;
//! let reply: Vec<u8> = channel.unary::<Raw, _, _>(&SAY, b"hello".to_vec()).wait()?;
//! # Ok(()) }
//! ```
//!
//! The connection runs on a thread in the background that the channel and its clones share, and
//! that ends after them. Only what a call needs to connect runs there: encoding, decoding and
//! waiting are done by the calling thread.
//!
//! On a worker of tokio's multi-thread runtime waiting works, and hands the worker's other tasks
//! on. On the one thread of a current-thread runtime it would keep everything else from running,
//! perhaps the very server that is called; there it returns INTERNAL instead, saying so.
//!
//! A channel that has a connection already, made by an async call, uses that, whose runtime is the
//! application's. Where nobody runs it, a call waits up to its deadline, and without one for ever.

mod background;
mod call;
mod park;
mod stream;

use gannet_core::Result;

use crate::Channel;
use crate::target::TargetError;
pub(crate) use background::Background;
pub(crate) use call::{Call, OpenCall, overdue};
pub(crate) use park::is_overdue;
pub use stream::{Inbound, Outbound, Reply};

/// A channel to `target`, with the thread on which its connection runs.
///
/// The same as [`build_blocking`](crate::ChannelBuilder::build_blocking) with the defaults. Clones
/// may be used from many threads.
///
/// # Errors
/// Where the target is malformed.
pub fn channel(target: impl Into<String>) -> Result<Channel, TargetError> {
    Channel::builder(target).build_blocking()
}
