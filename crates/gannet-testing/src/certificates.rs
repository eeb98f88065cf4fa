//! [`Authority`]: certificates for tests of TLS, made when they are needed.

use std::fmt;

use gannet_transport::tls::{ClientTls, Identity, Roots, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// A certificate authority that lives as long as a test.
///
/// ```
/// # use gannet_testing::{Authority, InProcess, example::{ECHO, Echo}};
/// # use gannet_core::codec::Raw;
/// # use gannet_server::Server;
/// # gannet_testing::virtual_time(async {
/// let authority = Authority::new();
/// let server = InProcess::serve_tls(Server::new().add(Echo), authority.server_tls("localhost"));
/// let channel = server.builder().tls(authority.client_tls()).build().unwrap();
/// let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], b"hi".to_vec());
/// assert_eq!(call.await.unwrap(), b"hi");
/// # });
/// ```
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one with a key of its own.
    ///
    /// # Panics
    /// Where the system has no randomness.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect(RANDOM);
        let issuer = CertifiedIssuer::self_signed(params, key).expect(RANDOM);
        Authority { issuer }
    }

    /// Its certificate, as PEM: what others trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The same, for a channel or a server.
    ///
    /// # Panics
    /// Never, as it is a certificate.
    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem()).expect("it is a certificate")
    }

    /// A certificate with its key for these names, as PEM. A name is that of a host, an address, or
    /// a URI, such as a SPIFFE ID.
    ///
    /// # Panics
    /// Where a name cannot be that of a certificate.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().expect(RANDOM);
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| name_of(name)).collect();
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("names are fit for it");
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate with its key, for a server or a client: see [`issue`](Self::issue).
    ///
    /// # Panics
    /// As there.
    pub fn identity(&self, names: &[&str]) -> Identity {
        let (chain, key) = self.issue(names);
        Identity::from_pem(chain, key).expect("they belong together")
    }

    /// What a server of this name needs. Channels without a name call `localhost`.
    ///
    /// # Panics
    /// As [`issue`](Self::issue).
    pub fn server_tls(&self, name: &str) -> ServerTls {
        ServerTls::new(self.identity(&[name])).expect("its own certificate can be used")
    }

    /// As [`server_tls`](Self::server_tls), for clients that show a certificate of this authority.
    ///
    /// # Panics
    /// As there.
    pub fn mutual_tls(&self, name: &str) -> ServerTls {
        let tls = ServerTls::builder(self.identity(&[name])).client_roots(self.roots());
        tls.build().expect("its own certificate can be used")
    }

    /// What a channel needs to trust such servers.
    ///
    /// # Panics
    /// Never, as it is a certificate.
    pub fn client_tls(&self) -> ClientTls {
        ClientTls::builder().roots(self.roots()).build().expect("it is a certificate")
    }

    /// The same, and a certificate to be shown, for these names.
    ///
    /// # Panics
    /// As [`issue`](Self::issue).
    pub fn client_tls_as(&self, names: &[&str]) -> ClientTls {
        let tls = ClientTls::builder().roots(self.roots()).identity(self.identity(names));
        tls.build().expect("its own certificate can be used")
    }
}

const RANDOM: &str = "the system has randomness";

fn name_of(name: &str) -> SanType {
    let text = || name.to_owned().try_into().expect("a name is plain ASCII");
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text()),
        Err(_) => SanType::DnsName(text()),
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
