//! One attempt to reach a target: resolve, then try each address in order.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gannet_core::Status;
use gannet_transport::{Stream, connect_tcp};

use super::Config;
use crate::target::Endpoint;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The name could not be resolved.
    Resolve { host: String, error: io::Error },
    /// No address could be reached: each with its reason, at least one.
    Reach(Vec<(String, io::Error)>),
    /// The server's SETTINGS did not come in time.
    TimedOut(Duration),
    /// The connection was lost before the server's SETTINGS came.
    Lost(Status),
}

impl ConnectError {
    /// What calls are told.
    pub(super) fn into_status(self, target: &str) -> Status {
        Status::unavailable(format!("cannot connect to {target}: {self}")).with_source(self)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Resolve { host, error } => write!(f, "cannot resolve {host:?}: {error}"),
            ConnectError::Reach(failures) => {
                for (index, (address, error)) in failures.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{address}: {error}")?;
                }
                Ok(())
            }
            ConnectError::TimedOut(after) => {
                write!(f, "no answer within {:.1} s", after.as_secs_f64())
            }
            ConnectError::Lost(status) => f.write_str(status.message()),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConnectError::Resolve { error, .. } => Some(error),
            ConnectError::Reach(failures) => failures.last().map(|(_, error)| error as _),
            ConnectError::TimedOut(_) => None,
            ConnectError::Lost(status) => Some(status),
        }
    }
}

/// Connects to the target, and says to which address.
pub(super) async fn dial(config: &Config) -> Result<(Stream, String), ConnectError> {
    let target = &config.target;
    match &target.endpoint {
        Endpoint::Addresses(addresses) => dial_any(addresses).await,
        Endpoint::Name { host, port } => {
            let failed = |error| ConnectError::Resolve { host: host.clone(), error };
            let resolved = tokio::net::lookup_host((host.as_str(), *port)).await;
            let addresses: Vec<SocketAddr> = resolved.map_err(failed)?.collect();
            if addresses.is_empty() {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(failed(none));
            }
            dial_any(&addresses).await
        }
        Endpoint::Unix(path) => dial_unix(path).await,
        Endpoint::Connector => {
            let connected = match &config.connector {
                Some(connector) => connector.connect().await,
                None => Err(io::ErrorKind::Unsupported.into()),
            };
            match connected {
                Ok((stream, _)) => Ok((stream, target.text.clone())),
                Err(error) => Err(ConnectError::Reach(vec![(target.text.clone(), error)])),
            }
        }
    }
}

async fn dial_any(addresses: &[SocketAddr]) -> Result<(Stream, String), ConnectError> {
    let mut failures = Vec::new();
    for address in addresses {
        match connect_tcp(*address).await {
            Ok((stream, _)) => return Ok((stream, address.to_string())),
            Err(error) => failures.push((address.to_string(), error)),
        }
    }
    Err(ConnectError::Reach(failures))
}

#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> Result<(Stream, String), ConnectError> {
    let address = format!("unix:{}", path.display());
    match gannet_transport::connect_unix(path).await {
        Ok((stream, _)) => Ok((stream, address)),
        Err(error) => Err(ConnectError::Reach(vec![(address, error)])),
    }
}

#[cfg(not(unix))]
async fn dial_unix(path: &std::path::Path) -> Result<(Stream, String), ConnectError> {
    let error = io::ErrorKind::Unsupported.into();
    Err(ConnectError::Reach(vec![(format!("unix:{}", path.display()), error)]))
}
