//! What a channel is doing: watched, made to connect, and idle when nobody calls.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::{AddressList, Resolver, Updates};
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelState};
use gannet_core::Code;
use gannet_http2::Reason;
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{backend, builder, scripted, who};
use crate::peer::{Got, Peer, Peers, accept, chat, dead_port, unary};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn changes_of_state_can_be_waited_for() {
    let (channel, mut peers) = Peers::new();
    let watcher = channel.clone();
    let watches = tokio::spawn(async move {
        let mut seen = vec![watcher.state()];
        while seen.len() < 5 {
            seen.push(watcher.wait_for_state_change(*seen.last().unwrap()).await);
        }
        seen
    });
    tokio::task::yield_now().await;
    channel.connect().unwrap();
    assert_eq!(channel.state(), ChannelState::Connecting);
    channel.connect().unwrap();
    let peer = peers.accept().await;
    while channel.state() != ChannelState::Ready {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    drop(peer);
    while channel.state() != ChannelState::Idle {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    channel.close();
    let seen = watches.await.unwrap();
    let want = [
        ChannelState::Idle,
        ChannelState::Connecting,
        ChannelState::Ready,
        ChannelState::Idle,
        ChannelState::Shutdown,
    ];
    assert_eq!(seen, want);
    // Nothing comes after the end.
    let more = channel.wait_for_state_change(ChannelState::Shutdown);
    assert!(timeout(MINUTE, more).await.is_err());
    channel.connect().unwrap();
    assert_eq!(channel.state(), ChannelState::Shutdown);
}

#[test]
fn to_connect_needs_a_runtime() {
    let (channel, _peers) = Peers::new();
    let status = channel.connect().unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("tokio runtime"), "{status}");
    // A channel for blocking calls has one.
    let target = format!("127.0.0.1:{}", dead_port());
    let channel = gannet_client::blocking::channel(target).unwrap();
    channel.connect().unwrap();
    assert_ne!(channel.state(), ChannelState::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_channel_without_calls_is_idle_after_half_an_hour() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for _ in 0..4 {
            peer.echo().await;
        }
        assert_eq!(peer.next().await, Got::GoAway { reason: Reason::NO_ERROR });
        let closed = Instant::now();
        assert_eq!(peer.next().await, Got::Closed);
        let mut peer = peers.accept().await;
        peer.echo().await;
        (closed, peer)
    });
    // The time counts from the last call, whenever that was.
    for pause in [0, 29, 1, 25] {
        sleep(MINUTE * pause).await;
        unary(&channel, b"").await.unwrap();
    }
    let last = Instant::now();
    assert_eq!(channel.wait_for_state_change(ChannelState::Ready).await, ChannelState::Idle);
    let idle = last.elapsed();
    assert!(idle >= MINUTE * 30 - Duration::from_millis(10), "{idle:?}");
    assert!(idle < MINUTE * 30 + Duration::from_secs(1), "{idle:?}");
    sleep(MINUTE * 100).await;
    assert_eq!(unary(&channel, b"anew").await.unwrap(), b"anew");
    let (closed, _peer) = server.await.unwrap();
    assert!(closed - last < MINUTE * 30 + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn open_calls_and_waiting_ones_keep_it_from_being_idle() {
    let (channel, mut peers) = Peers::with(|builder| builder.idle_timeout(MINUTE));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.body(key).await;
        peer.respond(key, &[b"done"], crate::peer::OK).await;
        let ended = Instant::now();
        while peer.next().await != Got::Closed {}
        (peers, ended.elapsed())
    });
    let (tx, mut rx) = chat(&channel).await.unwrap();
    sleep(MINUTE * 1_000).await;
    assert_eq!(channel.state(), ChannelState::Ready);
    tx.finish();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"done");
    let (mut peers, after) = server.await.unwrap();
    let seconds = after.as_secs_f64();
    assert!((59.9..61.0).contains(&seconds), "{seconds}");
    // One that waits for a connection.
    let waits = unary(&channel, b"").wait_for_ready(true).into_future();
    let refuses = async {
        for _ in 0..20 {
            drop(peers.silent().await);
        }
        assert_eq!(channel.state(), ChannelState::TransientFailure);
        peers.accept().await.echo().await;
    };
    let (answer, ()) = tokio::join!(waits, refuses);
    answer.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failing_for_long_is_idle_too_and_never_can_be_said() {
    let (channel, mut peers) = Peers::with(|builder| builder.idle_timeout(MINUTE));
    let refuses = tokio::spawn(async move {
        loop {
            drop(peers.silent().await);
        }
    });
    unary(&channel, b"").await.unwrap_err();
    assert_eq!(
        channel.wait_for_state_change(ChannelState::TransientFailure).await,
        ChannelState::Idle
    );
    refuses.abort();
    let (channel, mut peers) = Peers::with(|builder| builder.idle_timeout(Duration::MAX));
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    unary(&channel, b"").await.unwrap();
    sleep(MINUTE * 1_000_000).await;
    assert_eq!(channel.state(), ChannelState::Ready);
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_connection_of_a_channel_that_is_idle_is_closed() {
    let (one, two) = (backend("one"), backend("two"));
    let list = AddressList::new([one.address, two.address]);
    let channel =
        builder().resolver(list).balance(RoundRobin::new).idle_timeout(MINUTE).build().unwrap();
    for _ in 0..3 {
        crate::backends::until_all_answer(&channel, 2).await;
        assert_eq!(channel.wait_for_state_change(ChannelState::Ready).await, ChannelState::Idle);
        sleep(MINUTE).await;
        // By itself round_robin connects, but not while the channel is idle.
        assert_eq!(channel.state(), ChannelState::Idle);
    }
}

/// Never tells anything.
struct Silent;

impl Resolver for Silent {
    async fn watch(&self, _: Updates) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_waited_for_as_long_as_the_call_may_take() {
    let channel = builder().resolver(Silent).build().unwrap();
    let start = Instant::now();
    let call = unary(&channel, b"").timeout(MINUTE);
    let status = call.await.unwrap_err();
    assert_eq!((status.code(), start.elapsed().as_secs()), (Code::DeadlineExceeded, 60));
    assert!(status.message().contains("test:///backends was connected"), "{status}");
    assert_eq!(channel.state(), ChannelState::Connecting);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_connecting_names_the_address() {
    let (channel, mut peers) = Peers::new();
    let call = unary(&channel, b"").timeout(Duration::from_secs(1)).into_future();
    let (call, _silent) = tokio::join!(call, peers.silent());
    let status = call.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().ends_with("in-process [attempt 1, CONNECTING]"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn backoff_can_be_cut_short() {
    let (channel, mut peers) = Peers::new();
    let refuses = async {
        for _ in 0..5 {
            drop(peers.silent().await);
        }
        Instant::now()
    };
    let (failed, refused) = tokio::join!(unary(&channel, b"").into_future(), refuses);
    failed.unwrap_err();
    // The sixth attempt comes 5.24 to 7.86 s after the fifth.
    sleep(Duration::from_secs(1)).await;
    assert!(timeout(Duration::from_secs(4), peers.silent()).await.is_err(), "too early");
    assert!(refused.elapsed() < Duration::from_millis(5_200));
    let reset = Instant::now();
    channel.reset_backoff();
    let waits = unary(&channel, b"").wait_for_ready(true).into_future();
    let (reply, _) = tokio::join!(waits, async { peers.accept().await.echo().await });
    reply.unwrap();
    assert!(reset.elapsed() < Duration::from_millis(100), "{:?}", reset.elapsed());
}

/// The shortest time without calls, which is not so short that it ends calls, or has none begin.
#[tokio::test(start_paused = true)]
async fn times_that_are_too_short_are_a_second() {
    for short in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(999)] {
        let (channel, mut peers) = Peers::with(|builder| builder.idle_timeout(short));
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            for _ in 0..3 {
                let (key, _, message) = peer.unary().await;
                sleep(MINUTE).await;
                peer.respond(key, &[&message], crate::peer::OK).await;
                sleep(Duration::from_millis(10)).await;
            }
            peer
        });
        for _ in 0..3 {
            let call = unary(&channel, b"x").timeout(MINUTE * 2);
            assert_eq!(call.await.unwrap(), b"x", "{short:?}");
            sleep(Duration::from_millis(700)).await;
            assert_eq!(channel.state(), ChannelState::Ready, "{short:?}");
        }
        sleep(Duration::from_millis(400)).await;
        assert_eq!(channel.state(), ChannelState::Idle, "{short:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn targets_of_other_kinds() {
    // Resolved with each connection.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = gannet_server::Server::new()
        .add(crate::backends::Named { name: "tcp", calls: std::sync::Arc::default() })
        .serve(gannet_transport::Listener::try_from(listener).unwrap());
    let served = tokio::spawn(async move { served.await.unwrap() });
    let channel = Channel::new(format!("passthrough:///localhost:{port}")).unwrap();
    assert_eq!(who(&channel).await.unwrap(), "tcp");
    served.abort();
    let channel = Channel::new("passthrough:///no-such-host.invalid:1").unwrap();
    let status = who(&channel).await.unwrap_err();
    assert!(status.message().contains("no-such-host.invalid:1: "), "{status}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn unix_sockets_without_a_path() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let name = format!("gannet-test-{}", std::process::id());
    let channel = Channel::new(format!("unix-abstract:{name}")).unwrap();
    let status = who(&channel).await.unwrap_err();
    assert!(status.message().contains(&format!("unix-abstract:{name}: ")), "{status}");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = gannet_transport::Stream::Unix(stream);
        let mut peer = Peer::new(stream, gannet_http2::Config::default());
        peer.flush().await;
        peer.echo().await;
    });
    let channel = Channel::new(format!("unix-abstract:{name}")).unwrap();
    assert_eq!(unary(&channel, b"x").await.unwrap(), b"x");
    server.await.unwrap();
}

#[test]
fn targets_of_schemes_of_ones_own() {
    let make = |target: &gannet_client::name::TargetUri<'_>| {
        assert_eq!(target.scheme, "ports");
        let port: u16 = target.path.parse().map_err(|_| format!("{:?} is no port", target.path))?;
        Ok(AddressList::new([std::net::SocketAddr::from(([127, 0, 0, 1], port))]))
    };
    let build = |target: &str| Channel::builder(target).scheme("ports", make).build();
    assert_eq!(build("ports:///7").unwrap().target(), "ports:///7");
    let error = build("ports:///seven").unwrap_err();
    assert_eq!(error.to_string(), "bad target \"ports:///seven\": \"seven\" is no port");
    // The others are as they were.
    build("dns:///localhost:7").unwrap();
    let error = build("consul:///svc").unwrap_err();
    assert!(error.to_string().contains("the scheme \"consul\" is not known"), "{error}");
    let error = Channel::builder("x:1").scheme("Not A Scheme", make).build().unwrap_err();
    assert!(error.to_string().contains("\"Not A Scheme\" is not a scheme"), "{error}");
}

/// A stream on a connection that drains, and what becomes of a channel that makes another
/// connection meanwhile.
async fn drains(by_server: bool) {
    let (address, mut acceptor) = scripted("drains");
    let other = backend("other");
    let list = AddressList::new([address, other.address.clone()]);
    let channel = builder()
        .resolver(list.clone())
        .balance(RoundRobin::new)
        .idle_timeout(MINUTE)
        .build()
        .unwrap();
    channel.connect().unwrap();
    let mut peer = Peer::new(accept(&mut acceptor).await, gannet_http2::Config::default());
    peer.flush().await;
    let (key, mut stream) = loop {
        // Every other one goes to the other server, which knows no such method.
        let stream = chat(&channel).await.unwrap();
        if let Ok((key, _)) = timeout(Duration::from_millis(10), peer.request()).await {
            break (key, stream);
        }
    };
    if by_server {
        peer.conn.drain(Instant::now().into_std());
        peer.flush().await;
    } else {
        list.set([other.address.clone()]);
        assert_eq!(peer.next().await, Got::GoAway { reason: Reason::NO_ERROR });
    }
    for _ in 0..5 {
        sleep(MINUTE).await;
        assert_ne!(channel.state(), ChannelState::Idle, "{by_server}");
    }
    // Its end is that of the last call, and the connection's.
    peer.respond(key, &[b"end"], crate::peer::OK).await;
    let ended = Instant::now();
    assert_eq!(stream.1.next().await.unwrap().unwrap(), b"end");
    assert_eq!(stream.1.next().await.unwrap(), None);
    while peer.next().await != Got::Closed {}
    let idle = async {
        while channel.wait_for_state_change(channel.state()).await != ChannelState::Idle {}
    };
    timeout(MINUTE * 3, idle).await.expect("nobody calls");
    let after = ended.elapsed().as_secs_f64();
    assert!((59.9..61.1).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_a_connection_that_drains_keeps_the_channel_from_being_idle() {
    drains(true).await;
    drains(false).await;
}
