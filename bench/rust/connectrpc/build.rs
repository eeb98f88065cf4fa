//! Generates both services. protox compiles them, so that no protoc is needed; what is generated
//! is the same.

use std::error::Error;
use std::path::Path;

use prost::Message;

const FILES: [&str; 2] = ["grpctest.proto", "echo.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = Path::new(&std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&descriptors, protox::compile(FILES, ["../../proto"])?.encode_to_vec())?;
    println!("cargo::rerun-if-changed=../../proto");
    connectrpc_build::Config::new()
        .descriptor_set(&descriptors)
        .files(&FILES)
        .include_file("connectrpc.rs")
        .compile()?;
    Ok(())
}
