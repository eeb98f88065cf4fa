//! What a server can be told to listen on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use gannet_transport::{ListenError, Listener, PipeListener, TcpOptions};

/// An address to listen on, or a listener that does already.
///
/// Made from a string (`"[::]:50051"`, `"localhost:0"`, `"unix:/run/app.sock"`), a `SocketAddr`, a
/// [`Listener`], a tokio or std `TcpListener`, or a [`PipeListener`].
pub struct Bind {
    kind: Kind,
}

enum Kind {
    Address(String),
    Listener(Listener),
    Failed(io::Error),
}

impl Bind {
    /// Listens. `shared` says that several threads will: TCP sockets then share their port.
    pub(crate) fn listen(self, shared: bool) -> Result<Listener, ListenError> {
        match self.kind {
            Kind::Listener(listener) => Ok(listener),
            Kind::Failed(source) => Err(ListenError::new("the given socket", source)),
            #[cfg(unix)]
            Kind::Address(address) if address.starts_with("unix:") => {
                Listener::unix(address.trim_start_matches("unix:"))
            }
            Kind::Address(address) => {
                Listener::tcp_with(address, TcpOptions::default().reuse_port(shared))
            }
        }
    }
}

impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Address(address) => write!(f, "Bind({address})"),
            Kind::Listener(listener) => write!(f, "Bind({listener})"),
            Kind::Failed(error) => write!(f, "Bind({error})"),
        }
    }
}

impl From<&str> for Bind {
    fn from(address: &str) -> Self {
        Bind { kind: Kind::Address(address.to_owned()) }
    }
}

impl From<String> for Bind {
    fn from(address: String) -> Self {
        Bind { kind: Kind::Address(address) }
    }
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Bind { kind: Kind::Address(address.to_string()) }
    }
}

impl From<Listener> for Bind {
    fn from(listener: Listener) -> Self {
        Bind { kind: Kind::Listener(listener) }
    }
}

impl From<PipeListener> for Bind {
    fn from(listener: PipeListener) -> Self {
        Listener::from(listener).into()
    }
}

impl From<tokio::net::TcpListener> for Bind {
    fn from(listener: tokio::net::TcpListener) -> Self {
        Listener::try_from(listener).into()
    }
}

impl From<std::net::TcpListener> for Bind {
    fn from(listener: std::net::TcpListener) -> Self {
        Listener::try_from(listener).into()
    }
}

impl From<io::Result<Listener>> for Bind {
    fn from(listener: io::Result<Listener>) -> Self {
        match listener {
            Ok(listener) => listener.into(),
            Err(error) => Bind { kind: Kind::Failed(error) },
        }
    }
}
