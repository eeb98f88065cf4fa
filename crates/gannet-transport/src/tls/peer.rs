//! Who is at the other end of TLS: the certificate that was shown, and its names.

use std::fmt;
use std::net::IpAddr;

use tokio_rustls::rustls::{Connection, HandshakeKind};

use super::names;
use crate::Peer;

/// The other end of a connection under TLS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsPeer {
    below: Peer,
    certificate: Option<Box<PeerCertificate>>,
    is_resumed: bool,
}

impl TlsPeer {
    /// After the handshake.
    pub(super) fn new(below: Peer, tls: &Connection) -> TlsPeer {
        let chain = tls.peer_certificates().unwrap_or_default();
        let certificate = (!chain.is_empty()).then(|| {
            Box::new(PeerCertificate::new(chain.iter().map(|der| der.as_ref().into()).collect()))
        });
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        TlsPeer { below, certificate, is_resumed }
    }

    /// Where it is, without TLS.
    pub fn below(&self) -> &Peer {
        &self.below
    }

    /// The certificate that it has shown and that was accepted; `None` where it has shown none.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_deref()
    }

    /// Whether the handshake went on from an earlier session. The certificate is then the one that
    /// was accepted in that session.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}

impl fmt::Debug for TlsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPeer")
            .field("below", &self.below)
            .field("certificate", &self.certificate)
            .field("is_resumed", &self.is_resumed)
            .finish()
    }
}

/// The certificate that a peer has proven to be its own, with the chain that it sent along. An
/// authority that is trusted has signed it.
///
/// Names that are no plain ASCII where they have to be, or addresses of an odd length, are left
/// out.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PeerCertificate {
    chain: Vec<Box<[u8]>>,
    pub(super) common_name: Option<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) ip_addresses: Vec<IpAddr>,
}

impl PeerCertificate {
    /// `chain`: certificates as DER, the peer's own first.
    pub(super) fn new(chain: Vec<Box<[u8]>>) -> PeerCertificate {
        let mut certificate = PeerCertificate::default();
        if let Some(own) = chain.first() {
            // Names of a certificate that cannot be read on are those that were read.
            let _ = names::read(own, &mut certificate);
        }
        PeerCertificate { chain, ..certificate }
    }

    /// A certificate that nobody has shown and nobody has judged.
    #[cfg(feature = "fuzzing")]
    pub fn unjudged(der: &[u8]) -> PeerCertificate {
        PeerCertificate::new(vec![der.into()])
    }

    /// The certificates that the peer sent, as DER, its own first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.chain.iter().map(|der| &**der)
    }

    /// The peer's own certificate, as DER.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |own| own)
    }

    /// The first common name of the subject. Not a name to tell peers apart by where there are
    /// subject alternative names.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject alternative names that are DNS names, possibly with a wildcard.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The subject alternative names that are URIs.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The subject alternative names that are e-mail addresses.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    /// The subject alternative names that are IP addresses.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.ip_addresses
    }

    /// The SPIFFE ID: the one URI, where it is one of `spiffe:`. A certificate with several URIs
    /// has none (X.509-SVID section 2).
    pub fn spiffe_id(&self) -> Option<&str> {
        match &*self.uris {
            [one] if one.starts_with("spiffe://") => Some(one),
            _ => None,
        }
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("chain", &self.chain.len())
            .field("common_name", &self.common_name)
            .field("dns_names", &self.dns_names)
            .field("uris", &self.uris)
            .field("emails", &self.emails)
            .field("ip_addresses", &self.ip_addresses)
            .finish()
    }
}
