//! Generates both services of the interop harness.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::configure()
        .include("../proto")
        .compile(&["gannet_interop.proto", "grpctest.proto"])
}
