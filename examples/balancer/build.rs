//! Generates the messages, the server and the client of `proto/desk.proto`.

fn main() -> Result<(), gannet_build::Error> {
    gannet_build::compile(&["proto/desk.proto"])
}
