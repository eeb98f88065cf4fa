//! The services that every gRPC server can have: [`health`] and [`reflection`], each a feature.
//!
//! They are ordinary services on `gannet-server`: nothing below knows them. What they need to be
//! told, which services there are and when the end begins, `gannet_server::Service` has for every
//! service. Users name them by the facade, `gannet::services`.

// Generated code names `gannet` here as elsewhere; the facade is above this crate, so that it finds
// what it names below.
extern crate self as gannet;

#[cfg(feature = "health")]
pub mod health;
#[cfg(feature = "reflection")]
pub mod reflection;

#[doc(hidden)]
pub use buffa;
#[doc(hidden)]
pub use gannet_core::{MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status};
#[doc(hidden)]
pub use gannet_server::Call;
#[doc(hidden)]
pub use gannet_transport::{Inbound, Outbound};

#[doc(hidden)]
pub mod codec {
    pub use gannet_core::codec::Buffa;
}

#[doc(hidden)]
pub mod server {
    pub use gannet_server::{Service, Start, Started};
}
