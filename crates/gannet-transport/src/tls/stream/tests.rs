//! Both ends over a pipe: what reads get, what becomes of writes, and what is held.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::poll_fn;
use std::task::Waker;

use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::Peer;
use crate::tls::{ClientTls, Identity, Roots, ServerTls};

/// A client and a server that have shaken hands over a pipe that holds so much.
async fn pair(pipe_bytes: usize) -> (TlsStream, TlsStream) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = Identity::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
    let (near, far) = duplex(pipe_bytes);
    let client = ClientTls::builder().roots(Roots::from_pem(&pem).unwrap()).build().unwrap();
    let server = ServerTls::new(identity).unwrap();
    let (client, server) = tokio::join!(
        client.connect(Stream::Pipe(near), "localhost"),
        server.accept(Stream::Pipe(far), Peer::Pipe)
    );
    let (Stream::Tls(client), Stream::Tls(server)) = (client.unwrap(), server.unwrap().0) else {
        panic!("no TLS")
    };
    (*client, *server)
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The payload's length of each record that lies in the stream below.
async fn records_below(stream: &mut TlsStream) -> Vec<usize> {
    let mut bytes = vec![0; 1 << 20];
    let n = stream.io.read(&mut context(), &mut bytes).unwrap().0.unwrap_or(0);
    let mut rest = &bytes[..n];
    let mut lengths = Vec::new();
    while let [23, 3, 3, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // A byte for the kind, and 16 that authenticate.
        lengths.push(length - 17);
        rest = &behind[length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    lengths
}

#[tokio::test]
async fn what_is_written_at_once_is_one_record() {
    let (mut client, mut server) = pair(1 << 20).await;
    // The tickets that servers send behind the handshake.
    let _ = client.read(&mut context(), &mut [0; 16]).unwrap();
    let parts = [&[1; 90][..], &[2; 5_000], &[3; 30]].map(IoSlice::new);
    let n = poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &parts)).await.unwrap();
    assert_eq!(n, 5_120);
    assert_eq!(records_below(&mut client).await, [5_120]);
    let parts = [&[1; 10_000][..], &[2; 10_000]].map(IoSlice::new);
    poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &parts)).await.unwrap();
    assert_eq!(records_below(&mut client).await, [16_384, 3_616]);
}

#[tokio::test]
async fn a_read_gets_the_plaintext_of_everything_that_is_there() {
    let (mut client, mut server) = pair(1 << 20).await;
    for n in 0..10 {
        client.write_all(&vec![n; 30_000]).await.unwrap();
    }
    let mut buf = vec![0; 400_000];
    let read = server.read(&mut context(), &mut buf).unwrap();
    assert_eq!(read, (Some(300_000), Input::Awaited));
    for (n, part) in buf[..300_000].chunks(30_000).enumerate() {
        assert!(part.iter().all(|byte| usize::from(*byte) == n), "{n}");
    }
    assert_eq!(server.records.storage.len(), 0, "nothing is kept without need");
    assert_eq!(server.read(&mut context(), &mut buf).unwrap(), (None, Input::Awaited));
}

#[tokio::test]
async fn what_a_read_has_no_room_for_is_the_next_ones() {
    let (mut client, mut server) = pair(1 << 20).await;
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    client.write_all(&sent).await.unwrap();
    let mut all = Vec::new();
    let mut buf = vec![0; 7_000];
    while let (Some(n), input) = server.read(&mut context(), &mut buf).unwrap() {
        all.extend_from_slice(&buf[..n]);
        assert_eq!(input == Input::Open, n == buf.len(), "a full buffer says that there is more");
        assert!(server.records.storage.len() <= Records::BYTES_MAX);
        if input != Input::Open {
            break;
        }
    }
    assert!(all == sent);
}

#[tokio::test]
async fn the_end_comes_behind_what_was_sent_and_is_an_error_without_goodbye() {
    for says_goodbye in [true, false] {
        let (mut client, mut server) = pair(1 << 20).await;
        client.write_all(&[7; 100]).await.unwrap();
        if says_goodbye {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let mut buf = [0; 200];
        assert_eq!(server.read(&mut context(), &mut buf).unwrap(), (Some(100), Input::Open));
        let end = server.read(&mut context(), &mut buf);
        match says_goodbye {
            true => assert_eq!(end.unwrap(), (Some(0), Input::Open)),
            false => {
                let error = end.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert!(error.to_string().contains("without a word of TLS"), "{error}");
            }
        }
    }
}

/// The end of the stream comes into storage that is smaller than what was read before into another.
#[tokio::test]
async fn the_end_after_a_pause_is_told_whatever_storage_there_is_then() {
    for says_goodbye in [true, false] {
        let (mut client, mut server) = pair(1 << 20).await;
        client.write_all(&[7; 200_000]).await.unwrap();
        let mut buf = vec![0; 400_000];
        let read = server.read(&mut context(), &mut buf).unwrap();
        assert_eq!(read, (Some(200_000), Input::Awaited));
        assert_eq!(server.records.storage.len(), 0, "nothing is kept without need");
        // Another connection of this thread has the large one now.
        let kept: Vec<_> = std::iter::from_fn(pool::take).collect();
        assert!(kept.iter().any(|storage| storage.len() > Records::BYTES_MIN));
        if says_goodbye {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let end = server.read(&mut context(), &mut buf);
        match says_goodbye {
            true => assert_eq!(end.unwrap(), (Some(0), Input::Open)),
            false => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
    }
}

#[tokio::test]
async fn broken_records_are_an_error_behind_what_was_sent_and_the_peer_is_told() {
    let (mut client, mut server) = pair(1 << 20).await;
    client.write_all(&[7; 100]).await.unwrap();
    client.io.write_all(b"no record at all").await.unwrap();
    let mut buf = [0; 200];
    assert_eq!(server.read(&mut context(), &mut buf).unwrap(), (Some(100), Input::Open));
    let error = server.read(&mut context(), &mut buf).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let told = loop {
        match client.read(&mut context(), &mut buf) {
            Ok((None, Input::Awaited)) => panic!("the client was not told"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(told.contains("the peer ended TLS: "), "{told}");
}

#[tokio::test]
async fn while_the_pipe_is_full_what_was_encrypted_waits_and_nothing_more_is() {
    let (mut client, mut server) = pair(4_096).await;
    let _ = client.read(&mut context(), &mut [0; 16]).unwrap();
    let before = server.sent_bytes();
    let written = Pin::new(&mut server).poll_write(&mut context(), &vec![1; 1 << 20]);
    let Poll::Ready(Ok(taken)) = written else { panic!("{written:?}") };
    assert!(taken <= HELD_BYTES_MAX, "{taken}");
    assert!(server.holds_output());
    assert_eq!(server.sent_bytes() - before, 4_096);
    assert!(Pin::new(&mut server).poll_write(&mut context(), &[1]).is_pending());
    assert!(Pin::new(&mut server).poll_flush(&mut context()).is_pending());
    assert_eq!(server.sent_bytes() - before, 4_096);
    let mut got = 0;
    let mut buf = vec![0; 4_096];
    for _ in 0..1_000 {
        got += client.read(&mut context(), &mut buf).unwrap().0.unwrap_or(0);
        let _ = Pin::new(&mut server).poll_flush(&mut context()).is_ready();
    }
    assert_eq!(got, taken);
    assert!(!server.holds_output());
    assert!(server.sent_bytes() - before > taken as u64, "records are longer than what they hold");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_alpn_is_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem()).unwrap();
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let crypto = crate::tls::Provider::default().crypto;
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = config.clone().with_no_client_auth();
        config.alpn_protocols = alpn;
        let client = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let (near, far) = duplex(64 << 10);
        let server = ServerTls::new(identity.clone()).unwrap();
        let name = "localhost".try_into().unwrap();
        let (client, server) =
            tokio::join!(client.connect(name, near), server.accept(Stream::Pipe(far), Peer::Pipe));
        let told = server.unwrap_err().to_string();
        assert!(told.contains("the client does not offer HTTP/2"), "{told}");
        let told = client.unwrap_err().to_string();
        assert!(told.contains("NoApplicationProtocol"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_alpn_is_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let crypto = crate::tls::Provider::default().crypto;
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let roots = Roots::from_pem(made.cert.pem()).unwrap();
    let client = ClientTls::builder().roots(roots).build().unwrap();
    let (near, far) = duplex(64 << 10);
    let (client, _server) =
        tokio::join!(client.connect(Stream::Pipe(near), "localhost"), acceptor.accept(far));
    let told = client.unwrap_err().to_string();
    assert!(told.contains("the server does not offer HTTP/2"), "{told}");
}
