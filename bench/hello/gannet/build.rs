//! Generates the service.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::compile(&["proto/grpctest.proto"])
}
