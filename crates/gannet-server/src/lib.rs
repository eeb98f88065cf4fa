//! The gRPC server: router, dispatch, graceful shutdown.
//!
//! [`Server`] collects services and limits; [`Server::serve`] accepts connections. Each connection
//! is one task (see `gannet-transport`), and handlers run in it, in storage that is reused, unless
//! a method's polls take long: [`Dispatch`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | `server`, `serving` | the builder; accept loops, runtimes, shutdown |
//! | `upkeep` | how connections are kept alive, and when they are asked to end |
//! | `service`, `call` | what generated code and handlers see |
//! | `intercept`, `options` | code around calls; what holds for some methods |
//! | `router`, `head` | paths to methods; what a request's headers say |
//! | `side` | the calls of one connection |
//!
//! Does not know load balancing, nor HTTP/2 frames.

mod bind;
mod call;
mod head;
mod intercept;
mod options;
mod router;
mod server;
mod service;
mod serving;
mod side;
mod upkeep;

pub use bind::Bind;
pub use call::{Call, HeadersMut};
pub use intercept::{Handled, Incoming, Interceptor, Next};
pub use options::MethodOptions;
pub use router::Dispatch;
pub use server::Server;
pub use service::{Ends, Service, Start, Started};
pub use serving::{ServeError, Serving};
