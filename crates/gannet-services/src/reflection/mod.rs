//! Reflection: tells tools such as grpcurl what a server serves, in descriptors.
//! `grpc.reflection.v1`, and `v1alpha` for older tools, as gRPC's document "GRPC Server Reflection
//! Protocol" says.
//!
//! ```no_run
//! # async fn run(orders: impl gannet::server::Service) -> Result<(), gannet::server::ServeError> {
//! use gannet::{Server, services::reflection::Reflection};
//!
//! let reflection = Reflection::new();
//! Server::new()
//!     .add(orders)
//!     .add(reflection.v1())
//!     .add(reflection.v1alpha())
//!     .serve("[::]:50051")
//!     .await
//! # }
//! ```
//!
//! Generated services bring their descriptors along, so that nothing needs to be registered but
//! what no service of the server names: files with extensions, types that travel in an `Any`,
//! services that something behind the server answers ([`Builder`]).
//!
//! Two services may have been generated from different files of one name. Each is described by its
//! own then, with what that imports; asked by the name, the first is told. Tools that keep files by
//! their names may still stumble over it, so that [`Builder::on_problem`] tells of it. Where one of
//! the two declares all that the other does, as of a shared file and its older copy, it is both.

mod builder;
mod index;
mod server;
mod wire;

// Of v1alpha only the descriptor is used: its messages are v1's.
#[allow(unused_imports, clippy::enum_variant_names)]
mod generated;

pub use self::builder::{Builder, Reflection, ReflectionError};
pub use self::server::ReflectionServer;

/// The messages of `grpc.reflection.v1`, and the descriptor of its service, for who calls it.
pub mod v1 {
    pub use super::generated::grpc::reflection::v1::{
        ErrorResponse, ExtensionNumberResponse, ExtensionRequest, FILE_DESCRIPTOR_SET,
        FileDescriptorResponse, ListServiceResponse, SERVER_REFLECTION, ServerReflectionRequest,
        ServerReflectionResponse, ServiceResponse, server_reflection_request,
        server_reflection_response,
    };
}

/// The descriptor of the service of `grpc.reflection.v1alpha`, whose messages are those of
/// `v1` on the wire.
pub mod v1alpha {
    pub use super::generated::grpc::reflection::v1alpha::{FILE_DESCRIPTOR_SET, SERVER_REFLECTION};
}
