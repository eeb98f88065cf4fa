//! Generates both services.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::configure().include("../../proto").compile(&["grpctest.proto", "echo.proto"])
}
