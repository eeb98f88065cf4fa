//! gRPC for Rust, complete and from the transport up.
