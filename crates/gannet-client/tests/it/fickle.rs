//! Servers that accept each connection and end it soon: a storm where that is a fault, an age or an
//! end where it is not.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::AddressList;
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelBuilder};
use gannet_core::Code;
use gannet_http2::Config;
use gannet_transport::Acceptor;
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{backend, builder, counts, scripted};
use crate::peer::{OK, Peer, Peers, accept, spawn_unary, unary};

const SECOND: Duration = Duration::from_secs(1);

/// Accepts, sends SETTINGS that allow no call, and hangs up: when, in this time.
async fn hangs_up(peers: &mut Peers, within: Duration) -> Vec<f64> {
    peers.config.concurrent_streams_max = 0;
    let (start, mut times) = (Instant::now(), Vec::new());
    let accepts = async {
        loop {
            let peer = peers.accept().await;
            times.push(start.elapsed().as_secs_f64());
            assert!(times.len() < 100, "a storm: {times:?}");
            sleep(Duration::from_millis(5)).await;
            drop(peer);
        }
    };
    let _ = timeout(within, accepts).await;
    times
}

/// Checks the pauses of a backoff. The first connection's end may be chance.
fn is_backoff(times: &[f64]) {
    assert!(times[1] - times[0] < 0.1, "{times:?}");
    let pauses: Vec<f64> = times[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() > 2, "it goes on: {times:?}");
    let mut want = 1.0;
    for pause in pauses {
        assert!((want * 0.79 - 0.02..want * 1.21 + 0.02).contains(&pause), "{want}: {times:?}");
        want = (want * 1.6).min(120.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_call_and_goes_is_not_stormed() {
    let (channel, mut peers) = Peers::new();
    let call = spawn_unary(&channel, b"x");
    is_backoff(&hangs_up(&mut peers, SECOND * 60).await);
    assert!(!call.is_finished(), "no server has seen it");
    // What a deadline is told, and that it need not be waited for.
    let late = unary(&channel, b"").timeout(SECOND / 100).await.unwrap_err();
    let told = late.message();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(told.contains(", CONNECTING in "), "{told}");
    assert!(told.contains(" after in-process: ") && told.ends_with(", READY]"), "{told}");
    peers.config = Config::default();
    let start = Instant::now();
    channel.reset_backoff();
    peers.accept().await.echo().await;
    assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());
    assert_eq!(call.await.unwrap().unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn nor_under_round_robin_and_the_others_serve() {
    let good = backend("good");
    let (address, mut acceptor) = scripted("fickle");
    let list = AddressList::new([address, good.address.clone()]);
    let channel = builder().resolver(list).balance(RoundRobin::new).build().unwrap();
    channel.connect().unwrap();
    let (start, mut times) = (Instant::now(), Vec::new());
    let accepts = async {
        loop {
            let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
            times.push(start.elapsed().as_secs_f64());
            peer.flush().await;
            sleep(Duration::from_millis(5)).await;
            peer.conn.drain(Instant::now().into_std());
            peer.flush().await;
        }
    };
    let _ = timeout(SECOND * 60, accepts).await;
    is_backoff(&times);
    assert_eq!(counts(&channel, 10).await["good"], 10);
}

/// That health is asked for and told makes no connection a good one.
#[tokio::test(start_paused = true)]
async fn an_answer_about_health_is_no_service() {
    let (channel, mut peers) =
        Peers::with(|builder| builder.balance(RoundRobin::new).health_check("mail"));
    channel.connect().unwrap();
    let (start, mut times) = (Instant::now(), Vec::new());
    let accepts = async {
        loop {
            let mut peer = peers.accept().await;
            times.push(start.elapsed().as_secs_f64());
            assert!(times.len() < 100, "a storm: {times:?}");
            let (key, _) = peer.request().await;
            peer.body(key).await;
            peer.begin(key, &[b"\x08\x02"]).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(SECOND * 60, accepts).await;
    is_backoff(&times);
}

/// One call for each connection, which ends a while after, or while the call goes on.
async fn one_call_each(acceptor: &mut Acceptor, connections: usize, lets_go_on: bool) {
    for _ in 0..connections {
        let mut peer = Peer::new(accept(acceptor).await, Config::default());
        peer.flush().await;
        let (key, _, message) = peer.unary().await;
        if lets_go_on {
            // By a GOAWAY that comes before the answer.
            peer.conn.drain(Instant::now().into_std());
            peer.flush().await;
        }
        sleep(Duration::from_millis(50)).await;
        peer.respond(key, &[&message], OK).await;
        if !lets_go_on {
            sleep(Duration::from_millis(150)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn servers_whose_connections_serve_and_end_early_are_not_slowed() {
    let spread: fn(ChannelBuilder) -> Channel =
        |builder| builder.balance(RoundRobin::new).build().unwrap();
    let plain: fn(ChannelBuilder) -> Channel = |builder| builder.build().unwrap();
    for build in [plain, spread] {
        for lets_go_on in [false, true] {
            let (address, mut acceptor) = scripted("old");
            let channel = build(builder().resolver(AddressList::new([address])));
            let served = tokio::spawn(async move {
                one_call_each(&mut acceptor, 20, lets_go_on).await;
            });
            let start = Instant::now();
            for _ in 0..20 {
                assert_eq!(unary(&channel, b"x").into_future().await.unwrap(), b"x");
                if !lets_go_on {
                    sleep(Duration::from_millis(160)).await;
                }
            }
            let took = start.elapsed();
            assert!(took < Duration::from_millis(20 * 215), "{took:?}, {lets_go_on}");
            served.await.unwrap();
        }
    }
}
