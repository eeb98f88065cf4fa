//! Generates the messages, the server and the client of `proto/greeter.proto`.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::compile(&["proto/greeter.proto"])
}
