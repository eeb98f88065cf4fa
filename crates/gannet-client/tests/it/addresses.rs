//! Several addresses of one target: tried as gRFC A61 has it, and all named where none works.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gannet_client::Channel;
use gannet_core::Status;
use gannet_http2::Config;
use gannet_transport::Listener;
use tokio::net::TcpListener;
#[cfg(target_os = "linux")]
use tokio::net::{TcpSocket, TcpStream};

use crate::peer::{Peer, Peers, accept, dead_port, unary};

/// Far below the connect timeout.
const SOON: Duration = Duration::from_secs(5);

/// A server that answers one call.
fn good() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = std.local_addr().unwrap();
    let mut acceptor = Listener::try_from(std).unwrap().into_acceptor().unwrap();
    let server = tokio::spawn(async move {
        let stream = accept(&mut acceptor).await;
        let mut peer = Peer::new(stream, Config::default());
        peer.flush().await;
        peer.echo().await;
    });
    (address, server)
}

/// A listener whose backlog is full, which swallows attempts; and what fills it.
#[cfg(target_os = "linux")]
async fn blackhole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    let wait = Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(wait, TcpStream::connect(address)).await {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100, "the backlog never fills");
    }
    (address, listener, filling)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_blackholed_address_does_not_hide_a_good_one() {
    let (hole, _listener, _filling) = blackhole().await;
    let (good, server) = good();
    let channel = Channel::new(format!("ipv4:{hole},{good}")).unwrap();
    let start = Instant::now();
    assert_eq!(unary(&channel, b"x").timeout(SOON).await.unwrap(), b"x");
    assert!(start.elapsed() >= Duration::from_millis(250), "the first address goes first");
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_speaks_does_not_hide_a_good_one() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hole = silent.local_addr().unwrap();
    let (good, server) = good();
    let channel = Channel::new(format!("ipv4:{hole},{good}")).unwrap();
    assert_eq!(unary(&channel, b"x").timeout(SOON).await.unwrap(), b"x");
    server.await.unwrap();
    // The one that lost was closed: its preface is followed by the end.
    let (mut lost, _) = silent.accept().await.unwrap();
    let mut preface = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut lost, &mut preface);
    let _ = tokio::time::timeout(SOON, read).await.expect("the loser was closed");
}

#[tokio::test]
async fn every_address_that_failed_is_named_and_the_next_goes_at_once() {
    let ports: Vec<u16> = (0..8).map(|_| dead_port()).collect();
    let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let channel = Channel::new(format!("ipv4:{}", addresses.join(","))).unwrap();
    let start = Instant::now();
    let status = unary(&channel, b"").await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    for address in addresses {
        let told = format!("{address}: ");
        assert!(status.message().contains(&told), "{address} in {status}");
    }
}

#[tokio::test]
async fn a_timeout_names_failed_and_silent_addresses() {
    let dead = format!("127.0.0.1:{}", dead_port());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hole = silent.local_addr().unwrap();
    let timeout = Duration::from_millis(300);
    let builder = || Channel::builder(format!("ipv4:{dead},{hole}"));
    let backoff = gannet_client::policy::BackoffConfig::default;
    for builder in [
        builder().connect_timeout(timeout),
        builder().connect_timeout(timeout).backoff(backoff()),
        builder().backoff(backoff()).connect_timeout(timeout),
    ] {
        let channel = builder.build().unwrap();
        let status = unary(&channel, b"").await.unwrap_err();
        assert!(status.message().contains(&format!("{dead}: Connection refused")), "{status}");
        assert!(status.message().contains(&format!("{hole}: no answer within 0.3 s")), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_takes_longer_than_it_may() {
    let timeout = Duration::from_millis(100);
    let (channel, mut peers) = Peers::with(|builder| builder.connect_timeout(timeout));
    channel.connect().unwrap();
    for nth in 0..13 {
        let mut stream = peers.silent().await;
        let begun = tokio::time::Instant::now();
        let mut preface = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut preface).await;
        let took = begun.elapsed();
        assert!(took <= Duration::from_millis(110), "attempt {nth} took {took:?}");
    }
}

/// The messages of an error and of its causes.
fn chain(status: &Status) -> Vec<String> {
    let mut told = vec![status.to_string()];
    let mut next = status.source();
    while let Some(error) = next {
        told.push(error.to_string());
        next = error.source();
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_before_settings_is_told_once() {
    for said in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (channel, mut peers) = Peers::new();
        let server = tokio::spawn(async move {
            let mut stream = peers.silent().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, said).await.unwrap();
        });
        let status = unary(&channel, b"").await.unwrap_err();
        server.await.unwrap();
        let chain = chain(&status);
        assert!(chain[0].starts_with("UNAVAILABLE: cannot connect to in-process: "), "{chain:?}");
        assert_eq!(chain.join("\n").matches("in-process").count(), 1, "{chain:?}");
        assert_eq!(chain.len(), if said.is_empty() { 1 } else { 2 }, "the cause: {chain:?}");
    }
}
