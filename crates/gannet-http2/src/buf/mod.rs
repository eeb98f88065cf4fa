//! The two buffers between a socket and the engine.

mod recv;
mod send;

pub use recv::RecvBuf;
pub use send::SendBuf;
