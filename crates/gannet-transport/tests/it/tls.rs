//! The driver over TLS: what TLS holds is sent on, and counts as output.

use std::time::Duration;

use gannet_transport::tls::{ClientTls, Identity, Roots, ServerTls};
use gannet_transport::{CloseReason, Listener, Stream, pipe};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use crate::driver::{ask, echo_over, stuff, world_over};

/// Two ends that have shaken hands; the client's bytes pass another pipe, whose end is returned
/// with the server's: what the server sends waits there until it is forwarded.
async fn shaken() -> (Stream, Stream, Relay) {
    let (server, pem) = identity();
    let client = ClientTls::builder().roots(Roots::from_pem(&pem).unwrap()).build().unwrap();
    let (connector, listener) = pipe();
    let mut acceptor = Listener::from(listener).tls(server).into_acceptor().unwrap();
    let (below, _) = connector.connect().await.unwrap();
    let (near, far) = duplex(64 << 10);
    let mut relay = Relay { near: far, below };
    let incoming = acceptor.accept().await.unwrap().unwrap();
    let Err(handshake) = incoming.into_stream() else { panic!("no TLS") };
    let shaking =
        async { tokio::join!(client.connect(Stream::Pipe(near), "localhost"), handshake) };
    let (client, server) = tokio::select! {
        shaken = shaking => shaken,
        () = relay.run() => unreachable!("it runs for ever"),
    };
    (client.unwrap(), server.unwrap().0, relay)
}

/// A server for localhost, and its certificate.
fn identity() -> (ServerTls, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = Identity::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
    (ServerTls::new(identity).unwrap(), pem)
}

/// What lies between the client's end and the server's.
struct Relay {
    near: DuplexStream,
    below: Stream,
}

impl Relay {
    /// Forwards both ways, for ever.
    async fn run(&mut self) {
        let _ = tokio::io::copy_bidirectional(&mut self.near, &mut self.below).await;
        std::future::pending::<()>().await;
    }

    /// Forwards what the client says, and nothing of what it is told, for ever.
    async fn run_one_way(&mut self) {
        let (_, mut below) = tokio::io::split(&mut self.below);
        let _ = tokio::io::copy(&mut self.near, &mut below).await;
        std::future::pending::<()>().await;
    }
}

/// The peer goes on writing what the server will not read, and still reads why to its end.
#[tokio::test]
async fn an_alert_is_not_lost_to_a_reset() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut acceptor = listener.tls(identity().0).into_acceptor().unwrap();
    let server = tokio::spawn(async move {
        let incoming = acceptor.accept().await.unwrap().unwrap();
        let Err(handshake) = incoming.into_stream() else { panic!("no TLS") };
        handshake.await.unwrap_err()
    });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    // A ClientHello of four bytes, none of them right.
    let mut hello = vec![22, 3, 1, 0, 8, 1, 0, 0, 4];
    hello.resize(100_000, b'?');
    client.write_all(&hello).await.unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.expect("an end, and no reset");
    assert_eq!(told.first(), Some(&21), "an alert: {told:?}");
    assert!(!server.is_finished(), "it waits for the client's end");
    drop(client);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_and_stays_is_not_waited_for() {
    let (connector, listener) = pipe();
    let mut acceptor = Listener::from(listener).tls(identity().0).into_acceptor().unwrap();
    let (mut client, _) = connector.connect().await.unwrap();
    let incoming = acceptor.accept().await.unwrap().unwrap();
    let Err(handshake) = incoming.into_stream() else { panic!("no TLS") };
    let start = tokio::time::Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    handshake.await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_tls_holds_is_sent_on() {
    let (client, server, mut relay) = shaken().await;
    tokio::spawn(async move { relay.run().await });
    let world = world_over(client, server, None);
    for length in [10, 60_000, 65_000, 300_000] {
        assert!(ask(&world, vec![5; length]).await.unwrap() == vec![5; length], "{length}");
    }
}

/// A server that has answered as much as its peer, who reads nothing, leaves room for.
async fn stuffed() -> (Relay, JoinHandle<CloseReason>) {
    let (mut client, server, mut relay) = shaken().await;
    let server = tokio::spawn(echo_over(server));
    tokio::select! {
        () = stuff(&mut client) => {}
        () = relay.run_one_way() => {}
    }
    (relay, server)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_loses_its_connection() {
    let (_relay, server) = stuffed().await;
    let reason = server.await.unwrap();
    let CloseReason::Io(error) = &reason else { panic!("{reason}") };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_keeps_it() {
    let (mut relay, server) = stuffed().await;
    for _ in 0..20 {
        relay.below.read_exact(&mut [0; 1700]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(!server.is_finished());
    }
}

/// All output is in TLS and in the pipe: the watch must see that it goes on from there.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_what_tls_holds_keeps_it() {
    let (mut client, server, mut relay) = shaken().await;
    let server = tokio::spawn(echo_over(server));
    let pings = |count| b"\0\0\x08\x06\0\0\0\0\0pingping".repeat(count);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    let talk = async {
        client.write_all(preface).await.unwrap();
        // More than the pipe holds, by what takes a minute to read.
        for _ in 0..80 {
            client.write_all(&pings(60)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = talk => {}
        () = relay.run_one_way() => {}
    }
    for _ in 0..10 {
        relay.below.read_exact(&mut [0; 1700]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(!server.is_finished());
    }
}
