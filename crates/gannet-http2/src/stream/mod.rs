//! Streams: their states, their keys, and where they are kept (RFC 9113 section 5.1).

mod closed;
mod index;
mod key;
mod queue;
mod state;
mod store;

pub(crate) use closed::{Closed, RecentlyClosed};
pub use key::StreamKey;
pub(crate) use queue::{End, SendQueue};
pub(crate) use state::{ContentLength, RecvHalf, SendHalf, Stream};
pub(crate) use store::Store;
