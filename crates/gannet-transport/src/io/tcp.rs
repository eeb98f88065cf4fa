//! TCP: dual-stack listening sockets, and connecting. TCP_NODELAY always.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use super::{Peer, Stream};

/// How a TCP listening socket is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Connections that may wait to be accepted (default 1,024).
    pub backlog_connections_max: u32,
    /// SO_REUSEPORT: several sockets on one port, between which the kernel spreads connections
    /// (default off).
    pub reuse_port: bool,
    /// A socket on an IPv6 address takes IPv6 only (default off: `[::]` takes both).
    pub only_v6: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions { backlog_connections_max: 1_024, reuse_port: false, only_v6: false }
    }
}

impl TcpOptions {
    /// Sets SO_REUSEPORT.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Sets IPV6_V6ONLY.
    #[must_use]
    pub fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = on;
        self
    }

    /// Binds and listens. `[::]` falls back to `0.0.0.0` on a machine without IPv6.
    pub(crate) fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        match self.listen_at(address) {
            Err(error) if lacks_v6(&error) && is_any_v6(address) => {
                self.listen_at(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
            }
            other => other,
        }
    }

    fn listen_at(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        #[cfg(unix)]
        {
            // A restarted server must not wait for the TIME_WAIT connections of the last one.
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(self.reuse_port)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let backlog = i32::try_from(self.backlog_connections_max).unwrap_or(i32::MAX);
        socket.listen(backlog)?;
        Ok(socket.into())
    }
}

/// Connects to one address.
///
/// # Errors
/// As the operating system says; the caller names the target.
///
/// # Cancel safety
/// Dropping the future abandons the attempt and closes the socket.
pub async fn connect_tcp(address: SocketAddr) -> io::Result<(Stream, Peer)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok((Stream::Tcp(stream), Peer::tcp(address)))
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn lacks_v6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no ErrorKind; binding `::` with IPv6 switched off gives EADDRNOTAVAIL.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}
