//! What tonic and prost generate for both services.

#![allow(missing_docs, reason = "generated")]

/// The hello world.
pub mod grpctest {
    tonic::include_proto!("grpctest");
}

/// The echo.
pub mod bench {
    tonic::include_proto!("bench");
}
