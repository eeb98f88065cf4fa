//! The client's half: whom a channel trusts, and what it shows.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::pki_types::ServerName;

use super::first::First;
use super::live::{Following, Live, following_methods};
use super::{ALPN_H2, Crls, Identity, Provider, Roots, TlsError, TlsStream, error};
use crate::Stream;

/// TLS of a channel. Cheap to clone; clones share sessions that can be resumed, and what is
/// reloaded.
#[derive(Clone)]
pub struct ClientTls {
    live: Arc<Live<Settings>>,
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

    /// Reads again what came from files; whether something has changed. Handshakes from now on use
    /// it, and none resumes a session from before; connections that exist live on.
    ///
    /// Blocks while it reads. Also done by itself with
    /// [`reload_every`](ClientTlsBuilder::reload_every).
    ///
    /// # Errors
    /// What is wrong with the files; what was read last stays in force.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.live.reload()
    }

    /// Whether there can be a certificate for `authority`, as [`connect`](Self::connect) takes it.
    ///
    /// # Errors
    /// The name, and that there can be none.
    pub fn check_authority(&self, authority: &str) -> Result<(), TlsError> {
        self.name(authority).map(drop)
    }

    fn name(&self, authority: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => name_of(host_of(authority)),
        }
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
        let name = self.name(authority);
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(self.live.fresh().await);
        let shaken = connector.connect(name, First::new(stream)).into_fallible().await;
        let stream = shaken.map_err(|(error, first)| match first.plain() {
            Some(plain) => error::plain("server", plain),
            None => error::handshake("server", error),
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            let told = error::no_h2("server");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        let (first, tls) = stream.into_inner();
        Ok(Stream::Tls(Box::new(TlsStream::new(first.io, tls.into()))))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Configures [`ClientTls`].
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientTlsBuilder {
    provider: Provider,
    roots: Option<Roots>,
    crls: Option<Crls>,
    identity: Option<Identity>,
    server_name: Option<String>,
    following: Following,
}

impl ClientTlsBuilder {
    /// Trusts these authorities instead of the system's.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Refuses servers whose certificate, or that of an authority above it, is revoked.
    pub fn crls(mut self, crls: Crls) -> Self {
        self.crls = Some(crls);
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

    /// Whose cryptography is used.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    following_methods!();

    /// # Errors
    /// Where the system has no authorities and none were given, a key does not fit its certificate,
    /// or the server name is neither a DNS name nor an address.
    pub fn build(self) -> Result<ClientTls, TlsError> {
        let roots = match self.roots {
            Some(roots) => roots,
            None => Roots::system()?,
        };
        let server_name = self.server_name.as_deref().map(name_of).transpose()?;
        let (provider, crls, identity) = (self.provider, self.crls, self.identity);
        let settings = Settings { provider, roots, crls, identity };
        Ok(ClientTls { live: Arc::new(Live::new(settings, self.following)?), server_name })
    }
}

impl fmt::Debug for ClientTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsBuilder")
            .field("roots", &self.roots)
            .field("crls", &self.crls)
            .field("identity", &self.identity)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// What a configuration is made of.
#[derive(Clone)]
struct Settings {
    provider: Provider,
    roots: Roots,
    crls: Option<Crls>,
    identity: Option<Identity>,
}

impl super::live::Settings for Settings {
    type Config = ClientConfig;

    fn reread(&self) -> Result<Option<Settings>, TlsError> {
        let read = Settings {
            provider: self.provider.clone(),
            roots: self.roots.reread()?,
            crls: self.crls.as_ref().map(Crls::reread).transpose()?,
            identity: self.identity.as_ref().map(Identity::reread).transpose()?,
        };
        let is_same =
            read.roots == self.roots && read.crls == self.crls && read.identity == self.identity;
        Ok((!is_same).then_some(read))
    }

    /// Sessions are not taken over: each is worth what was trusted and shown when it began.
    fn build(&self, _: Option<(&Settings, &ClientConfig)>) -> Result<ClientConfig, TlsError> {
        let crypto = &self.provider.crypto;
        let mut verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots.store),
            Arc::clone(crypto),
        );
        if let Some(crls) = &self.crls {
            verifier = verifier.with_crls(crls.lists.iter().cloned());
            if crls.allows_unknown {
                verifier = verifier.allow_unknown_revocation_status();
            }
            if crls.refuses_outdated {
                verifier = verifier.enforce_revocation_expiration();
            }
        }
        let told = "the trusted certificates or the revocation lists are of no use";
        let verifier = verifier.build().map_err(|error| TlsError::with_source(told, error))?;
        let config = ClientConfig::builder_with_provider(Arc::clone(crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::with_source("TLS cannot be set up", error))?
            .with_webpki_verifier(verifier);
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let Identity { chain, key, .. } = identity.clone();
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|error| identity.unusable(error))?
            }
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(config)
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
