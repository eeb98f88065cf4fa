//! TLS as it goes on: files that change, certificates that are revoked, sessions that are resumed,
//! what the server knows of a client, and what is said to those that speak something else.

use std::fmt::Display;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::Channel;
use gannet_http2::Reason;
use gannet_server::Server;
use gannet_transport::tls::{
    ClientTls, ClientTlsBuilder, Crls, Identity, Roots, ServerTls, ServerTlsBuilder,
};
use gannet_transport::{Listener, PipeConnector, pipe};
use rcgen::{
    CertificateRevocationListParams, DnType, KeyIdMethod, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::unary;
use crate::server::Test;
use crate::tls::{Authority, refused};
use crate::wire::{ACK, END, END_HEADERS, GOAWAY, HEADERS, SETTINGS, Wire, block, frame};

const MINUTE: Duration = Duration::from_secs(60);

/// What was told, in order.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, what: &dyn Display) {
        self.0.lock().unwrap().push(what.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A server over a pipe; how to connect to it, and the errors of its connections.
fn serve(tls: Option<ServerTls>) -> (PipeConnector, Told) {
    let (connector, listener) = pipe();
    let told = Told::default();
    let note = told.clone();
    let listener = match tls {
        Some(tls) => Listener::from(listener).tls(tls),
        None => listener.into(),
    };
    let server = Server::new()
        .on_connection_error(move |peer, why| {
            let mut text = format!("{peer}: {why}");
            let mut cause = std::error::Error::source(why);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            note.note(&text);
        })
        .add(Test::default());
    tokio::spawn(server.serve(listener).into_future());
    (connector, told)
}

/// A channel with a connection of its own.
fn connect(connector: &PipeConnector, tls: &ClientTls) -> Channel {
    let builder = Channel::builder_with_connector(connector.clone()).tls(tls.clone());
    builder.authority("localhost").build().unwrap()
}

/// What the server says the peer of this channel is.
async fn who(channel: &Channel) -> String {
    String::from_utf8(unary(channel, b"who").await.unwrap()).unwrap()
}

/// Files of an identity in a folder, and what they hold.
struct Files {
    _folder: tempfile::TempDir,
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new((chain, key): &(String, String)) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = Files { chain: path("chain.pem"), key: path("key.pem"), _folder: folder };
        std::fs::write(&files.chain, chain).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    fn identity(&self) -> Identity {
        Identity::from_pem_files(&self.chain, &self.key).unwrap()
    }
}

/// An authority's revocation list with these serial numbers, as PEM.
fn crl(authority: &Authority, number: u64, revoked: &[u64]) -> String {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(4000, 1, 1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

fn mutual(authority: &Authority) -> ServerTlsBuilder {
    ServerTls::builder(authority.identity("localhost")).client_roots(authority.roots())
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_the_clients_certificate_and_sessions_are_resumed() {
    let authority = Authority::new();
    let (connector, _) = serve(Some(mutual(&authority).build().unwrap()));
    let (chain, key) = authority.issue("client.example", |params| {
        let uri = "spiffe://example/ns/a".to_owned().try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, "The Client");
    });
    let tls = authority.client().identity(Identity::from_pem(chain, key).unwrap());
    let tls = tls.build().unwrap();
    let first = who(&connect(&connector, &tls)).await;
    for part in ["chain: 1", "client.example", "spiffe://example/ns/a", "The Client"] {
        assert!(first.contains(part), "{first}");
    }
    assert!(first.contains("is_resumed: false"), "{first}");
    // The same certificate, from the session's ticket.
    let second = who(&connect(&connector, &tls)).await;
    assert_eq!(second, first.replace("is_resumed: false", "is_resumed: true"));
}

#[tokio::test(start_paused = true)]
async fn without_mutual_tls_there_is_no_certificate() {
    let authority = Authority::new();
    let tls = ServerTls::new(authority.identity("localhost")).unwrap();
    let (connector, _) = serve(Some(tls));
    let told = who(&connect(&connector, &authority.client().build().unwrap())).await;
    assert!(told.contains("certificate: None"), "{told}");
}

/// A server whose certificate lies in files that it follows, and what it says about them.
fn serve_files(files: &Files) -> (PipeConnector, Told) {
    let told = Told::default();
    let note = told.clone();
    let tls = ServerTls::builder(files.identity()).reload_every(MINUTE);
    let tls = tls.on_reload(move |outcome| match outcome {
        Ok(()) => note.note(&"ok"),
        Err(error) => note.note(error),
    });
    let (connector, _) = serve(Some(tls.build().unwrap()));
    (connector, told)
}

#[tokio::test(start_paused = true)]
async fn a_servers_files_are_followed_and_connections_live_on() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue("localhost", |_| {}));
    let (connector, told) = serve_files(&files);
    let old = connect(&connector, &authority.client().build().unwrap());
    let first = who(&old).await;

    let (chain, key) = authority.issue("new.example", |_| {});
    let new_name = || authority.client().server_name("new.example").build().unwrap();
    std::fs::write(&files.key, key).unwrap();
    // It is not time yet.
    let refusal = refused(&connect(&connector, &new_name())).await;
    assert!(refusal.contains("localhost") && refusal.contains("new.example"), "{refusal}");
    assert_eq!(told.take(), Vec::<String>::new());
    // The key alone fits no certificate: what there was stays, and that is told once.
    for expected in [1, 0] {
        tokio::time::sleep(MINUTE).await;
        let channel = connect(&connector, &authority.client().build().unwrap());
        assert_eq!(who(&channel).await, first);
        let told = told.take();
        assert_eq!(told.len(), expected, "{told:?}");
        assert!(told.iter().all(|told| told.contains("cannot be used together")), "{told:?}");
    }
    // Now they are a pair again.
    std::fs::write(&files.chain, chain).unwrap();
    tokio::time::sleep(MINUTE).await;
    who(&connect(&connector, &new_name())).await;
    assert_eq!(told.take(), ["ok"]);
    // Broken files are named and change nothing.
    std::fs::write(&files.chain, "nothing").unwrap();
    tokio::time::sleep(MINUTE).await;
    who(&connect(&connector, &new_name())).await;
    let told = told.take();
    assert!(told.len() == 1 && told[0].contains("chain.pem holds no certificate"), "{told:?}");
    // This connection could not be made any more, and goes on.
    assert_eq!(who(&old).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_clients_files_are_followed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::new(&authority.issue("one.example", |_| {}));
    let roots = files.chain.with_file_name("roots.pem");
    std::fs::write(&roots, other.issuer.pem()).unwrap();
    let (connector, _) = serve(Some(mutual(&authority).build().unwrap()));
    let builder = ClientTls::builder().roots(Roots::from_pem_file(&roots).unwrap());
    let tls = builder.identity(files.identity()).reload_every(MINUTE).build().unwrap();
    let refusal = refused(&connect(&connector, &tls)).await;
    assert!(refusal.contains("no authority that is trusted has signed it"), "{refusal}");
    std::fs::write(&roots, authority.issuer.pem()).unwrap();
    tokio::time::sleep(MINUTE).await;
    let told = who(&connect(&connector, &tls)).await;
    assert!(told.contains("one.example"), "{told}");

    let (chain, key) = authority.issue("two.example", |_| {});
    std::fs::write(&files.chain, chain).unwrap();
    std::fs::write(&files.key, key).unwrap();
    assert!(tls.reload().unwrap());
    assert!(!tls.reload().unwrap(), "nothing has changed since");
    let told = who(&connect(&connector, &tls)).await;
    assert!(told.contains("two.example") && told.contains("is_resumed: false"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_revoked_is_refused_and_cannot_resume() {
    let authority = Authority::new();
    let serial = |number: u64| {
        let issue = authority.issue("client", |params| {
            params.serial_number = Some(SerialNumber::from(number));
        });
        let identity = Identity::from_pem(issue.0, issue.1).unwrap();
        authority.client().identity(identity).build().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |text: String| std::fs::write(folder.path().join("a.r0"), text).unwrap();
    std::fs::write(folder.path().join("README"), "revocation lists").unwrap();
    write(crl(&authority, 1, &[4]));
    let tls = mutual(&authority).client_crls(Crls::from_pem_folder(folder.path()).unwrap());
    let tls = tls.reload_every(MINUTE).build().unwrap();
    let (connector, told) = serve(Some(tls.clone()));
    let (good, bad) = (serial(7), serial(8));
    let open = connect(&connector, &bad);
    for client in [&good, &bad] {
        who(&connect(&connector, client)).await;
        assert!(who(&connect(&connector, client)).await.contains("is_resumed: true"));
    }
    who(&open).await;
    assert!(!tls.reload().unwrap());
    write(crl(&authority, 2, &[4, 8]));
    // It is not time yet.
    assert!(who(&connect(&connector, &bad)).await.contains("is_resumed: true"));
    tokio::time::sleep(MINUTE).await;
    // The server has looked by itself: who is not revoked shows the certificate again.
    assert!(who(&connect(&connector, &good)).await.contains("is_resumed: false"));
    assert_eq!(told.take(), Vec::<String>::new());
    let refusal = refused(&connect(&connector, &bad)).await;
    assert!(refusal.contains("CertificateRevoked"), "{refusal}");
    let told = told.take();
    assert!(told.len() == 1 && told[0].contains("it is revoked"), "{told:?}");
    who(&open).await;
    // A call looks at once.
    assert!(!tls.reload().unwrap(), "nothing has changed since");
    write(crl(&authority, 3, &[4, 7, 8]));
    assert!(tls.reload().unwrap());
    let refusal = refused(&connect(&connector, &good)).await;
    assert!(refusal.contains("CertificateRevoked"), "{refusal}");
    who(&open).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_revoked_or_unknown_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let issued = authority.issue("localhost", |params| {
        params.serial_number = Some(SerialNumber::from(9));
    });
    let identity = Identity::from_pem(issued.0, issued.1).unwrap();
    let (connector, _) = serve(Some(ServerTls::new(identity).unwrap()));
    let with = |crls: Crls| connect(&connector, &authority.client().crls(crls).build().unwrap());
    let of = |authority, revoked: &[u64]| Crls::from_pem(crl(authority, 1, revoked)).unwrap();
    who(&with(of(&authority, &[8]))).await;
    let told = refused(&with(of(&authority, &[9]))).await;
    assert!(told.contains("it is revoked"), "{told}");
    let told = refused(&with(of(&other, &[9]))).await;
    assert!(told.contains("there is no revocation list of its issuer"), "{told}");
    who(&with(of(&other, &[9]).allow_unknown())).await;
    let told = Crls::from_pem("none").unwrap_err().to_string();
    assert!(told.contains("holds no revocation list"), "{told}");
    let told = Crls::from_pem_folder(Path::new("/nowhere")).unwrap_err().to_string();
    assert!(told.contains("/nowhere"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn outdated_lists_count_unless_it_is_said() {
    let authority = Authority::new();
    let (connector, _) = serve(Some(ServerTls::new(authority.identity("localhost")).unwrap()));
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2020, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let old = Crls::from_pem(params.signed_by(&authority.issuer).unwrap().pem().unwrap()).unwrap();
    let with = |crls: Crls| connect(&connector, &authority.client().crls(crls).build().unwrap());
    who(&with(old.clone())).await;
    let told = refused(&with(old.refuse_outdated())).await;
    assert!(told.contains("the revocation list of its issuer is outdated"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn certificates_out_of_their_time_or_of_another_role_are_refused() {
    let authority = Authority::new();
    let told = |change: fn(&mut rcgen::CertificateParams)| {
        let (chain, key) = authority.issue("localhost", change);
        let tls = ServerTls::new(Identity::from_pem(chain, key).unwrap()).unwrap();
        let (connector, _) = serve(Some(tls));
        let channel = connect(&connector, &authority.client().build().unwrap());
        async move { refused(&channel).await }
    };
    let expired = told(|params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    assert!(expired.contains("certificate expired"), "{expired}");
    let early = told(|params| params.not_before = date_time_ymd(4000, 1, 1)).await;
    assert!(early.contains("not valid yet"), "{early}");
    let client = told(|params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let client = client.await;
    assert!(client.contains("it is not for this role"), "{client}");
}

#[tokio::test(start_paused = true)]
async fn a_server_tells_why_it_refused_a_client() {
    let authority = Authority::new();
    let (connector, told) = serve(Some(mutual(&authority).build().unwrap()));
    let refused_with = |tls: ClientTlsBuilder| {
        let channel = connect(&connector, &tls.build().unwrap());
        let told = told.clone();
        async move {
            refused(&channel).await;
            told.take()
        }
    };
    let none = refused_with(authority.client()).await;
    assert!(none.len() == 1 && none[0].starts_with("in-process: "), "{none:?}");
    assert!(none[0].contains("the client has shown no certificate"), "{none:?}");
    let stranger = Authority::new().identity("client");
    let unknown = refused_with(authority.client().identity(stranger)).await;
    assert!(unknown[0].contains("no authority that is trusted has signed it"), "{unknown:?}");
}

/// What is answered to these bytes, up to the end.
async fn answer(connector: &PipeConnector, bytes: &[u8]) -> Vec<u8> {
    let (mut stream, _) = connector.connect().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(start_paused = true)]
async fn plain_http_at_a_port_for_tls_is_told_so() {
    let tls = ServerTls::new(Authority::new().identity("localhost")).unwrap();
    let (connector, told) = serve(Some(tls));
    for (sent, what) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], "HTTP/1"), (PREFACE, "HTTP/2")] {
        let answer = String::from_utf8(answer(&connector, sent).await).unwrap();
        // The server hears that its answer was read.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("This port speaks TLS"), "{body}");
        let told = told.take();
        assert!(told.len() == 1 && told[0].contains("the client does not speak TLS"), "{told:?}");
        assert!(told[0].contains(what), "{told:?}");
    }
    // A preface that comes byte by byte is none of HTTP/1.
    let (mut stream, _) = connector.connect().await.unwrap();
    for byte in PREFACE {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut answered = Vec::new();
    stream.read_to_end(&mut answered).await.unwrap();
    assert!(answered.starts_with(b"HTTP/1.1 400"));
    drop(stream);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let heard = told.take();
    assert!(heard.len() == 1 && heard[0].contains("plain HTTP/2"), "{heard:?}");
    assert_eq!(answer(&connector, b"\x05\x01\0").await, b"");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = told.take();
    assert!(told[0].contains("what it sent is no TLS record"), "{told:?}");
}

/// Who does not wait for SETTINGS is answered in HTTP/2; nobody else is, as that would tell them
/// that they are connected.
#[tokio::test(start_paused = true)]
async fn requests_of_plain_http2_at_a_port_for_tls_are_answered() {
    let tls = ServerTls::new(Authority::new().identity("localhost")).unwrap();
    let (connector, told) = serve(Some(tls));
    let request = frame(HEADERS, END_HEADERS | END, 1, &block(&[(":method", "GET")]));
    let another = frame(HEADERS, END_HEADERS | END, 3, &block(&[(":method", "GET")]));
    let [one, both] = [request.clone(), [request, another].concat()];
    for (requests, streams, pause) in [(&one, &[1][..], 0), (&both, &[1, 3], 0), (&one, &[1], 50)] {
        let (stream, _) = connector.connect().await.unwrap();
        let mut wire = Wire::new(stream);
        wire.send(PREFACE).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        wire.send(requests).await;
        let settings = wire.next().await.unwrap();
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        assert_eq!(wire.next().await.unwrap().flags, ACK);
        for stream in streams {
            let head = wire.next_of(HEADERS).await;
            let fields = wire.decode(&head);
            for (name, value) in [(":status", "400"), ("grpc-status", "14")] {
                assert!(fields.contains(&(name.to_owned(), value.to_owned())), "{fields:?}");
            }
            let text = wire.next().await.unwrap();
            assert_eq!((head.stream, text.stream, text.flags), (*stream, *stream, END));
            let text = String::from_utf8(text.payload).unwrap();
            assert!(text.contains("This port speaks TLS"), "{text}");
            assert!(fields.contains(&("grpc-message".to_owned(), text.trim_end().to_owned())));
        }
        let goaway = wire.next().await.unwrap();
        assert_eq!((goaway.kind, goaway.reason()), (GOAWAY, Reason::INADEQUATE_SECURITY));
        assert_eq!(goaway.number(0), *streams.last().unwrap());
        assert!(wire.next().await.is_none());
        drop(wire);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let told = told.take();
        assert!(told.len() == 1 && told[0].contains("it sent plain HTTP/2"), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tls_at_a_port_for_plain_http_is_told_so() {
    let (connector, told) = serve(None);
    let tls = Authority::new().client().build().unwrap();
    let refusal = refused(&connect(&connector, &tls)).await;
    assert!(refusal.contains("the server does not speak TLS"), "{refusal}");
    assert!(refusal.contains("plain HTTP/2"), "{refusal}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = told.take();
    assert!(told.len() == 1 && told[0].contains("the client speaks TLS"), "{told:?}");
}

/// A server that answers everything so, and closes.
fn serve_bytes(bytes: &'static [u8]) -> PipeConnector {
    let (connector, listener) = pipe();
    let mut acceptor = Listener::from(listener).into_acceptor().unwrap();
    tokio::spawn(async move {
        while let Ok(Some(incoming)) = acceptor.accept().await {
            let Ok((mut stream, _)) = incoming.into_stream() else { panic!("no TLS here") };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    connector
}

/// SETTINGS, and a GOAWAY with a reason.
const BUSY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x0c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bbusy";

#[tokio::test(start_paused = true)]
async fn answers_of_other_protocols_are_told_apart() {
    // A TLS alert, an HTTP/1 server, an HTTP/2 server that ends at once, and nothing at all.
    let table: [(&[u8], &str, &str); 5] = [
        (b"\x15\x03\x01\0\x02\x02\x46", "the server speaks TLS", "TLS handshake: ProtocolVersion"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered in HTTP/1", "in plain HTTP/1"),
        (b"\0\0\0\x04\0\0\0\0\0", "ended as soon as it had begun", "in plain HTTP/2"),
        (BUSY, "the server sent GOAWAY ENHANCE_YOUR_CALM \"busy\"", "in plain HTTP/2"),
        (b"", "is it a server that speaks HTTP/2 without TLS?", "does it speak TLS?"),
    ];
    let tls = Authority::new().client().build().unwrap();
    for (bytes, plainly, under_tls) in table {
        let connector = serve_bytes(bytes);
        let told = refused(&connect(&connector, &tls)).await;
        assert!(told.contains(under_tls), "{told}");
        let plain = Channel::builder_with_connector(connector).build().unwrap();
        let told = refused(&plain).await;
        assert!(told.contains(plainly), "{told}");
    }
}
