//! The server's half: a listener's identity, and clients' certificates.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use super::{ALPN_H2, Identity, Roots, TlsError, TlsStream, error, provider};
use crate::Stream;

/// TLS of a listener. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate; clients need none.
    ///
    /// # Errors
    /// Where the key is not that of the certificate, or of a kind that is not supported.
    pub fn new(identity: Identity) -> Result<ServerTls, TlsError> {
        ServerTls::builder(identity).build()
    }

    /// Starts to configure TLS with this certificate.
    pub fn builder(identity: Identity) -> ServerTlsBuilder {
        ServerTlsBuilder { identity, client_roots: None, certificates_optional: false }
    }

    /// Shakes hands as the server.
    ///
    /// # Errors
    /// In the words of what has to be mended; the stream is closed.
    pub(crate) async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        let shaken = self.acceptor.accept(stream).await;
        let stream = shaken.map_err(|error| error::handshake("client", error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            let told = error::no_h2("client");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        let (io, tls) = stream.into_inner();
        Ok(Stream::Tls(Box::new(TlsStream::new(io, tls.into()))))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Configures [`ServerTls`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerTlsBuilder {
    identity: Identity,
    client_roots: Option<Roots>,
    certificates_optional: bool,
}

impl ServerTlsBuilder {
    /// Demands of every client a certificate that one of these authorities has signed (mutual TLS).
    pub fn client_roots(mut self, roots: Roots) -> Self {
        self.client_roots = Some(roots);
        self
    }

    /// With [`client_roots`](Self::client_roots): lets clients in that show no certificate. One
    /// that is shown must still be good.
    pub fn client_certificates_optional(mut self) -> Self {
        self.certificates_optional = true;
        self
    }

    /// # Errors
    /// Where the key is not that of the certificate, or of a kind that is not supported.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        let provider = provider();
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::with_source("TLS cannot be set up", error))?;
        let config = match self.client_roots {
            None => config.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.store, provider);
                let verifier = if self.certificates_optional {
                    verifier.allow_unauthenticated()
                } else {
                    verifier
                };
                let built = verifier.build();
                config.with_client_cert_verifier(built.map_err(|error| {
                    TlsError::with_source("the authorities of clients are of no use", error)
                })?)
            }
        };
        let mut config =
            config.with_single_cert(self.identity.chain, self.identity.key).map_err(|error| {
                TlsError::with_source("the certificate and its key cannot be used", error)
            })?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(ServerTls { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
