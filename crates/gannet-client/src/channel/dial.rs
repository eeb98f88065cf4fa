//! One address, and a stream to it.

use std::io;

use gannet_core::Status;
use gannet_transport::{Peer, Stream, connect_tcp};

use super::Config;
use crate::name::{Address, Way};

/// Connects.
///
/// # Errors
/// UNAVAILABLE, with the address in the message.
pub(super) async fn dial(address: &Address, config: &Config) -> Result<Stream, Status> {
    let connected = match address.way() {
        Way::Tcp(address) => connect_tcp(address).await,
        Way::Named(host_port) => connect_named(host_port).await,
        Way::InProcess(connector) => connector.connect().await,
        #[cfg(unix)]
        Way::Unix(path) => gannet_transport::connect_unix(path).await,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Way::UnixAbstract(name) => gannet_transport::connect_unix_abstract(name).await,
        #[allow(unreachable_patterns, reason = "not on all systems")]
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    let failed = |error| Status::from_io(address, error);
    let (stream, _) = connected.map_err(failed)?;
    if let Some(keepalive) = &config.keepalive {
        stream.set_user_timeout(keepalive.timeout);
    }
    match &config.tls {
        None => Ok(stream),
        Some(tls) => tls.connect(stream, &config.authority).await.map_err(failed),
    }
}

/// The first of the name's addresses that answers.
async fn connect_named(host_port: &str) -> io::Result<(Stream, Peer)> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(host_port).await? {
        match connect_tcp(address).await {
            Ok(connected) => return Ok(connected),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn with_keepalive_the_system_watches_too() {
        use std::time::Duration;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let of = async |builder: crate::ChannelBuilder| {
            let channel = builder.build().unwrap();
            let config = channel.shared().config();
            let stream = dial(&Address::tcp(address), config).await.unwrap();
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
