//! The ways to a target: its addresses in the order in which they are tried, and one's connection.
//!
//! Does not decide when each is tried: `race` does.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use gannet_core::Status;
use gannet_transport::{Stream, connect_tcp};

use super::Config;
use crate::target::Endpoint;

/// One way to the target.
pub(super) enum Way {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The configured connector; with the target's text.
    Connector(String),
}

/// Finds the ways to the target, at least one.
///
/// # Errors
/// UNAVAILABLE where a name does not resolve.
pub(super) async fn resolve(config: &Config) -> Result<Vec<Way>, Status> {
    let target = &config.target;
    Ok(match &target.endpoint {
        Endpoint::Addresses(addresses) => interleaved(addresses.iter().copied()),
        Endpoint::Name { host, port } => {
            let failed = |error: io::Error| {
                Status::unavailable(format!("cannot resolve {host:?}: {error}")).with_source(error)
            };
            let resolved = tokio::net::lookup_host((host.as_str(), *port)).await;
            let ways = interleaved(resolved.map_err(failed)?);
            if ways.is_empty() {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(failed(none));
            }
            ways
        }
        Endpoint::Unix(path) => vec![Way::Unix(path.clone())],
        Endpoint::Connector => vec![Way::Connector(target.text.clone())],
    })
}

/// Alternates between the families, the first address's first, each in its order (RFC 8305 section
/// 4, as gRFC A61 asks).
fn interleaved(addresses: impl Iterator<Item = SocketAddr>) -> Vec<Way> {
    let mut addresses = addresses.peekable();
    let Some(first) = addresses.peek().copied() else { return Vec::new() };
    let (mut these, mut those): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) =
        addresses.partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut ways = Vec::with_capacity(these.len() + those.len());
    while let Some(address) = these.pop_front() {
        ways.push(Way::Tcp(address));
        if !those.is_empty() {
            std::mem::swap(&mut these, &mut those);
        }
    }
    ways
}

impl Way {
    /// Connects.
    ///
    /// # Errors
    /// UNAVAILABLE, with the address in the message.
    pub(super) async fn connect(&self, config: &Config) -> Result<Stream, Status> {
        let connected = match self {
            Way::Tcp(address) => connect_tcp(*address).await,
            #[cfg(unix)]
            Way::Unix(path) => gannet_transport::connect_unix(path).await,
            #[cfg(not(unix))]
            Way::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Way::Connector(_) => match &config.connector {
                Some(connector) => connector.connect().await,
                None => Err(io::ErrorKind::Unsupported.into()),
            },
        };
        let failed = |error| Status::from_io(self, error);
        let (stream, _) = connected.map_err(failed)?;
        if let Some(keepalive) = &config.keepalive {
            stream.set_user_timeout(keepalive.timeout);
        }
        match &config.tls {
            None => Ok(stream),
            Some(tls) => tls.connect(stream, &config.authority).await.map_err(failed),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Tcp(address) => address.fmt(f),
            Way::Unix(path) => write!(f, "unix:{}", path.display()),
            Way::Connector(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_the_first_leads() {
        let order = |addresses: &[&str]| -> Vec<String> {
            let parsed = addresses.iter().map(|text| text.parse().unwrap());
            interleaved(parsed).iter().map(Way::to_string).collect()
        };
        let (a, b, c) = ("[::1]:1", "[::1]:2", "[::1]:3");
        let (x, y, z) = ("1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3");
        assert_eq!(order(&[a, b, c, x, y, z]), [a, x, b, y, c, z]);
        assert_eq!(order(&[x, a, b, c]), [x, a, b, c]);
        assert_eq!(order(&[x, y, z, a]), [x, a, y, z]);
        assert_eq!(order(&[x, y]), [x, y]);
        assert!(order(&[]).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn with_keepalive_the_system_watches_too() {
        use std::time::Duration;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let of = async |builder: crate::ChannelBuilder| {
            let channel = builder.build().unwrap();
            let config = channel.shared().config();
            let stream = Way::Tcp(address).connect(config).await.unwrap();
            let Stream::Tcp(socket) = &stream else { unreachable!("it is TCP") };
            socket2::SockRef::from(socket).tcp_user_timeout().unwrap()
        };
        let builder = || crate::Channel::builder(address.to_string());
        let off = of(builder()).await;
        assert!(off.is_none_or(|timeout| timeout.is_zero()), "{off:?}");
        let on = builder().keepalive_time(Duration::from_secs(60));
        assert_eq!(of(on.clone()).await, Some(Duration::from_secs(20)));
        let soon = on.keepalive_timeout(Duration::from_secs(3));
        assert_eq!(of(soon).await, Some(Duration::from_secs(3)));
    }
}
