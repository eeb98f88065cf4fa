//! The in-process pipe: a connector and a listener in one process, without sockets.

use std::fmt;
use std::io;

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
    (PipeConnector { to }, PipeListener { from })
}

/// The end that connects. Clones reach the same listener.
#[derive(Clone)]
pub struct PipeConnector {
    to: mpsc::Sender<DuplexStream>,
}

impl PipeConnector {
    /// Whether both reach the same listener.
    pub fn is_same(&self, other: &PipeConnector) -> bool {
        self.to.same_channel(&other.to)
    }

    /// Connects; waits while the listener's backlog is full.
    ///
    /// # Errors
    /// `ConnectionRefused` where the listener is gone.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect(&self) -> io::Result<(Stream, Peer)> {
        let (ours, theirs) = duplex(PIPE_BYTES_MAX);
        self.to.send(theirs).await.map_err(|_| {
            io::Error::new(io::ErrorKind::ConnectionRefused, "the in-process listener is gone")
        })?;
        Ok((Stream::Pipe(ours), Peer::Pipe))
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
}

impl PipeListener {
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
