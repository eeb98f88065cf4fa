//! Sans-IO HTTP/2 for gRPC: RFC 9113 framing and streams, RFC 7541 header compression.
//!
//! [`Connection`] is one state machine for both roles, [`Client`] and [`Server`]. It reads bytes
//! from a [`RecvBuf`], yields borrowed [`Event`]s, accepts verbs, and writes into a [`SendBuf`].
//! Who drives it owns sockets, buffers and time; this crate reads no clock, opens no socket, rolls
//! no dice, and knows nothing of gRPC.
//!
//! ```text
//!   socket ─▶ RecvBuf ─▶ next_event ─▶ Event ─▶ the layer above
//!   socket ◀─ SendBuf ◀─ poll_transmit ◀─ verbs ◀┘
//! ```
//!
//! Every bound on what a peer can make us hold or do is a field of [`Config`].

mod buf;
mod config;
mod connection;
mod error;
mod event;
mod flow;
mod frame;
pub mod hpack;
mod stream;
#[cfg(test)]
mod testing;
mod upkeep;

pub use buf::{RecvBuf, SendBuf};
pub use config::Config;
pub use connection::{Client, Connection, FieldWriter, PeerSettings, Role, Server};
pub use error::{ConnectionError, OpenError, Reason, StaleKey};
pub use event::Event;
pub use stream::StreamKey;
pub use upkeep::{Keepalive, PingPolicy, Upkeep};
