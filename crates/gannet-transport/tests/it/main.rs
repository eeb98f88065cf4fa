//! The transport without gRPC's server or client: call state, listeners, and the driver with small
//! sides of the tests' own.

mod call;
mod driver;
mod listeners;
