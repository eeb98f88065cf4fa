//! Byte streams and how they come to be: TCP, Unix sockets, the in-process pipe.
//!
//! Knows nothing of HTTP/2. TLS is one more variant of [`Stream`]; what it takes is in `tls`.

mod direct;
mod listener;
mod pipe;
mod stream;
mod tcp;
#[cfg(unix)]
mod unix;

pub(crate) use direct::Input;
pub use listener::{Acceptor, Handshake, Incoming, ListenError, Listener};
pub use pipe::{PipeConnector, PipeGate, PipeListener, pipe};
pub use stream::{Peer, Stream};
pub use tcp::{TcpOptions, connect_tcp};
#[cfg(unix)]
pub use unix::connect_unix;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use unix::connect_unix_abstract;
