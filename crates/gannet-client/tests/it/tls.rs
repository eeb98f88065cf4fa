//! TLS against gannet-server: who is trusted, who is refused, and what the errors say.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_client::Channel;
use gannet_client::name::AddressList;
use gannet_core::{Code, Status};
use gannet_server::Server;
use gannet_transport::tls::{ClientTls, ClientTlsBuilder, Identity, Roots, ServerTls};
use gannet_transport::{Listener, PipeConnector, pipe};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::peer::unary;
use crate::server::{Test, all_kinds};

/// An authority of the test's own.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

fn next_number() -> usize {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of one name would be taken for one another.
        params.distinguished_name.push(DnType::CommonName, format!("CA {}", next_number()));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.issuer.pem()).unwrap()
    }

    /// An identity for `name`.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let (certificate, key) = self.issue(name, |_| {});
        Identity::from_pem(certificate, key).unwrap()
    }

    /// A certificate for `name` and its key, both PEM.
    pub(crate) fn issue(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A channel's TLS that trusts this authority.
    pub(crate) fn client(&self) -> ClientTlsBuilder {
        ClientTls::builder().roots(self.roots())
    }
}

/// A server on a port of the system's choice; its target.
fn serve(tls: Option<ServerTls>) -> String {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = format!("localhost:{}", listener.local_addr().unwrap().port());
    let listener = match tls {
        Some(tls) => listener.tls(tls),
        None => listener,
    };
    tokio::spawn(Server::new().add(Test::default()).serve(listener).into_future());
    target
}

fn connect(target: &str, tls: ClientTlsBuilder) -> Channel {
    Channel::builder(target).tls(tls.build().unwrap()).build().unwrap()
}

/// A call that must fail because there is no connection; its message with all causes.
pub(crate) async fn refused(channel: &Channel) -> String {
    let status = unary(channel, b"x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    told(&status)
}

fn told(status: &Status) -> String {
    let mut told = status.to_string();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_over_tls() {
    let authority = Authority::new();
    let target = serve(Some(ServerTls::new(authority.identity("localhost")).unwrap()));
    all_kinds(&connect(&target, authority.client())).await;
    all_kinds(&connect(&format!("https://{target}"), authority.client())).await;
}

#[tokio::test(start_paused = true)]
async fn a_pipe_under_tls() {
    let authority = Authority::new();
    let (connector, listener) = pipe();
    let tls = ServerTls::new(authority.identity("localhost")).unwrap();
    let listener = Listener::from(listener).tls(tls);
    tokio::spawn(Server::new().add(Test::default()).serve(listener).into_future());
    let builder = Channel::builder_with_connector(connector);
    let channel = builder.tls(authority.client().build().unwrap()).build().unwrap();
    // Virtual time, which passes only where everybody waits: for ever, were it not for the limit.
    let all_kinds = tokio::time::timeout(Duration::from_secs(60), all_kinds(&channel));
    all_kinds.await.expect("TLS holds bytes that nobody looks at");
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_for_the_name() {
    let authority = Authority::new();
    let target = serve(Some(ServerTls::new(authority.identity("svc.example")).unwrap()));
    let told = refused(&connect(&target, Authority::new().client())).await;
    assert!(told.contains("the server's certificate is not accepted"), "{told}");
    let told = refused(&connect(&target, authority.client())).await;
    assert!(told.contains("localhost") && told.contains("svc.example"), "{told}");
    let named = connect(&target, authority.client().server_name("svc.example"));
    assert_eq!(unary(&named, b"x").await.unwrap(), b"x");
}

#[tokio::test]
async fn clients_show_certificates_where_they_must() {
    let authority = Authority::new();
    let theirs = Authority::new();
    let builder = || ServerTls::builder(authority.identity("localhost"));
    let strict = serve(Some(builder().client_roots(theirs.roots()).build().unwrap()));
    let good = || authority.client().identity(theirs.identity("client"));
    let bad = || authority.client().identity(authority.identity("client"));
    all_kinds(&connect(&strict, good())).await;
    let told = refused(&connect(&strict, authority.client())).await;
    assert!(told.contains("the peer demands a certificate, and was shown none"), "{told}");
    assert!(!told.contains('?'), "that is no riddle: {told}");
    let not_accepted = "the peer does not accept the certificate that it was shown: ";
    let told = refused(&connect(&strict, bad())).await;
    assert!(told.contains(not_accepted), "{told}");

    let optional = builder().client_roots(theirs.roots()).client_certificates_optional();
    let optional = serve(Some(optional.build().unwrap()));
    all_kinds(&connect(&optional, authority.client())).await;
    all_kinds(&connect(&optional, good())).await;
    let told = refused(&connect(&optional, bad())).await;
    assert!(told.contains(not_accepted), "{told}");
}

/// A server over a pipe, and how to connect to it; it shuts down when the sender is used.
fn serve_pipe() -> (PipeConnector, oneshot::Sender<()>, JoinHandle<()>) {
    let (connector, listener) = pipe();
    let tls = ServerTls::new(Authority::new().identity("localhost")).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Server::new().add(Test::default()).serve(Listener::from(listener).tls(tls));
    let serving = serving.shutdown_on(stopped, Duration::from_secs(30));
    let served = tokio::spawn(async move { serving.await.unwrap() });
    (connector, stop, served)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let (connector, _stop, _served) = serve_pipe();
    let (mut silent, _) = connector.connect().await.unwrap();
    let begun = Instant::now();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_does_not_delay_a_shutdown() {
    let (connector, stop, served) = serve_pipe();
    let (_silent, _) = connector.connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    stop.send(()).unwrap();
    served.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn plaintext_and_tls_do_not_meet() {
    let authority = Authority::new();
    let plain = serve(None);
    let told = refused(&connect(&plain, authority.client())).await;
    assert!(told.contains("the server does not speak TLS"), "{told}");
    let tls = serve(Some(ServerTls::new(authority.identity("localhost")).unwrap()));
    let told = refused(&Channel::new(tls).unwrap()).await;
    assert!(told.contains("speaks TLS") && told.contains("the channel needs `tls(…)`"), "{told}");
}

#[test]
fn schemes_and_builders_agree() {
    let told = Channel::new("https://svc").unwrap_err().to_string();
    assert!(told.contains("https://svc") && told.contains("ClientTls"), "{told}");
    let tls = Authority::new().client().build().unwrap();
    let told = Channel::builder("http://svc").tls(tls).build().unwrap_err().to_string();
    assert!(told.contains("plaintext"), "{told}");
    // And where somebody else says what the target stands for.
    let list = || AddressList::new([std::net::SocketAddr::from(([127, 0, 0, 1], 1))]);
    let given = |target| Channel::builder(target).resolver(list());
    let told = given("https://svc").build().unwrap_err().to_string();
    assert!(told.contains("ClientTls"), "{told}");
    let tls = Authority::new().client().build().unwrap();
    let told = given("http://svc").tls(tls.clone()).build().unwrap_err().to_string();
    assert!(told.contains("plaintext"), "{told}");
    assert!(given("https://svc").tls(tls).build().is_ok());
    assert!(given("http://svc").build().is_ok());
}

#[test]
fn an_authority_that_no_certificate_can_be_for_fails_when_the_channel_is_built() {
    let tls = |name: Option<&str>| {
        let client = Authority::new().client();
        name.into_iter().fold(client, |client, name| client.server_name(name)).build().unwrap()
    };
    let builder = || Channel::builder("h:1").authority("a%2fb");
    assert!(builder().build().is_ok(), "without TLS it may be anything");
    let told = builder().tls(tls(None)).build().unwrap_err().to_string();
    assert!(told.contains("\"a%2fb\" is no name that a certificate can be for"), "{told}");
    assert!(builder().tls(tls(Some("h"))).build().is_ok(), "another name is looked for");
}

#[test]
fn bad_certificates_are_named() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (empty, missing) = (folder.path().join("empty.pem"), folder.path().join("missing.pem"));
    std::fs::write(&empty, "no certificate").unwrap();
    let told = Identity::from_pem_files(&missing, &empty).unwrap_err().to_string();
    assert!(told.contains("missing.pem"), "{told}");
    let told = Identity::from_pem_files(&empty, &empty).unwrap_err().to_string();
    assert!(told.contains("empty.pem holds no certificate"), "{told}");
    let told = Roots::from_pem_file(&empty).unwrap_err().to_string();
    assert!(told.contains("empty.pem holds no certificate"), "{told}");
    let told = Identity::from_pem(authority.issuer.pem(), "no key").unwrap_err().to_string();
    assert!(told.contains("no private key"), "{told}");
    let told = Roots::from_pem("").unwrap_err().to_string();
    assert_eq!(told, "the text of trusted certificates holds no certificate in PEM");
    let other = KeyPair::generate().unwrap();
    let (key, chain) = (other.serialize_pem(), authority.issuer.pem());
    let told = Identity::from_pem(&key, &chain).unwrap_err().to_string();
    assert_eq!(told, "the certificate chain holds a private key, where certificates are wanted");
    let told = Identity::from_pem(&chain, &chain).unwrap_err().to_string();
    assert_eq!(told, "the private key holds a certificate, where a private key is wanted");
    let mixed = Identity::from_pem(authority.issuer.pem(), other.serialize_pem()).unwrap();
    assert!(ServerTls::new(mixed).is_err(), "the key is another's");
    let told = authority.client().server_name("a b").build().unwrap_err().to_string();
    assert!(told.contains("\"a b\""), "{told}");
}
