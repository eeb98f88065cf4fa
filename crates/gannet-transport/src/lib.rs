//! The tokio driver around gannet-http2, shared by server and client.
//!
//! One task per connection ([`Driver`]) owns the engine, the socket, the buffers and the calls. The
//! calls themselves are a [`Side`]'s: the server's and the client's crates each have one. Other
//! tasks reach a connection through its lock-free [`Queue`], and share one [`CallShared`] with it
//! per call.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `driver` | the task, and the `Side` trait |
//! | `queue` | the way into the task |
//! | `call` | shared state of a call; `Inbound` and `Outbound`, the application's streams |
//! | `io` | TCP, Unix sockets, the in-process pipe |
//! | `tls` | TLS over any of them (feature `tls`) |
//! | `fields` | metadata and statuses as header fields |
//! | `observe` | who follows calls, for telemetry |
//! | `timer`, `rouser`, `pool` | deadlines; memory that falls idle; read buffers |
//!
//! Does not know services, routing or load balancing.

mod call;
mod driver;
pub mod fields;
mod io;
pub mod observe;
mod pool;
mod queue;
mod rouser;
mod timer;
#[cfg(feature = "_tls")]
pub mod tls;
#[cfg(not(feature = "_tls"))]
#[path = "tls/absent.rs"]
pub mod tls;

pub use call::{
    Asks, Attended, CallShared, Direction, EndObserver, Feed, Framed, HeadersObserver, Inbound,
    Observed, Observer, Outbound, Piece, Relay, RelayKind, SEND_QUEUE_BYTES_MAX, Sending,
    SendingUncompressed, Source, Spares, Watcher, feed,
};
pub use driver::{CloseReason, Driver, Progress, Side, Turn};
#[cfg(unix)]
pub use io::connect_unix;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use io::connect_unix_abstract;
pub use io::{
    Acceptor, Handshake, Incoming, ListenError, Listener, Peer, PipeConnector, PipeGate,
    PipeListener, Stream, TcpOptions, connect_tcp, pipe,
};
pub use queue::{CallQueue, Command, Queue};
pub use rouser::{Rouse, Rouser};
pub use timer::Deadlines;
