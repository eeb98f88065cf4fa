//! [`Address`], [`Endpoint`] and [`Resolution`]: what a name stands for.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;

use gannet_core::Extensions;
use gannet_transport::PipeConnector;

/// Where one connection can be made to.
///
/// Two addresses are equal where they lead to the same place: a channel keeps one connection to
/// each, however often its name resolver tells of it.
#[derive(Clone)]
pub struct Address(Kind);

#[derive(Clone)]
enum Kind {
    Tcp(SocketAddr),
    Unix(PathBuf),
    UnixAbstract(Vec<u8>),
    Named(String),
    InProcess(String, PipeConnector),
}

/// What an address leads through, for whoever connects.
pub(crate) enum Way<'a> {
    Tcp(SocketAddr),
    Unix(&'a PathBuf),
    UnixAbstract(&'a [u8]),
    Named(&'a str),
    InProcess(&'a PipeConnector),
}

/// What addresses are interleaved by (RFC 8305 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Neither, or not known.
    Other,
}

impl Address {
    /// A TCP port.
    pub const fn tcp(address: SocketAddr) -> Address {
        Address(Kind::Tcp(address))
    }

    /// A Unix socket at a path.
    pub fn unix(path: impl Into<PathBuf>) -> Address {
        Address(Kind::Unix(path.into()))
    }

    /// A Unix socket in the abstract namespace, by its name without the NUL before it (Linux).
    pub fn unix_abstract(name: impl Into<Vec<u8>>) -> Address {
        Address(Kind::UnixAbstract(name.into()))
    }

    /// A host and a port, `host:port`, that is resolved each time a connection is made, by the
    /// system; of its addresses the first that answers is used. Each is tried 250 ms after the one
    /// before it, or when one has failed (gRFC A61).
    pub fn named(host_port: impl Into<String>) -> Address {
        Address(Kind::Named(host_port.into()))
    }

    /// A pipe within the process. The name is for messages; it and the listener at the other end
    /// tell addresses apart.
    pub fn in_process(name: impl Into<String>, connector: PipeConnector) -> Address {
        Address(Kind::InProcess(name.into(), connector))
    }

    /// The IP address and port, of a TCP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(address) => Some(*address),
            _ => None,
        }
    }

    /// The family of the IP address.
    pub fn family(&self) -> Family {
        match &self.0 {
            Kind::Tcp(SocketAddr::V4(_)) => Family::V4,
            Kind::Tcp(SocketAddr::V6(_)) => Family::V6,
            _ => Family::Other,
        }
    }

    pub(crate) fn way(&self) -> Way<'_> {
        match &self.0 {
            Kind::Tcp(address) => Way::Tcp(*address),
            Kind::Unix(path) => Way::Unix(path),
            Kind::UnixAbstract(name) => Way::UnixAbstract(name),
            Kind::Named(name) => Way::Named(name),
            Kind::InProcess(_, connector) => Way::InProcess(connector),
        }
    }

    /// What tells it from others: its kind, and what is in it; of a pipe besides where it leads.
    fn identity(&self) -> (u8, Option<SocketAddr>, &[u8]) {
        match &self.0 {
            Kind::Tcp(address) => (0, Some(*address), b""),
            Kind::Unix(path) => (1, None, path.as_os_str().as_encoded_bytes()),
            Kind::UnixAbstract(name) => (2, None, name),
            Kind::Named(name) => (3, None, name.as_bytes()),
            Kind::InProcess(name, _) => (4, None, name.as_bytes()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::tcp(address)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        let are_same = match (&self.0, &other.0) {
            (Kind::InProcess(_, one), Kind::InProcess(_, other)) => one.is_same(other),
            _ => true,
        };
        are_same && self.identity() == other.identity()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp(address) => address.fmt(f),
            Kind::Unix(path) => write!(f, "unix:{}", path.display()),
            Kind::UnixAbstract(name) => write!(f, "unix-abstract:{}", name.escape_ascii()),
            Kind::Named(name) | Kind::InProcess(name, _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// One server, as far as load balancing is concerned: its addresses, of which one is connected to,
/// and what a name resolver says of it besides (gRFC A61).
#[derive(Clone, Debug)]
pub struct Endpoint {
    addresses: Vec<Address>,
    attributes: Extensions,
}

impl Endpoint {
    /// An endpoint with these addresses, in the order in which they are to be tried.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<Address>>) -> Endpoint {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Endpoint { addresses, attributes: Extensions::new() }
    }

    /// With a value for the load balancing policy, in place of one of the same type: a weight, a
    /// zone, whatever resolver and policy have agreed on.
    #[must_use]
    pub fn attribute<T: Send + Sync + 'static>(mut self, value: T) -> Endpoint {
        self.attributes.insert(value);
        self
    }

    /// Its addresses.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What was said of it.
    pub fn attributes(&self) -> &Extensions {
        &self.attributes
    }
}

impl<A: Into<Address>> From<A> for Endpoint {
    fn from(address: A) -> Endpoint {
        Endpoint::new([address])
    }
}

/// What a name stands for now.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Resolution {
    /// The servers.
    pub endpoints: Vec<Endpoint>,
    /// What is said of all of them.
    pub attributes: Extensions,
}

impl Resolution {
    /// These servers.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<Endpoint>>) -> Resolution {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Resolution { endpoints, attributes: Extensions::new() }
    }
}
