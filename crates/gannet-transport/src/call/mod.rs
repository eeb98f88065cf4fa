//! One call as the connection's task and the application see it together.
//!
//! [`CallShared`] is the part both hold: atomics and wakers, no lock. What comes for the
//! application goes through a [`Feed`] (connection's end) and a [`Source`] (application's end);
//! what it sends lies in an outbox. Either way messages of one wake are handed over together, and
//! handing over is one atomic swap. [`Asks`] tells the connection when to look. [`Inbound`] and
//! [`Outbound`] are what the application holds.
//!
//! A [`Relay`] is the same without a connection, and observers ([`Observed`]) are shown what goes
//! through: for those who stand between the application and its call. A [`Watcher`] is told of
//! sizes only: for telemetry.
//!
//! Which side of the connection is client or server is not known here.

mod asks;
mod coding;
mod delivery;
mod desk;
mod ending;
mod feed;
mod inbound;
mod outbound;
mod outbox;
mod relay;
mod shared;
mod source;
mod tap;
mod watch;

pub use asks::Asks;
pub use delivery::Spares;
pub use desk::Attended;
pub use feed::{Feed, feed};
pub use inbound::Inbound;
pub use outbound::{Outbound, Sending, SendingUncompressed};
pub use outbox::Framed;
pub use relay::{Relay, RelayKind};
pub use shared::{CallShared, SEND_QUEUE_BYTES_MAX};
pub use source::{Piece, Source};
pub use tap::{Direction, EndObserver, HeadersObserver, Observed, Observer};
pub use watch::Watcher;
