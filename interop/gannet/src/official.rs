//! What the programs of gRPC's official interop cases share.

use crate::proto::grpc::testing::Payload;

/// The request key whose value comes back as a response header.
pub const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
/// The request key whose value comes back as a trailer.
pub const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// A payload of so many zero bytes.
pub fn zeros(bytes: usize) -> Payload {
    Payload { body: vec![0; bytes].into(), ..Default::default() }
}
