//! The hello world of gRPC.
fn main() {}
