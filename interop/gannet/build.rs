//! Generates both services of the interop harness, the official cases' with the load
//! reports that they use, those of `src/bin/neighbours.rs` and `src/bin/soak`, and the benchmark's
//! echo for a test.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::configure().include("../proto").include("proto").compile(&[
        "bench_echo.proto",
        "gannet_interop.proto",
        "grpctest.proto",
        "grpc_testing.proto",
        "neighbours.proto",
        "orca_report.proto",
        "orca_service.proto",
        "soak.proto",
    ])
}
