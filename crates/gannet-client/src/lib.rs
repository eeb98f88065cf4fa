//! The gRPC channel: lazily connected, reconnecting, cloneable; calls of all four kinds.
