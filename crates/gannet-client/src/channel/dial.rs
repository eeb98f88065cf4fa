//! One address, and a stream to it.

use std::io;

use gannet_core::Status;
use gannet_transport::{Stream, connect_tcp};

use super::Config;
use crate::name::{Address, Lookups, Way};
use crate::policy::interleaved;

/// Connects to an address that is no name.
///
/// # Errors
/// UNAVAILABLE, with the address in the message.
pub(super) async fn dial(address: &Address, config: &Config) -> Result<Stream, Status> {
    let connected = match address.way() {
        Way::Tcp(address) => connect_tcp(address).await,
        Way::InProcess(connector) => connector.connect().await,
        #[cfg(unix)]
        Way::Unix(path) => gannet_transport::connect_unix(path).await,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Way::UnixAbstract(name) => gannet_transport::connect_unix_abstract(name).await,
        // Names stand for addresses, which are dialed.
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

/// What a name stands for now, in the order in which they are to be tried.
///
/// # Errors
/// UNAVAILABLE, with the name in the message.
pub(super) async fn look_up(host_port: &str, lookups: &Lookups) -> Result<Vec<Address>, Status> {
    let begin = || crate::name::look_up(host_port.to_owned());
    match lookups.join(host_port, begin).await {
        Ok(found) => Ok(interleaved(found.into_iter().map(Address::tcp).collect())),
        Err(error) => Err(Status::from_io(&host_port, error)),
    }
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
