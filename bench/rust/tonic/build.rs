//! Generates both services. protox compiles them, so that no protoc is needed; what is generated
//! is the same.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["grpctest.proto", "echo.proto"], ["../../proto"])?;
    println!("cargo::rerun-if-changed=../../proto");
    Ok(tonic_prost_build::compile_fds(files)?)
}
