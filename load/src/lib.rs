//! A load generator that costs next to nothing, and the floor that a server is measured against.
//!
//! The generator makes calls over some connections with so many in flight on each, from one
//! thread. It encodes a call once and then sends the same few bytes with another stream identifier,
//! compares what comes with what is due, and decodes no header block; so what is measured is the
//! server. It obeys the server's SETTINGS and windows as any client must, and speaks
//! TLS where it is told whom to [`Trust`]. [`Connection`] is its core for tests: it allocates
//! nothing once it runs, which lets a test count the server's allocations in the same process.
//!
//! [`CannedServer`] answers every call with bytes that were made before: the least that any server
//! could cost, and a server that no client has to wait for.

mod canned;
mod connection;
mod fleet;
mod frames;
mod headers;
mod hold;
mod link;
mod measure;
mod message;
mod peer;
mod responder;
mod rest;
mod scenario;
mod script;
mod session;
mod streams;
mod tally;
mod trust;
mod wire;

pub use canned::{CannedServer, Reply};
pub use connection::{Connection, Load, Report};
pub use measure::{Figures, Length, Options, hold, measure};
pub use scenario::{Scenario, Sizes};
pub use trust::Trust;
