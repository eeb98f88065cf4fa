//! The connection: made lazily, named in errors, lost, and made again with backoff.

use std::error::Error;
use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use gannet_client::name::{Address, AddressList};
use gannet_client::{Channel, ChannelState};
use gannet_core::{Code, Status};
use gannet_http2::{Config, Reason};
use gannet_transport::{Listener, pipe};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::peer::{Fields, Got, OK, Peer, Peers, accept, chat, dead_port, download, field, unary};

const SECOND: Duration = Duration::from_secs(1);

/// The first cause of this type.
fn cause<T: Error + 'static>(status: &Status) -> Option<&T> {
    let mut error: Option<&(dyn Error + 'static)> = status.source();
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref::<T>() {
            return Some(found);
        }
        error = this.source();
    }
    None
}

/// Accepts one connection and answers its first call.
fn echo_once(listener: Listener) -> JoinHandle<Fields> {
    let mut acceptor = listener.into_acceptor().unwrap();
    tokio::spawn(async move {
        let stream = accept(&mut acceptor).await;
        let mut peer = Peer::new(stream, Config::default());
        peer.flush().await;
        peer.echo().await
    })
}

#[test]
fn bad_targets_fail_when_the_channel_is_built() {
    let error = Channel::new("localhost").unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad target \"localhost\": it has no port; write for instance \"localhost:50051\""
    );
    for bad in ["a b", "", "a:b:c", ":1]:443"] {
        let error = Channel::builder("h:1").authority(bad).build().unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?} is no authority")), "{error}");
    }
    assert!(Channel::builder("h:1").user_agent("a\nb").build().is_err());
}

#[test]
fn who_resolves_and_who_connects_are_not_both_said() {
    let (connector, _listener) = pipe();
    let list = AddressList::new([Address::in_process("one", connector.clone())]);
    let both = Channel::builder("h:1").connector(connector).resolver(list);
    let error = both.build().unwrap_err().to_string();
    assert!(error.contains("both a connector and a resolver"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn lazy_and_shared_by_clones() {
    let (channel, mut peers) = Peers::new();
    assert_eq!(channel.state(), ChannelState::Idle);
    let clone = channel.clone();
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    unary(&channel, b"").await.unwrap();
    assert_eq!(channel.state(), ChannelState::Ready);
    assert_eq!(clone.state(), ChannelState::Ready);
    unary(&clone, b"").await.unwrap();
    drop((channel, clone));
    server.await.unwrap();
}

#[tokio::test]
async fn refused_connections_name_target_address_and_cause() {
    let port = dead_port();
    let target = format!("dns:///127.0.0.1:{port}");
    let channel = Channel::new(&target).unwrap();
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains(&target), "{status}");
    assert!(status.message().contains("refused"), "{status}");
    let error = cause::<io::Error>(&status).expect("the cause is kept");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(channel.state(), ChannelState::TransientFailure);
    // From now on calls fail at once.
    let start = std::time::Instant::now();
    let status = chat(&channel).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(start.elapsed() < Duration::from_millis(500));
    // A call that waits tells the failure too, once, and has its cause.
    let late = unary(&channel, b"").wait_for_ready(true).timeout(Duration::from_millis(20));
    let status = late.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("refused"), "{status}");
    let error = cause::<io::Error>(&status).expect("the cause is kept");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(cause::<Status>(&status).is_none(), "{status:?}");
}

#[tokio::test]
async fn localhost_tries_every_address() {
    // Only one family listens, whichever the name resolves to first.
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = echo_once(listener);
    let channel = Channel::new(format!("localhost:{port}")).unwrap();
    assert_eq!(unary(&channel, b"x").await.unwrap(), b"x");
    let fields = server.await.unwrap();
    let authority = field(&fields, ":authority").unwrap().to_owned();
    assert_eq!(authority, format!("localhost:{port}"));
}

#[tokio::test]
async fn several_addresses_are_tried_in_order() {
    let dead = dead_port();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = echo_once(listener);
    let target = format!("ipv4:127.0.0.1:{dead},127.0.0.1:{port}");
    let channel = Channel::new(target).unwrap();
    unary(&channel, b"").await.unwrap();
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_grpc_server() {
    // One of HTTP/1.1, and one that hangs up, as a server that wants TLS does.
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let (channel, mut peers) = Peers::new();
        let server = async {
            let mut stream = peers.silent().await;
            stream.write_all(answer).await.unwrap();
        };
        let (reply, ()) = tokio::join!(unary(&channel, b"").into_future(), server);
        let status = reply.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let hint = "is it a server that speaks HTTP/2 without TLS?";
        assert!(status.message().contains("cannot connect to in-process"), "{status}");
        assert!(status.message().contains(hint), "{status}");
    }
}

#[tokio::test]
async fn names_that_do_not_resolve() {
    let channel = Channel::new("no-such-host.invalid:1").unwrap();
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("cannot resolve \"no-such-host.invalid\""), "{status}");
    assert!(cause::<io::Error>(&status).is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let target = format!("unix://{}", path.display());
    let channel = Channel::new(&target).unwrap();
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("a.sock"), "{status}");

    let server = echo_once(Listener::unix(&path).unwrap());
    let channel = Channel::new(&target).unwrap();
    unary(&channel, b"").await.unwrap();
    let fields = server.await.unwrap();
    assert_eq!(field(&fields, ":authority"), Some("localhost"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_unavailable_and_the_next_call_reconnects() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.unary().await;
        peer.request().await;
        drop(peer);
        let mut peer = peers.accept().await;
        peer.echo().await;
        peer
    });
    let lost = unary(&channel, b"").into_future();
    let stream = async {
        let mut rx = download(&channel, b"").await?;
        rx.next().await
    };
    let (lost, stream) = tokio::join!(lost, stream);
    for status in [lost.unwrap_err(), stream.unwrap_err()] {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("in-process"), "{status}");
        assert!(cause::<io::Error>(&status).is_some(), "{status:?}");
    }
    assert_eq!(channel.state(), ChannelState::Idle);
    let start = Instant::now();
    assert_eq!(unary(&channel, b"again").await.unwrap(), b"again");
    assert!(start.elapsed() < Duration::from_millis(10), "no backoff after a good connection");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_http2_is_unavailable() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.unary().await;
        // DATA on stream 0.
        peer.raw(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 7]).await;
        loop {
            if let Got::GoAway { reason } = peer.next().await {
                return reason;
            }
        }
    });
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("PROTOCOL_ERROR"), "{status}");
    assert_eq!(server.await.unwrap(), Reason::PROTOCOL_ERROR);
}

#[tokio::test(start_paused = true)]
async fn attempts_back_off_and_waiting_calls_get_through() {
    let (connector, listener) = pipe();
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    let start = Instant::now();
    let server = tokio::spawn(async move {
        let mut acceptor = Listener::from(listener).into_acceptor().unwrap();
        let mut attempts = Vec::new();
        for attempt in 0..6 {
            let stream = accept(&mut acceptor).await;
            attempts.push(start.elapsed().as_secs_f64());
            if attempt == 5 {
                let mut peer = Peer::new(stream, Config::default());
                peer.flush().await;
                peer.echo().await;
                return (attempts, peer);
            }
        }
        unreachable!("the last attempt returns");
    });
    // The first call waits for the first attempt and fails with it.
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(channel.state(), ChannelState::TransientFailure);
    // A call that waits, and one whose deadline is too early for that.
    let waiting = unary(&channel, b"patient").wait_for_ready(true).into_future();
    let late = unary(&channel, b"").wait_for_ready(true).timeout(SECOND * 2).into_future();
    let (waiting, late) = tokio::join!(waiting, late);
    assert_eq!(waiting.unwrap(), b"patient");
    let late = late.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("cannot connect to in-process"), "{late}");
    assert_eq!(channel.state(), ChannelState::Ready);
    let (attempts, _peer) = server.await.unwrap();
    let waits: Vec<f64> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut want = 1.0;
    for (index, wait) in waits.iter().enumerate() {
        let spread = if index == 0 { 0.0 } else { 0.2 };
        let (low, high) = (want * (1.0 - spread) - 0.02, want * (1.0 + spread) + 0.02);
        assert!((low..=high).contains(wait), "wait {index} was {wait} s, not about {want} s");
        want *= 1.6;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_fail_at_once_while_attempts_go_on() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        drop(peers.silent().await);
        // The second attempt hangs.
        let hanging = peers.silent().await;
        tokio::time::sleep(SECOND * 5).await;
        drop(hanging);
        peers
    });
    unary(&channel, b"").await.unwrap_err();
    tokio::time::sleep(SECOND * 3).await;
    let start = Instant::now();
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(channel.state(), ChannelState::TransientFailure);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_settings_times_out() {
    let (channel, mut peers) = Peers::new();
    let start = Instant::now();
    let server = tokio::spawn(async move {
        let silent = peers.silent().await;
        // The next attempt comes at once: the first took longer than the backoff.
        let next = peers.silent().await;
        let waited = start.elapsed();
        tokio::time::sleep(SECOND).await;
        let mut peer = Peer::new(next, Config::default());
        peer.flush().await;
        peer.echo().await;
        (silent, peer, waited)
    });
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no answer within 20.0 s"), "{status}");
    assert!((start.elapsed().as_secs_f64() - 20.0).abs() < 0.1, "{:?}", start.elapsed());
    unary(&channel, b"").wait_for_ready(true).await.unwrap();
    let (_silent, _peer, waited) = server.await.unwrap();
    assert!(waited < Duration::from_millis(20_100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_can_be_set() {
    let (channel, mut peers) = Peers::with(|b| b.connect_timeout(SECOND * 30));
    let server = tokio::spawn(async move {
        let _silent = peers.silent().await;
        tokio::time::sleep(SECOND * 60).await;
    });
    let start = Instant::now();
    unary(&channel, b"").await.unwrap_err();
    assert!((start.elapsed().as_secs_f64() - 30.0).abs() < 0.1, "{:?}", start.elapsed());
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn settings_reset_the_backoff() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        for _ in 0..4 {
            drop(peers.silent().await);
        }
        let mut peer = peers.accept().await;
        peer.echo().await;
        drop(peer);
        drop(peers.silent().await);
        let failed = Instant::now();
        let mut peer = peers.accept().await;
        let waited = failed.elapsed();
        peer.echo().await;
        (waited, peer)
    });
    unary(&channel, b"").wait_for_ready(true).await.unwrap();
    while channel.state() != ChannelState::Idle {
        tokio::task::yield_now().await;
    }
    unary(&channel, b"").wait_for_ready(true).await.unwrap();
    let (waited, _peer) = server.await.unwrap();
    assert!((waited.as_secs_f64() - 1.0).abs() < 0.02, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_servers_limit_of_streams_queues_calls() {
    let (channel, mut peers) = Peers::new();
    peers.config.concurrent_streams_max = 2;
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut open = std::collections::HashMap::new();
        let mut most = 0;
        for _ in 0..20 {
            // Everything that comes before the time passes, so that a third call would show.
            while let Ok(got) = tokio::time::timeout(Duration::from_millis(5), peer.next()).await {
                match got {
                    Got::Request { key, .. } => _ = open.insert(key, Vec::new()),
                    Got::Data { key, bytes, .. } => open.get_mut(&key).unwrap().extend(bytes),
                    other => panic!("{other:?}"),
                }
            }
            most = most.max(open.len());
            let Some(key) = open.keys().next().copied() else { break };
            let body = open.remove(&key).unwrap();
            peer.respond(key, &[&body[5..]], OK).await;
        }
        most
    });
    let tasks: Vec<_> = (0..10_u8)
        .map(|n| {
            let channel = channel.clone();
            tokio::spawn(async move { assert_eq!(unary(&channel, &[n]).await.unwrap(), [n]) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_connection_after_its_calls() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        assert_eq!(peer.next().await, Got::GoAway { reason: Reason::NO_ERROR });
        peer.body(key).await;
        peer.respond(key, &[b"still"], OK).await;
        assert_eq!(peer.next().await, Got::Closed);
    });
    let (tx, mut rx) = chat(&channel).await.unwrap();
    drop(channel);
    tokio::time::sleep(SECOND).await;
    tx.finish();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"still");
    assert_eq!(rx.next().await.unwrap(), None);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_channel_stops_trying() {
    let (channel, mut peers) = Peers::new();
    let first = tokio::spawn(async move {
        drop(peers.silent().await);
        peers
    });
    unary(&channel, b"").await.unwrap_err();
    let mut peers = first.await.unwrap();
    drop(channel);
    tokio::time::sleep(SECOND * 300).await;
    assert!(peers.nobody_left().await, "nobody connects any more");
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_takes_no_calls() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.echo().await;
        assert_eq!(peer.next().await, Got::GoAway { reason: Reason::NO_ERROR });
        assert_eq!(peer.next().await, Got::Closed);
    });
    let clone = channel.clone();
    unary(&channel, b"").await.unwrap();
    channel.close();
    assert_eq!(clone.state(), ChannelState::Shutdown);
    let status = unary(&clone, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("closed"), "{status}");
    server.await.unwrap();

    let (channel, _peers) = Peers::new();
    let waiting = unary(&channel, b"").wait_for_ready(true).into_future();
    let (waiting, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        assert_eq!(channel.state(), ChannelState::Connecting);
        channel.close();
    });
    assert_eq!(waiting.unwrap_err().code(), Code::Unavailable);
}
