//! Calls as the application holds them: builders, their futures, and replies.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `options` | what every builder can be told |
//! | `unary`, `streaming` | the four kinds of calls |
//! | `reply` | the one response of a client stream |
//! | `exchange` | making a call: finding a connection, starting, starting again |
//! | `started` | a call that a connection has, up to its outcome |
//! | `request`, `notice` | what travels to the connection's task, and back |
//! | `tracking` | what a picker is told of calls |
//! | `watch` | telling those who follow calls |

pub(crate) mod exchange;
pub(crate) mod notice;
#[macro_use]
mod options;
mod reply;
pub(crate) mod request;
pub(crate) mod started;
mod streaming;
pub(crate) mod tracking;
mod unary;
pub(crate) mod watch;

use gannet_core::Metadata;
use gannet_core::compression::Compressed;

pub(crate) use options::{Extra, Options, Prepared};
pub use reply::{Reply, ReplyWithMetadata};
pub use streaming::{
    BidiStreaming, BidiStreamingFuture, ClientStreaming, ClientStreamingFuture, ServerStreaming,
    ServerStreamingFuture,
};
pub use unary::{Unary, UnaryFuture, UnaryWithMetadata, UnaryWithMetadataFuture};

/// The metadata of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseMetadata {
    /// What came before the messages.
    pub headers: Metadata,
    /// What came after them; for a failed call it is in the status instead.
    pub trailers: Metadata,
    /// What compression of the one response came to: one message where it came compressed.
    pub compressed: Compressed,
}
