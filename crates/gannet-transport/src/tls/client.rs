//! The client's half: whom a channel trusts, and what it shows.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{ALPN_H2, Identity, Roots, TlsError, TlsStream, error, provider};
use crate::Stream;

/// TLS of a channel. Cheap to clone; clones share sessions that can be resumed.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// TLS 1.2 and 1.3, trusting the authorities that the operating system trusts.
    ///
    /// # Errors
    /// Where the system has none.
    pub fn new() -> Result<ClientTls, TlsError> {
        ClientTls::builder().build()
    }

    /// Starts to configure TLS.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }

    /// Shakes hands as the client. `authority`: the host, with or without a port, that the
    /// certificate must be for, unless [`server_name`](ClientTlsBuilder::server_name) says another.
    ///
    /// # Errors
    /// In the words of what has to be mended; the stream is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    pub async fn connect(&self, stream: Stream, authority: &str) -> io::Result<Stream> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => {
                let host = host_of(authority);
                name_of(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            }
        };
        let shaken = self.connector.connect(name, stream).await;
        let stream = shaken.map_err(|error| error::handshake("server", error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            let told = error::no_h2("server");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        let (io, tls) = stream.into_inner();
        Ok(Stream::Tls(Box::new(TlsStream::new(io, tls.into()))))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Configures [`ClientTls`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientTlsBuilder {
    roots: Option<Roots>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

impl ClientTlsBuilder {
    /// Trusts these authorities instead of the system's.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Shows this certificate to servers that ask for one (mutual TLS).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The name that the server's certificate must be for, in place of the target's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// # Errors
    /// Where the system has no authorities and none were given, a key does not fit its certificate,
    /// or the server name is neither a DNS name nor an address.
    pub fn build(self) -> Result<ClientTls, TlsError> {
        let roots = match self.roots {
            Some(roots) => roots,
            None => Roots::system()?,
        };
        let server_name = self.server_name.as_deref().map(name_of).transpose()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::with_source("TLS cannot be set up", error))?
            .with_root_certificates(roots.store);
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                config.with_client_auth_cert(chain, key).map_err(|error| {
                    TlsError::with_source("the certificate and its key cannot be used", error)
                })?
            }
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(ClientTls { connector: TlsConnector::from(Arc::new(config)), server_name })
    }
}

fn name_of(name: &str) -> Result<ServerName<'static>, TlsError> {
    if let Ok(ip) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(ip.into()));
    }
    ServerName::try_from(name.to_owned()).map_err(|error| {
        let problem = format!("{name:?} is no name that a certificate can be for");
        TlsError::with_source(problem, error)
    })
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port_and_nothing_else() {
        let table = [
            ("svc:50051", "svc"),
            ("svc", "svc"),
            ("[::1]:7", "[::1]"),
            ("127.0.0.1:7", "127.0.0.1"),
        ];
        for (authority, host) in table {
            assert_eq!(host_of(authority), host);
            assert!(name_of(host).is_ok(), "{host}");
        }
        let error = name_of("a b").unwrap_err().to_string();
        assert!(error.contains("\"a b\""), "{error}");
    }
}
