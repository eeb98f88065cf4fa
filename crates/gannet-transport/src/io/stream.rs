//! One connected byte stream, whatever it runs over, and who is at its other end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connected stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// TCP, with TCP_NODELAY set.
    Tcp(TcpStream),
    /// A Unix domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// One half of an in-process pipe.
    Pipe(DuplexStream),
    /// Any of these under TLS.
    #[cfg(feature = "_tls")]
    Tls(Box<crate::tls::TlsStream>),
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// The address of a TCP peer. IPv4 peers of a dual-stack listener read as IPv4.
    Tcp(SocketAddr),
    /// A Unix socket; the path where the peer's end is bound to one.
    Unix(Option<PathBuf>),
    /// The same process.
    Pipe,
    /// Any of these under TLS, with the certificate that was shown.
    #[cfg(feature = "_tls")]
    Tls(Box<crate::tls::TlsPeer>),
}

impl Peer {
    /// The socket address of a TCP peer, under TLS or not.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Peer::Tcp(address) => Some(*address),
            #[cfg(feature = "_tls")]
            Peer::Tls(peer) => peer.below().socket_addr(),
            _ => None,
        }
    }

    /// What is known by TLS; `None` where there is no TLS.
    #[cfg(feature = "_tls")]
    pub fn tls(&self) -> Option<&crate::tls::TlsPeer> {
        match self {
            Peer::Tls(peer) => Some(peer),
            _ => None,
        }
    }

    /// The certificate that the peer has shown and that was accepted (mutual TLS).
    #[cfg(feature = "_tls")]
    pub fn certificate(&self) -> Option<&crate::tls::PeerCertificate> {
        self.tls()?.certificate()
    }

    pub(crate) fn tcp(address: SocketAddr) -> Peer {
        Peer::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Peer::Unix(None) => f.write_str("unix:"),
            Peer::Pipe => f.write_str("in-process"),
            #[cfg(feature = "_tls")]
            Peer::Tls(peer) => peer.below().fmt(f),
        }
    }
}

impl Stream {
    /// Whether it is a socket on which nothing was agreed on yet.
    #[inline]
    pub(crate) fn is_socket(&self) -> bool {
        match self {
            Stream::Tcp(_) => true,
            #[cfg(unix)]
            Stream::Unix(_) => true,
            _ => false,
        }
    }

    /// Sets TCP_USER_TIMEOUT: how long the peer may leave bytes unacknowledged, or its receive
    /// window shut, before the system gives the connection up (gRFC A18). Milliseconds, rounded
    /// down, at least 1. Without effect on what is no TCP, and on systems other than Linux, Android
    /// and Fuchsia.
    pub fn set_user_timeout(&self, timeout: Duration) {
        match self {
            #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
            Stream::Tcp(stream) => {
                // Without it, keepalive finds out alone.
                let timeout = timeout.max(Duration::from_millis(1));
                let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout));
            }
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => stream.below().set_user_timeout(timeout),
            _ => {
                let _ = timeout;
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Pipe(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Pipe(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Pipe(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Pipe(stream) => stream.is_write_vectored(),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Pipe(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Pipe(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
