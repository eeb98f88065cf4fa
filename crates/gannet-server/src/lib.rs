//! The gRPC server: router, dispatch, graceful shutdown.
