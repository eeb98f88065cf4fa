//! One call as the connection's task and the application see it together.
//!
//! [`CallShared`] is the part both hold: atomics and wakers, no lock. Messages to the application
//! go through a [`Feed`] (connection's end) and a [`Source`] (application's end); messages from it
//! go through the connection's queue, accounted in [`CallShared`]. [`Inbound`] and [`Outbound`] are
//! what the application holds.
//!
//! Which side of the connection is client or server is not known here.

mod feed;
mod inbound;
mod outbound;
mod shared;
mod source;

pub use feed::{Feed, feed};
pub use inbound::Inbound;
pub use outbound::Outbound;
pub use shared::{CallCommand, CallShared, SEND_QUEUE_BYTES_MAX};
pub use source::{Piece, Source};
