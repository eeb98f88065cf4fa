//! Whose cryptography TLS uses: aws-lc-rs or ring, by feature or by choice. Which of them it is
//! shows in the key exchange with X25519MLKEM768, which only aws-lc-rs has.

use std::future::IntoFuture;

use gannet_client::Channel;
use gannet_server::Server;
use gannet_transport::Listener;
use gannet_transport::tls::{Provider, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::unary;
use crate::server::{Test, all_kinds};
use crate::tls::Authority;
use crate::tls_negative::{HANDSHAKE_FAILURE, extension, record, sized};

/// The extension supported_groups of a client that has X25519, P-256 and P-384.
const GROUPS_OF_RING: [u8; 12] = [0, 10, 0, 8, 0, 6, 0, 0x1d, 0, 0x17, 0, 0x18];
const X25519MLKEM768: [u8; 2] = [0x11, 0xec];
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// What there is to choose from.
fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "tls")]
        Provider::aws_lc_rs(),
        #[cfg(feature = "tls-ring")]
        Provider::ring(),
    ]
}

fn is_ring(provider: &Provider) -> bool {
    format!("{provider:?}").contains("ring")
}

fn serve(authority: &Authority, provider: Option<&Provider>) -> u16 {
    let mut tls = ServerTls::builder(authority.identity("localhost"));
    tls = tls.client_roots(authority.roots());
    if let Some(provider) = provider {
        tls = tls.provider(provider.clone());
    }
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = listener.tls(tls.build().unwrap());
    tokio::spawn(Server::new().add(Test::default()).serve(listener).into_future());
    port
}

fn connect(authority: &Authority, provider: Option<&Provider>, port: u16) -> [Channel; 2] {
    let mut tls = authority.client().identity(authority.identity("client.example"));
    if let Some(provider) = provider {
        tls = tls.provider(provider.clone());
    }
    let builder = Channel::builder(format!("127.0.0.1:{port}"));
    let builder = builder.tls(tls.server_name("localhost").build().unwrap());
    [builder.clone().build().unwrap(), builder.build().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_and_mutual_tls_between_any_two() {
    let authority = Authority::new();
    for server in providers() {
        let port = serve(&authority, Some(&server));
        for client in providers() {
            let [first, second] = connect(&authority, Some(&client), port);
            all_kinds(&first).await;
            for (channel, resumed) in [(first, "is_resumed: false"), (second, "is_resumed: true")] {
                let who = String::from_utf8(unary(&channel, b"who").await.unwrap()).unwrap();
                assert!(who.contains("client.example"), "{client:?} to {server:?}: {who}");
                assert!(who.contains(resumed), "{client:?} to {server:?}: {who}");
            }
        }
    }
}

/// Whether a client with this provider, or the default, says hello as ring does.
async fn hello_is_rings(provider: Option<&Provider>) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let [channel, _] = connect(&Authority::new(), provider, port);
    let call = tokio::spawn(async move { unary(&channel, b"x").await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut hello).await.unwrap();
    call.abort();
    hello.windows(GROUPS_OF_RING.len()).any(|part| part == GROUPS_OF_RING)
}

#[tokio::test]
async fn a_client_uses_what_it_was_given() {
    for provider in providers() {
        assert_eq!(hello_is_rings(Some(&provider)).await, is_ring(&provider), "{provider:?}");
    }
    assert_eq!(hello_is_rings(None).await, !cfg!(feature = "tls"), "ring is for itself alone");
}

/// What a server says first to a client of TLS 1.3 that has nothing but X25519MLKEM768.
async fn answer(port: u16) -> Vec<u8> {
    let extensions = [
        extension(10, &sized(&X25519MLKEM768)),
        extension(13, &sized(&[4, 3, 8, 4])),
        extension(16, &sized(b"\x02h2")),
        extension(43, &[2, 3, 4]),
        extension(51, &sized(&[])),
    ];
    let suites = sized(&[0x13, 1]);
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &sized(&extensions.concat())];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&record(1, &body.concat())).await.unwrap();
    let mut answer = vec![0; 7];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_server_uses_what_it_was_given() {
    let authority = Authority::new();
    let default = (None, !cfg!(feature = "tls"));
    let given = providers();
    let given = given.iter().map(|provider| (Some(provider), is_ring(provider)));
    for (provider, is_ring) in given.chain([default]) {
        let told = answer(serve(&authority, provider)).await;
        if is_ring {
            assert_eq!((told[0], told[6]), (ALERT, HANDSHAKE_FAILURE), "{provider:?}: {told:?}");
        } else {
            // A HelloRetryRequest, which asks for the key.
            assert_eq!((told[0], told[5]), (HANDSHAKE, 2), "{provider:?}: {told:?}");
        }
    }
}
