//! Protobuf descriptors in, Rust text out: messages, service traits, servers and clients.
