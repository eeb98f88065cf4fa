//! Generates the messages, servers and clients of the files in `proto`.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::compile(&["proto/greeter.proto", "proto/otlp_traces.proto"])
}
