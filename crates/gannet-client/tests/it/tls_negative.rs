//! TLS that HTTP/2 does not permit: versions before 1.2, and cipher suites of its block list (RFC
//! 9113 sections 9.2.1 and 9.2.2), said byte by byte to a server and to a client.

use std::future::IntoFuture;

use gannet_client::Channel;
use gannet_server::Server;
use gannet_transport::Listener;
use gannet_transport::tls::ServerTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::peer::unary;
use crate::server::Test;
use crate::tls::{Authority, refused};

const TLS_1_0: [u8; 2] = [3, 1];
const TLS_1_1: [u8; 2] = [3, 2];
const TLS_1_2: [u8; 2] = [3, 3];
/// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 and its like for ECDSA.
const GOOD: &[u8] = &[0xc0, 0x2f, 0xc0, 0x2b];
/// TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
/// TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_3DES_EDE_CBC_SHA.
const BAD: &[u8] = &[0, 0x2f, 0xc0, 0x13, 0, 0x9c, 0, 0x0a];
const ALERT: u8 = 21;
pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// `bytes` behind their length in two bytes.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A handshake message in a record of its own.
pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0][..], &sized(body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

pub(crate) fn extension(number: u8, content: &[u8]) -> Vec<u8> {
    [&[0, number][..], &sized(content)].concat()
}

/// A ClientHello of a version that is given in the old way, for HTTP/2.
fn client_hello(version: [u8; 2], suites: &[u8]) -> Vec<u8> {
    let mut extensions = vec![
        extension(10, &sized(&[0, 0x1d, 0, 0x17])),
        extension(11, &[1, 0]),
        extension(16, &sized(b"\x02h2")),
    ];
    // Older versions have no signature_algorithms.
    if version == TLS_1_2 {
        extensions.push(extension(13, &sized(&[4, 3, 8, 4, 4, 1])));
    }
    let body =
        [&version[..], &[7; 32], &[0], &sized(suites), &[1, 0], &sized(&extensions.concat())];
    record(1, &body.concat())
}

#[tokio::test]
async fn old_versions_and_bad_ciphers_of_a_client() {
    let authority = Authority::new();
    let tls = ServerTls::new(authority.identity("localhost")).unwrap();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (note, mut told) = mpsc::unbounded_channel();
    let server = Server::new().add(Test::default());
    let server = server.on_connection_error(move |_, why| note.send(why.to_string()).unwrap());
    tokio::spawn(server.serve(listener.tls(tls)).into_future());
    let too_old = "the client speaks TLS 1.1 or something older";
    for (version, suites, alert, meaning) in [
        (TLS_1_0, GOOD, PROTOCOL_VERSION, too_old),
        (TLS_1_1, GOOD, PROTOCOL_VERSION, too_old),
        (TLS_1_2, BAD, HANDSHAKE_FAILURE, "the TLS handshake failed"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&client_hello(version, suites)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let alerted = (answer.first(), answer.get(5..7));
        assert_eq!(alerted, (Some(&ALERT), Some(&[2, alert][..])), "{version:?}: {answer:?}");
        drop(stream);
        let told = told.recv().await.unwrap();
        assert!(told.contains(meaning), "{told}");
    }
    // With a good suite the same bytes get a ServerHello.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&client_hello(TLS_1_2, GOOD)).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 22);
    // Who leaves then has seen the certificate.
    drop(stream);
    let told = told.recv().await.unwrap();
    assert!(told.contains("does it trust this server's certificate?"), "{told}");
    let target = format!("localhost:{}", address.port());
    let tls = authority.client().build().unwrap();
    let channel = Channel::builder(target).tls(tls).build().unwrap();
    assert_eq!(unary(&channel, b"alive").await.unwrap(), b"alive");
}

#[tokio::test]
async fn old_versions_and_bad_ciphers_of_a_server() {
    let authority = Authority::new();
    for (version, suite) in [(TLS_1_0, &GOOD[..2]), (TLS_1_1, &GOOD[..2]), (TLS_1_2, &BAD[..2])] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            stream.read_exact(&mut hello).await.unwrap();
            let body = [&version[..], &[7; 32], &[0], suite, &[0]].concat();
            stream.write_all(&record(2, &body)).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let tls = authority.client().server_name("localhost").build().unwrap();
        let channel = Channel::builder(target).tls(tls).build().unwrap();
        refused(&channel).await;
        drop(channel);
        let answer = server.await.unwrap();
        assert_eq!((answer.first(), answer.get(5)), (Some(&ALERT), Some(&2)), "{answer:?}");
    }
}
