//! The in-process pipe: a connector and a listener in one process, without sockets.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::{Peer, Stream};

/// Bytes that each direction of a pipe holds before its writer waits.
const PIPE_BYTES_MAX: usize = 64 << 10;
/// Connections that may wait to be accepted.
const PIPE_BACKLOG_MAX: usize = 128;

/// Makes both ends of an in-process transport.
///
/// ```
/// let (connector, listener) = gannet_transport::pipe();
/// # drop((connector, listener));
/// ```
pub fn pipe() -> (PipeConnector, PipeListener) {
    let (to, from) = mpsc::channel(PIPE_BACKLOG_MAX);
    let gate = PipeGate(Arc::default());
    (PipeConnector { to, gate: gate.clone() }, PipeListener { from, gate })
}

/// The end that connects. Clones reach the same listener.
#[derive(Clone)]
pub struct PipeConnector {
    to: mpsc::Sender<DuplexStream>,
    gate: PipeGate,
}

impl PipeConnector {
    /// Whether both reach the same listener.
    pub fn is_same(&self, other: &PipeConnector) -> bool {
        self.to.same_channel(&other.to)
    }

    /// Connects; waits while the listener's backlog is full.
    ///
    /// # Errors
    /// `ConnectionRefused` where the listener is gone, and where its [`PipeGate`] refuses.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect(&self) -> io::Result<(Stream, Peer)> {
        let refused = |why| io::Error::new(io::ErrorKind::ConnectionRefused, why);
        if self.gate.is_refusing() {
            return Err(refused("the in-process listener refuses connections"));
        }
        let (ours, theirs) = duplex(PIPE_BYTES_MAX);
        let sent = self.to.send(theirs).await;
        sent.map_err(|_| refused("the in-process listener is gone"))?;
        Ok((Stream::Pipe(ours), Peer::Pipe))
    }

    /// Waits until the listener is gone.
    ///
    /// # Cancel safety
    /// May be dropped and called again at will.
    pub async fn closed(&self) {
        self.to.closed().await;
    }
}

impl fmt::Debug for PipeConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeConnector").finish_non_exhaustive()
    }
}

/// The end that accepts.
pub struct PipeListener {
    from: mpsc::Receiver<DuplexStream>,
    gate: PipeGate,
}

impl PipeListener {
    /// What decides whether connections are refused; at first they are not.
    pub fn gate(&self) -> PipeGate {
        self.gate.clone()
    }

    /// The next connection, or `None` once every connector is gone.
    pub(crate) async fn accept(&mut self) -> Option<(Stream, Peer)> {
        let stream = self.from.recv().await?;
        Some((Stream::Pipe(stream), Peer::Pipe))
    }
}

impl fmt::Debug for PipeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeListener").finish_non_exhaustive()
    }
}

/// Has a pipe refuse connections for a while, as a port that nobody listens on: from
/// [`PipeListener::gate`]. Clones are the same. It keeps neither end open.
#[derive(Clone, Debug)]
pub struct PipeGate(Arc<AtomicBool>);

impl PipeGate {
    /// Whether who connects from now on is refused. Who waits to be accepted already still is.
    pub fn set_refusing(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    /// Whether it refuses.
    pub fn is_refusing(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
