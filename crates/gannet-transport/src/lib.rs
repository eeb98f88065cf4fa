//! The tokio driver around gannet-http2, shared by server and client.
