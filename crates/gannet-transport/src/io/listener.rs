//! Listening endpoints, bound before a runtime runs, and their accepting halves.
//!
//! A [`Listener`] is bound and listens already: an error shows at once and names its address. An
//! [`Acceptor`] is a listener registered with the runtime it was made on. What it accepts is
//! [`Incoming`]: under TLS there is a handshake before there is a stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;

use super::tcp::TcpOptions;
use super::{Peer, PipeListener, Stream};
use crate::tls::ServerTls;

/// An endpoint that accepts connections.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    server_tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Kind {
    Tcp {
        listener: std::net::TcpListener,
        options: TcpOptions,
    },
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
    Pipe(PipeListener),
}

impl Listener {
    /// Listens on a TCP address such as `"[::]:50051"`, which takes IPv4 and IPv6 both. Port 0 asks
    /// for a free one; see [`local_addr`](Self::local_addr).
    ///
    /// A name that resolves to several addresses binds the first that can be bound. Resolving a
    /// name blocks; literal addresses do not.
    ///
    /// # Errors
    /// Names the address, for instance where the port is taken.
    pub fn tcp(address: impl ToSocketAddrs + fmt::Display) -> Result<Listener, ListenError> {
        Self::tcp_with(address, TcpOptions::default())
    }

    /// As [`tcp`](Self::tcp), with options.
    ///
    /// # Errors
    /// Names the address.
    pub fn tcp_with(
        address: impl ToSocketAddrs + fmt::Display,
        options: TcpOptions,
    ) -> Result<Listener, ListenError> {
        let failed = |source| ListenError::new(address.to_string(), source);
        let unread = |source| ListenError::unread(address.to_string(), source);
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for candidate in address.to_socket_addrs().map_err(unread)? {
            match options.listen(candidate) {
                Ok(listener) => return Ok(Kind::Tcp { listener, options }.into()),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Listens on a Unix socket. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// Names the path.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<Path>) -> Result<Listener, ListenError> {
        let path = path.as_ref();
        let failed = |source| ListenError::new(format!("unix:{}", path.display()), source);
        let listener = super::unix::listen(path).map_err(failed)?;
        Ok(Kind::Unix(listener).into())
    }

    /// Speaks TLS with everyone who connects.
    #[cfg(any(feature = "tls", feature = "tls-ring"))]
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> Listener {
        Listener { server_tls: Some(tls), ..self }
    }

    /// The bound TCP address, `None` for other kinds.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp { listener, .. } => listener.local_addr().ok(),
            _ => None,
        }
    }

    /// A second listener for the same endpoint, for another thread: its own SO_REUSEPORT socket
    /// where that option is on, otherwise the same socket. `None` for a pipe.
    ///
    /// # Errors
    /// Names the address.
    pub fn another(&self) -> Result<Option<Listener>, ListenError> {
        let failed = |source| ListenError::new(self.to_string(), source);
        let kind = match &self.kind {
            Kind::Tcp { listener, options } if options.reuse_port => {
                let address = listener.local_addr().map_err(failed)?;
                let listener = options.listen(address).map_err(failed)?;
                Kind::Tcp { listener, options: options.clone() }
            }
            Kind::Tcp { listener, options } => {
                let listener = listener.try_clone().map_err(failed)?;
                Kind::Tcp { listener, options: options.clone() }
            }
            #[cfg(unix)]
            Kind::Unix(listener) => Kind::Unix(listener.try_clone().map_err(failed)?),
            Kind::Pipe(_) => return Ok(None),
        };
        Ok(Some(Listener { kind, server_tls: self.server_tls.clone() }))
    }

    /// Registers with the current tokio runtime.
    ///
    /// # Errors
    /// As the operating system says; names the address.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn into_acceptor(self) -> Result<Acceptor, ListenError> {
        let address = self.to_string();
        let failed = |source| ListenError::new(address.clone(), source);
        let kind = match self.kind {
            Kind::Tcp { listener, .. } => {
                Accepting::Tcp(tokio::net::TcpListener::from_std(listener).map_err(failed)?)
            }
            #[cfg(unix)]
            Kind::Unix(listener) => {
                Accepting::Unix(tokio::net::UnixListener::from_std(listener).map_err(failed)?)
            }
            Kind::Pipe(listener) => Accepting::Pipe(listener),
        };
        Ok(Acceptor { kind, server_tls: self.server_tls })
    }
}

impl From<Kind> for Listener {
    fn from(kind: Kind) -> Listener {
        Listener { kind, server_tls: None }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp { listener, .. } => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("tcp"),
            },
            #[cfg(unix)]
            Kind::Unix(listener) => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix:"),
                }
            }
            Kind::Pipe(_) => f.write_str("in-process"),
        }
    }
}

impl From<PipeListener> for Listener {
    fn from(listener: PipeListener) -> Self {
        Kind::Pipe(listener).into()
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Kind::Tcp { listener, options: TcpOptions::default() }.into())
    }
}

impl TryFrom<tokio::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: tokio::net::TcpListener) -> io::Result<Self> {
        listener.into_std()?.try_into()
    }
}

/// A listener at work on one runtime.
#[derive(Debug)]
pub struct Acceptor {
    kind: Accepting,
    server_tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Accepting {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    Pipe(PipeListener),
}

impl Acceptor {
    /// The next connection; `Ok(None)` where none can ever come (a pipe without connectors).
    ///
    /// # Errors
    /// As accept(2) says. The listener stays usable; see [`is_exhaustion`](Self::is_exhaustion).
    ///
    /// # Cancel safety
    /// No accepted connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.accept_stream().await?;
        let incoming =
            |(stream, peer)| Incoming { stream, peer, server_tls: self.server_tls.clone() };
        Ok(accepted.map(incoming))
    }

    async fn accept_stream(&mut self) -> io::Result<Option<(Stream, Peer)>> {
        match &mut self.kind {
            Accepting::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Some((Stream::Tcp(stream), Peer::tcp(address))))
            }
            #[cfg(unix)]
            Accepting::Unix(listener) => {
                let (stream, address) = listener.accept().await?;
                let path = address.as_pathname().map(Path::to_owned);
                Ok(Some((Stream::Unix(stream), Peer::Unix(path))))
            }
            Accepting::Pipe(listener) => Ok(listener.accept().await),
        }
    }

    /// Whether an error of `accept` means that the process or machine is out of something, so that
    /// trying again at once would only spin; otherwise one connection died while it waited.
    pub fn is_exhaustion(error: &io::Error) -> bool {
        !matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::Interrupted
        )
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Incoming {
    stream: Stream,
    peer: Peer,
    server_tls: Option<ServerTls>,
}

/// What a connection must do before it is a stream. It has no time limit of its own; its error says
/// what is wrong with the peer.
pub type Handshake = Pin<Box<dyn Future<Output = io::Result<(Stream, Peer)>> + Send>>;

impl Incoming {
    /// The stream below everything, to set the socket's options.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where it comes from.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The stream, where nothing has to be said first.
    ///
    /// # Errors
    /// Under TLS: the handshake, to be awaited.
    pub fn into_stream(self) -> Result<(Stream, Peer), Handshake> {
        let Incoming { stream, peer, server_tls } = self;
        match server_tls {
            None => Ok((stream, peer)),
            Some(tls) => Err(Box::pin(tls.accept(stream, peer))),
        }
    }
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: String,
    problem: Problem,
    source: io::Error,
}

/// What is wrong, where it is not for the system to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// It is: the address was understood.
    Listening,
    /// There is no port, or no address.
    Form,
    /// The port is no number, or too large.
    Port,
    /// The name has no addresses.
    Name,
}

impl ListenError {
    /// An error for `address`.
    pub fn new(address: impl Into<String>, source: io::Error) -> ListenError {
        ListenError { address: address.into(), problem: Problem::Listening, source }
    }

    /// An error for an address that was not understood.
    fn unread(address: String, source: io::Error) -> ListenError {
        let problem = match parts(&address) {
            None => Problem::Form,
            Some((_, port)) if port.parse::<u16>().is_err() => Problem::Port,
            // The system's word, and not that of the parser in front of it.
            Some(_) if source.kind() != io::ErrorKind::InvalidInput => Problem::Name,
            Some(_) => Problem::Form,
        };
        ListenError { address, problem, source }
    }

    /// The address as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::Listening => write!(f, "cannot listen on {}", self.address)?,
            _ => write!(f, "cannot listen on {:?}", self.address)?,
        }
        let (host, port) = parts(&self.address).unwrap_or_default();
        match self.problem {
            Problem::Listening => {}
            Problem::Form => {
                return f.write_str(
                    ": an address and a port are needed, for instance \"[::]:50051\" for all of \
                     IPv6 and IPv4, or \"127.0.0.1:50051\"",
                );
            }
            Problem::Port => return write!(f, ": the port {port:?} is no number up to 65535"),
            Problem::Name => return write!(f, ": the name {host:?} does not resolve"),
        }
        match self.source.kind() {
            io::ErrorKind::AddrInUse => f.write_str(": another process or socket uses it"),
            io::ErrorKind::PermissionDenied => f.write_str(": permission denied"),
            io::ErrorKind::AddrNotAvailable => f.write_str(": this machine has no such address"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The host and the port of what looks like an address.
fn parts(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':').filter(|(_, port)| !port.is_empty())?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_bracketed || !host.contains([':', '[', '/']));
    is_host.then_some((host, port))
}
