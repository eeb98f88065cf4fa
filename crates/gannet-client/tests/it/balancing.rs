//! Several servers behind one channel: turns, failures, lists that change.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gannet_client::name::{Address, AddressList};
use gannet_client::policy::{PickFirst, RoundRobin};
use gannet_client::{Channel, ChannelState};
use gannet_core::{Code, Status};
use gannet_http2::{Config, Reason};
use gannet_server::Server;
use gannet_transport::Listener;
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{
    Backend, Named, backend, builder, counts, dead, scripted, until_all_answer, who,
};
use crate::peer::{Got, OK, Peer, accept, chat, spawn_unary, unary};

const SECOND: Duration = Duration::from_secs(1);

fn spread(backends: &[&Backend]) -> (AddressList, Channel) {
    let list = AddressList::new(backends.iter().map(|backend| backend.address.clone()));
    let channel = builder().resolver(list.clone()).balance(RoundRobin::new).build().unwrap();
    (list, channel)
}

fn even(names: &[&str], each: usize) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), each)).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_take_turns() {
    let (one, two, three) = (backend("one"), backend("two"), backend("three"));
    let (_, channel) = spread(&[&one, &two, &three]);
    until_all_answer(&channel, 3).await;
    assert_eq!(counts(&channel, 300).await, even(&["one", "two", "three"], 100));
    assert_eq!(channel.state(), ChannelState::Ready);
}

#[tokio::test(start_paused = true)]
async fn by_default_all_calls_go_to_the_first_that_answers() {
    let (one, two) = (backend("one"), backend("two"));
    let list = [dead("dead"), one.address.clone(), two.address.clone()];
    let channel = builder().resolver(AddressList::new(list)).build().unwrap();
    assert_eq!(counts(&channel, 20).await, even(&["one"], 20));
    assert_eq!(two.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn shuffled_channels_spread_over_servers() {
    let backends = ["a", "b", "c", "d", "e"].map(backend);
    let list = AddressList::new(backends.iter().map(|backend| backend.address.clone()));
    let mut chosen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let channel = builder()
            .resolver(list.clone())
            .balance(|| PickFirst::new().shuffled())
            .build()
            .unwrap();
        chosen.insert(who(&channel).await.unwrap());
    }
    // By chance all are the same in one of 10^41 runs.
    assert!(chosen.len() > 1, "{chosen:?}");
}

#[tokio::test(start_paused = true)]
async fn neither_a_dead_server_nor_a_silent_one_holds_calls_up() {
    let good = backend("good");
    let (hole, mut acceptor) = scripted("hole");
    let swallows = tokio::spawn(async move {
        let mut swallowed = Vec::new();
        loop {
            swallowed.push(accept(&mut acceptor).await);
        }
    });
    let list = AddressList::new([dead("dead"), hole, good.address.clone()]);
    let channel = builder().resolver(list).balance(RoundRobin::new).build().unwrap();
    let start = Instant::now();
    assert_eq!(counts(&channel, 100).await, even(&["good"], 100));
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing was waited for");
    // Nor later, while attempts go on.
    for _ in 0..100 {
        sleep(SECOND).await;
        let start = Instant::now();
        assert_eq!(who(&channel).await.unwrap(), "good");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    swallows.abort();
}

#[tokio::test(start_paused = true)]
async fn only_calls_on_the_lost_connection_fail_and_it_is_made_again_by_itself() {
    let good = backend("good");
    let (address, mut acceptor) = scripted("lost");
    let list = AddressList::new([address, good.address.clone()]);
    let channel = builder().resolver(list).balance(RoundRobin::new).build().unwrap();
    let mut peer = Peer::new(accept_after(&channel, &mut acceptor).await, Config::default());
    peer.flush().await;
    sleep(SECOND).await;
    // One of two calls comes here.
    let calls = [channel.clone(), channel.clone()]
        .map(|channel| tokio::spawn(async move { unary(&channel, b"").into_future().await }));
    peer.unary().await;
    sleep(2 * SECOND).await;
    drop(peer);
    let mut failed = Vec::new();
    for call in calls {
        failed.extend(call.await.unwrap().err());
    }
    let [status] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("lost: "), "{status}");
    assert_eq!(counts(&channel, 10).await, even(&["good"], 10));
    // Nobody calls.
    let again = timeout(SECOND, accept(&mut acceptor)).await.expect("it connects by itself");
    let mut peer = Peer::new(again, Config::default());
    peer.flush().await;
    let serves = tokio::spawn(peer.echo_all());
    let both = timeout(SECOND, async {
        while unary(&channel, b"echo").await.unwrap() != b"echo" {
            tokio::task::yield_now().await;
        }
    });
    both.await.expect("it gets calls again");
    drop(channel);
    serves.await.unwrap();
}

/// The channel's first connection there.
async fn accept_after(
    channel: &Channel,
    acceptor: &mut gannet_transport::Acceptor,
) -> gannet_transport::Stream {
    channel.connect().unwrap();
    accept(acceptor).await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_what_it_accepts_is_not_stormed() {
    let good = backend("good");
    let (address, mut acceptor) = scripted("fickle");
    let list = AddressList::new([address, good.address.clone()]);
    let channel = builder().resolver(list).balance(RoundRobin::new).build().unwrap();
    channel.connect().unwrap();
    let accepts = async {
        for connections in 0_usize.. {
            let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
            peer.flush().await;
            // Its SETTINGS came, so that no backoff holds.
            peer.conn.drain(std::time::Instant::now());
            peer.flush().await;
            drop(peer);
            assert!(connections < 200, "a storm");
        }
    };
    let _ = timeout(SECOND * 100, accepts).await;
    assert_eq!(who(&channel).await.unwrap(), "good");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_keeps_what_stays_and_open_calls_elsewhere() {
    let (stays, comes) = (backend("stays"), backend("comes"));
    let (address, mut acceptor) = scripted("goes");
    let list = AddressList::new([address.clone(), stays.address.clone()]);
    let channel = builder().resolver(list.clone()).balance(RoundRobin::new).build().unwrap();
    let mut going = Peer::new(accept_after(&channel, &mut acceptor).await, Config::default());
    going.flush().await;
    // A stream on each connection.
    let mut streams = Vec::new();
    let (key, _) = loop {
        streams.push(chat(&channel).await.unwrap());
        match timeout(Duration::from_millis(1), going.request()).await {
            Ok(request) => break request,
            Err(_) => assert!(streams.len() < 100, "none comes"),
        }
    };
    list.set([comes.address.clone(), stays.address.clone()]);
    until_all_answer(&channel, 2).await;
    assert_eq!(counts(&channel, 20).await, even(&["comes", "stays"], 10));
    // It is told that nothing more comes, and the call on it goes on.
    assert_eq!(going.next().await, Got::GoAway { reason: Reason::NO_ERROR });
    let (mut tx, mut rx) = streams.pop().unwrap();
    tx.send(b"late".to_vec()).await.unwrap();
    tx.finish();
    going.body(key).await;
    going.respond(key, &[b"fine"], OK).await;
    assert_eq!(rx.next().await.unwrap().unwrap(), b"fine");
    assert_eq!(rx.next().await.unwrap(), None);
    // And what goes may come back.
    list.set([address]);
    let back = timeout(SECOND, accept(&mut acceptor)).await.expect("it is connected to again");
    let mut back = Peer::new(back, Config::default());
    back.flush().await;
    let serves = tokio::spawn(back.echo_all());
    assert_eq!(unary(&channel, b"back").await.unwrap(), b"back");
    drop(channel);
    serves.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_of_the_same_addresses_reconnects_nobody() {
    let (address, mut acceptor) = scripted("one");
    let list = AddressList::new([address.clone()]);
    for policy in [true, false] {
        let builder = builder().resolver(list.clone());
        let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
        let channel = builder.build().unwrap();
        let mut peer = Peer::new(accept_after(&channel, &mut acceptor).await, Config::default());
        peer.flush().await;
        let serves = tokio::spawn(peer.echo_all());
        for _ in 0..10 {
            list.set([address.clone()]);
            assert_eq!(unary(&channel, b"x").await.unwrap(), b"x");
        }
        let another = timeout(SECOND, accept(&mut acceptor)).await;
        assert!(another.is_err(), "another connection was made");
        drop(channel);
        serves.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn another_listener_of_the_same_name_is_another_server() {
    for policy in [true, false] {
        let [one, two] = ["replica"; 2].map(backend);
        let list = AddressList::new([one.address.clone()]);
        let builder = builder().resolver(list.clone());
        let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
        let channel = builder.build().unwrap();
        assert_eq!(counts(&channel, 2).await["replica"], 2);
        list.set([two.address.clone()]);
        sleep(SECOND).await;
        assert_eq!(counts(&channel, 3).await["replica"], 3);
        let of = |backend: &Backend| backend.calls.load(Ordering::SeqCst);
        assert_eq!((of(&one), of(&two)), (2, 3));
        // Both at once: turns between them.
        list.set([one.address.clone(), two.address.clone()]);
        sleep(SECOND).await;
        counts(&channel, 10).await;
        assert_eq!((of(&one), of(&two)), if policy { (7, 8) } else { (2, 13) });
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_ready_wait_under_every_policy() {
    for policy in [true, false] {
        let late = backend("late");
        let list = AddressList::new([dead("dead:1"), dead("dead:2")]);
        let builder = builder().resolver(list.clone());
        let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
        let channel = builder.build().unwrap();
        let status = unary(&channel, b"").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let told = status.message();
        assert!(told.starts_with("cannot connect to test:///backends: dead:"), "{told}");
        assert!(told.contains("[attempt 1, TRANSIENT_FAILURE]"), "{told}");
        assert_eq!(channel.state(), ChannelState::TransientFailure);
        let (answer, ()) =
            tokio::join!(unary(&channel, b"").wait_for_ready(true).into_future(), async {
                sleep(SECOND * 10).await;
                list.set([late.address.clone()]);
            });
        assert_eq!(answer.unwrap(), b"late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_empty_or_fails_is_told() {
    let good = backend("good");
    let list = AddressList::new(Vec::<Address>::new());
    for policy in [true, false] {
        let builder = builder().resolver(list.clone());
        let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
        let channel = builder.build().unwrap();
        list.set(Vec::<Address>::new());
        let status = who(&channel).await.unwrap_err();
        assert!(status.message().contains("knows no address"), "{status}");
        list.set([good.address.clone()]);
        unary(&channel, b"").wait_for_ready(true).await.unwrap();
        // What was known stays true.
        list.fail(Status::unavailable("the registry is down"));
        sleep(SECOND).await;
        assert_eq!(who(&channel).await.unwrap(), "good");
        // Not for whoever knows nothing.
        let fresh = crate::backends::builder().resolver(list.clone()).build().unwrap();
        let status = who(&fresh).await.unwrap_err();
        assert!(status.message().ends_with("backends: the registry is down"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_name_failed_for_is_forgotten_when_it_stands_for_something() {
    for policy in [true, false] {
        for is_empty in [true, false] {
            let (slow, mut acceptor) = scripted("slow");
            let list = AddressList::new(Vec::<Address>::new());
            let builder = builder().resolver(list.clone());
            let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
            let channel = builder.build().unwrap();
            if !is_empty {
                list.fail(Status::unavailable("the registry is down"));
            }
            let status = who(&channel).await.unwrap_err();
            let told = if is_empty { "knows no address" } else { "the registry is down" };
            assert!(status.message().contains(told), "{status}");
            list.set([slow]);
            // It is being connected to: a call waits, and is not told what was before.
            let waits = spawn_unary(&channel, b"waits");
            sleep(SECOND).await;
            assert_eq!(channel.state(), ChannelState::Connecting);
            let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
            peer.flush().await;
            peer.echo().await;
            assert_eq!(waits.await.unwrap().unwrap(), b"waits");
        }
    }
}

/// A server on a TCP port, which can be killed.
fn serve(name: &'static str, address: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let named = Named { name, calls: std::sync::Arc::default() };
    let served = Server::new().add(named).serve(Listener::try_from(listener).unwrap());
    (address, tokio::spawn(async move { served.await.unwrap() }))
}

#[tokio::test]
async fn addresses_of_a_target_are_servers_of_their_own() {
    let any = "127.0.0.1:0".parse().unwrap();
    let servers = ["one", "two", "three"].map(|name| serve(name, any));
    let list: Vec<String> = servers.iter().map(|(address, _)| address.to_string()).collect();
    let target = format!("ipv4:{}", list.join(","));
    let channel = Channel::builder(target).balance(RoundRobin::new).build().unwrap();
    until_all_answer(&channel, 3).await;
    assert_eq!(counts(&channel, 30).await, even(&["one", "two", "three"], 10));
    for (_, server) in servers {
        server.abort();
    }
}
