//! The server's half: a listener's identity, and clients' certificates.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{Acceptor, WebPkiClientVerifier};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::first::{First, Plain};
use super::live::{Following, Live, following_methods};
use super::plain::{HTTP1, http2_answer};
use super::{ALPN_H2, Crls, Identity, Provider, Roots, TlsError, TlsPeer, TlsStream, error};
use crate::{Peer, Stream};

/// TLS of a listener. Cheap to clone; clones share keys of session tickets, and what is reloaded.
#[derive(Clone)]
pub struct ServerTls {
    live: Arc<Live<Settings>>,
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
        ServerTlsBuilder {
            settings: Settings {
                provider: Provider::default(),
                identity,
                client_roots: None,
                client_crls: None,
                certificates_optional: false,
            },
            following: Following::default(),
        }
    }

    /// Reads again what came from files; whether something has changed. Handshakes from now on use
    /// it, connections that exist live on. Clients whose certificates were accepted by other roots
    /// or revocation lists cannot resume their sessions, and show them again.
    ///
    /// Blocks while it reads. Also done by itself with
    /// [`reload_every`](ServerTlsBuilder::reload_every).
    ///
    /// # Errors
    /// What is wrong with the files; what was read last stays in force.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.live.reload()
    }

    /// Shakes hands as the server. What the future holds is held for each client that has begun and
    /// does not go on: one state of rustls' at a time, and nothing of what only refusals need.
    ///
    /// # Errors
    /// In the words of what has to be mended; the stream is closed.
    pub(crate) async fn accept(self, stream: Stream, peer: Peer) -> io::Result<(Stream, Peer)> {
        let start = match Box::pin(hear(stream)).await {
            Ok(start) => start,
            Err(refusal) => return Err(Box::pin(refusal.tell()).await),
        };
        let config = self.live.fresh().await;
        let shaken = Box::pin(start.into_stream(config).into_fallible()).await;
        let stream = match shaken.map(Box::new) {
            Ok(stream) => stream,
            Err((error, first)) => {
                Box::pin(part_from(first.io)).await;
                return Err(error::answered(error));
            }
        };
        let (first, tls) = stream.into_inner();
        // rustls has refused who offers others only.
        debug_assert_eq!(tls.alpn_protocol(), Some(ALPN_H2));
        let tls = tls.into();
        let peer = Peer::Tls(Box::new(TlsPeer::new(peer, &tls)));
        Ok((Stream::Tls(Box::new(TlsStream::new(first.io, tls))), peer))
    }
}

/// Hears the client's hello.
async fn hear(stream: Stream) -> Result<Box<StartHandshake<First>>, Refusal> {
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), First::new(stream));
    match (&mut hello).await {
        Ok(start) if start.client_hello().alpn().is_none() => Err(Refusal::NoProtocol(start.io.io)),
        Ok(start) => Ok(Box::new(start)),
        Err(error) => Err(Refusal::NoHello(error, hello.take_io())),
    }
}

/// A handshake that has not begun well.
enum Refusal {
    /// A client that offers no protocol.
    NoProtocol(Stream),
    /// What came is no hello, or none that is understood.
    NoHello(io::Error, Option<First>),
}

impl Refusal {
    /// Tells the client, and ends; what it means.
    async fn tell(self) -> io::Error {
        let (error, first) = match self {
            Refusal::NoProtocol(stream) => {
                answer(stream, NO_APPLICATION_PROTOCOL).await;
                return io::Error::new(io::ErrorKind::InvalidData, error::no_h2("client"));
            }
            Refusal::NoHello(error, Some(first)) => (error, first),
            Refusal::NoHello(error, None) => return error::handshake("client", error),
        };
        let plain = first.plain();
        let First { mut io, said, .. } = first;
        match plain {
            Some(Plain::Http1) => answer(io, HTTP1).await,
            Some(Plain::Http2) => {
                let told = http2_answer(&mut io, said).await;
                answer(io, &told).await;
            }
            Some(Plain::OldTls) => answer(io, PROTOCOL_VERSION).await,
            Some(Plain::Other) | None => part_from(io).await,
        }
        match plain {
            Some(plain) => error::plain("client", plain),
            None => error::handshake("client", error),
        }
    }
}

/// The alert of that name, fatal (RFC 7301 section 3.2), before anything is encrypted. rustls goes
/// on with a client that offers no protocol at all, and what would follow tells it nothing.
const NO_APPLICATION_PROTOCOL: &[u8] = &[21, 3, 3, 0, 2, 2, 120];
/// The alert of that name, fatal (RFC 8446 section 6.2).
const PROTOCOL_VERSION: &[u8] = &[21, 3, 1, 0, 2, 2, 70];

/// Closes our half, and lets the peer read why: a socket that is closed with unread bytes in it
/// makes TCP send a reset, which may destroy the alert, or answer, that is on its way.
async fn part_from(mut peer: impl AsyncRead + AsyncWrite + Unpin) {
    let parting = async {
        peer.shutdown().await?;
        let mut left = LINGER_BYTES_MAX;
        let mut thrown_away = [0; 1 << 10];
        while left > 0 {
            match peer.read(&mut thrown_away).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    };
    // Whether that went well matters to nobody any more.
    let _ = timeout(LINGER, parting).await;
}

/// How long the peer may take to read it, within the time that a handshake has.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of the peer that are thrown away meanwhile, at most.
const LINGER_BYTES_MAX: usize = 256 << 10;

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Says that much and no more. Whether it arrives matters to nobody here.
async fn answer(mut stream: Stream, bytes: &[u8]) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(bytes)).await {
        part_from(stream).await;
    }
}

/// Configures [`ServerTls`].
#[must_use = "a builder does nothing until `build`"]
pub struct ServerTlsBuilder {
    settings: Settings,
    following: Following,
}

impl ServerTlsBuilder {
    /// Demands of every client a certificate that one of these authorities has signed (mutual TLS).
    pub fn client_roots(mut self, roots: Roots) -> Self {
        self.settings.client_roots = Some(roots);
        self
    }

    /// With [`client_roots`](Self::client_roots): refuses clients whose certificate, or that of an
    /// authority above it, is revoked.
    pub fn client_crls(mut self, crls: Crls) -> Self {
        self.settings.client_crls = Some(crls);
        self
    }

    /// With [`client_roots`](Self::client_roots): lets clients in that show no certificate. One
    /// that is shown must still be good.
    pub fn client_certificates_optional(mut self) -> Self {
        self.settings.certificates_optional = true;
        self
    }

    /// Whose cryptography is used.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.settings.provider = provider;
        self
    }

    following_methods!();

    /// # Errors
    /// Where the key is not that of the certificate, or of a kind that is not supported, or there
    /// are revocation lists for clients and no roots.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        Ok(ServerTls { live: Arc::new(Live::new(self.settings, self.following)?) })
    }
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// What a configuration is made of.
#[derive(Clone, Debug)]
struct Settings {
    provider: Provider,
    identity: Identity,
    client_roots: Option<Roots>,
    client_crls: Option<Crls>,
    certificates_optional: bool,
}

impl Settings {
    /// Whether the same certificates are accepted of clients.
    fn trusts_as(&self, other: &Settings) -> bool {
        self.client_roots == other.client_roots && self.client_crls == other.client_crls
    }

    fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(roots) = &self.client_roots else {
            return match self.client_crls {
                Some(_) => Err(TlsError::new(
                    "revocation lists for clients' certificates need the roots that sign them",
                )),
                None => Ok(None),
            };
        };
        let crypto = Arc::clone(&self.provider.crypto);
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.store), crypto);
        if let Some(crls) = &self.client_crls {
            verifier = verifier.with_crls(crls.lists.iter().cloned());
            if crls.allows_unknown {
                verifier = verifier.allow_unknown_revocation_status();
            }
            if crls.refuses_outdated {
                verifier = verifier.enforce_revocation_expiration();
            }
        }
        if self.certificates_optional {
            verifier = verifier.allow_unauthenticated();
        }
        let told = "the authorities of clients or their revocation lists are of no use";
        verifier.build().map(Some).map_err(|error| TlsError::with_source(told, error))
    }
}

impl super::live::Settings for Settings {
    type Config = ServerConfig;

    fn reread(&self) -> Result<Option<Settings>, TlsError> {
        let read = Settings {
            identity: self.identity.reread()?,
            client_roots: self.client_roots.as_ref().map(Roots::reread).transpose()?,
            client_crls: self.client_crls.as_ref().map(Crls::reread).transpose()?,
            ..self.clone()
        };
        let is_same = read.identity == self.identity && read.trusts_as(self);
        Ok((!is_same).then_some(read))
    }

    fn build(&self, before: Option<(&Settings, &ServerConfig)>) -> Result<ServerConfig, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider.crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::with_source("TLS cannot be set up", error))?;
        let config = match self.verifier()? {
            None => config.with_no_client_auth(),
            Some(verifier) => config.with_client_cert_verifier(verifier),
        };
        let identity = self.identity.clone();
        let mut config = config
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| self.identity.unusable(error))?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        match before {
            // A session says that a certificate was accepted, and nobody looks at it again.
            Some((settings, before)) if settings.trusts_as(self) => {
                config.ticketer = Arc::clone(&before.ticketer);
                config.session_storage = Arc::clone(&before.session_storage);
            }
            _ => config.ticketer = self.provider.tickets()?,
        }
        Ok(config)
    }
}
