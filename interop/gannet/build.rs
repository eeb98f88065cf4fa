//! Generates both services of the interop harness, and that of `src/bin/neighbours.rs`.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::configure().include("../proto").include("proto").compile(&[
        "gannet_interop.proto",
        "grpctest.proto",
        "neighbours.proto",
    ])
}
