//! The client's side of gRPC: a [`Channel`] and the four kinds of calls on it.
//!
//! ```no_run
//! # use gannet_client::Channel;
//! # use gannet_core::{MethodDescriptor, MethodKind, codec::Raw};
//! # use std::time::Duration;
//! # static SAY: MethodDescriptor = MethodDescriptor::new("/echo.Echo/Say", MethodKind::Unary);
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = Channel::builder("dns:///svc:50051").build()?;
//! let reply: Vec<u8> = channel
//!     .unary::<Raw, _, _>(&SAY, b"hello".to_vec())
//!     .timeout(Duration::from_secs(1))
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `channel` | the channel, its builder, its connections and how they are made |
//! | `target`, `host` | what a channel connects to, as it is written |
//! | [`name`] | what that stands for: addresses, and what resolves them |
//! | [`policy`] | decisions as pure state machines: load balancing, backoff |
//! | `link` | the calls of one connection, on the connection's task |
//! | `call` | what the application holds of a call |
//! | `intercept` | code of the application around calls |
//! | `credentials` | metadata that says who calls |
//! | `control_plane` | codes that calls do not end with by what is no server |
//! | [`blocking`] | the same for threads without async code |
//!
//! Generated code calls the methods of [`Channel`] that take a
//! [`MethodDescriptor`](gannet_core::MethodDescriptor).

pub mod blocking;
mod call;
mod channel;
mod control_plane;
mod credentials;
mod host;
mod intercept;
mod link;
pub mod name;
pub mod policy;
#[cfg(test)]
mod simulation;
mod target;

pub use call::{
    BidiStreaming, BidiStreamingFuture, ClientStreaming, ClientStreamingFuture, Reply,
    ReplyWithMetadata, ResponseMetadata, ServerStreaming, ServerStreamingFuture, Unary,
    UnaryFuture, UnaryWithMetadata, UnaryWithMetadataFuture,
};
#[cfg(feature = "fuzzing")]
pub use channel::health_answer;
#[doc(hidden)]
pub use channel::seed_thread;
pub use channel::{CallDefaults, Channel, ChannelBuilder};
pub use credentials::{BearerToken, CallCredentials, CredentialsRequest};
pub use gannet_transport::{Inbound, Observed, Outbound, PipeConnector};
pub use intercept::{Answer, Interceptor, Next, Outgoing};
pub use policy::ChannelState;
pub use target::TargetError;
