//! The client against scripted peers, and against gannet-server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod addresses;
mod backends;
mod balancing;
mod blocking;
mod calls;
mod cancel;
mod compression;
mod connection;
mod control_plane;
mod credentials;
mod deadlines;
mod defaults;
mod endings;
mod faults;
mod fickle;
mod forever;
mod goaway;
mod health;
mod intercept;
mod intercept_streams;
mod keepalive;
mod lazy;
mod moving;
mod negative;
mod observe;
mod observe_connections;
mod observe_credentials;
mod peer;
mod policies;
#[cfg(feature = "_tls")]
mod providers;
mod resolvers;
mod runtimes;
mod server;
mod states;
mod streams;
#[cfg(feature = "_tls")]
mod tls;
#[cfg(feature = "_tls")]
mod tls_negative;
mod told;
#[cfg(feature = "_tls")]
mod trust;
mod undriven;
#[path = "../../../gannet-server/tests/it/wire.rs"]
mod wire;
