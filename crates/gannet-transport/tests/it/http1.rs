//! Whoever speaks HTTP/1 to a port of HTTP/2 is told so in HTTP/1, and nobody else is.

use gannet_transport::{CloseReason, Listener, Stream, connect_tcp, connect_unix};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, yield_now};

use crate::driver::echo_over;
use crate::listeners::accept;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS without anything in them.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A client over TCP, and a server that has had time to speak first.
async fn tcp() -> (Stream, JoinHandle<CloseReason>) {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut acceptor = listener.into_acceptor().unwrap();
    let client = connect_tcp(address).await.unwrap().0;
    let server = tokio::spawn(echo_over(accept(&mut acceptor).await.0));
    for _ in 0..10 {
        yield_now().await;
    }
    (client, server)
}

/// All that comes in answer to these pieces, and why the server ended the connection.
async fn told(pieces: impl IntoIterator<Item = &[u8]>) -> (Vec<u8>, String) {
    let (mut client, server) = tcp().await;
    for piece in pieces {
        // The server may have had enough.
        let _ = client.write_all(piece).await;
        for _ in 0..10 {
            yield_now().await;
        }
    }
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    drop(client);
    (answer, server.await.unwrap().to_string())
}

/// Checks an answer and returns its content.
fn content(answer: &[u8]) -> &str {
    let answer = str::from_utf8(answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert!(head.contains("\r\ncontent-length: 57\r\n"), "{head}");
    content
}

#[tokio::test]
async fn a_request_of_http1_is_answered_in_http1() {
    let body = "This port speaks gRPC over HTTP/2, and was sent HTTP/1.1\n";
    assert_eq!(body.len(), 57);
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /a HTTP/1.0\r\n\r\n",
        "PRIX * HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1",
    ] {
        for size in [request.len(), 7, 1] {
            let (answer, reason) = told(request.as_bytes().chunks(size)).await;
            assert_eq!(content(&answer), body, "{request} by {size}");
            assert!(reason.ends_with("the client speaks HTTP/1"), "{reason}");
        }
    }
    let (answer, _) = told([&b"HEAD / HTTP/1.1\r\n\r\n"[..]]).await;
    assert_eq!(content(&answer), "", "an answer to HEAD has no content");
    // Whoever goes on sending reads the answer all the same.
    let upload = [&b"PUT / HTTP/1.1\r\n\r\n"[..], &[b'x'; 200_000]].concat();
    assert_eq!(content(&told([&upload[..]]).await.0), body);
}

#[tokio::test]
async fn what_is_no_request_is_not_answered_in_http1() {
    let endless = [b'A'; 1_000];
    let cases: [&[u8]; 6] = [
        &endless,
        b"get / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"GET\t/",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
    ];
    for bytes in cases {
        for size in [bytes.len(), 1] {
            let (answer, reason) = told(bytes.chunks(size)).await;
            assert_eq!(answer[3..9], SETTINGS[3..], "{reason}: {answer:?}");
            assert!(answer.len() < 200, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn over_a_unix_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.sock");
    let mut acceptor = Listener::unix(&path).unwrap().into_acceptor().unwrap();
    let mut client = connect_unix(&path).await.unwrap().0;
    let server = tokio::spawn(echo_over(accept(&mut acceptor).await.0));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(content(&answer).contains("gRPC over HTTP/2"));
    drop(client);
    server.await.unwrap();
}

/// A client of HTTP/2 waits for nothing: as soon as its preface is there, SETTINGS come.
#[tokio::test]
async fn a_preface_in_pieces_is_answered_in_http2() {
    let (mut client, server) = tcp().await;
    for byte in PREFACE {
        client.write_all(&[*byte]).await.unwrap();
        yield_now().await;
    }
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3..], SETTINGS[3..]);
    client.write_all(SETTINGS).await.unwrap();
    drop(client);
    assert!(matches!(server.await.unwrap(), CloseReason::Finished | CloseReason::Io(_)));
}

/// A client that goes without a word is told before it is left.
#[tokio::test]
async fn who_says_nothing_hears_the_end() {
    let (mut client, server) = tcp().await;
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[3..9], SETTINGS[3..]);
    assert!(matches!(server.await.unwrap(), CloseReason::Finished));
}
