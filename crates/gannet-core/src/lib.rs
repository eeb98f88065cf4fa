//! gRPC semantics without I/O: status, metadata, timeouts, message framing, codecs, limits.
