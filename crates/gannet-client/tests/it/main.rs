//! The client against scripted peers, and against gannet-server.

mod blocking;
mod calls;
mod cancel;
mod connection;
mod deadlines;
mod faults;
mod goaway;
mod peer;
mod server;
mod streams;
