//! Keepalive, clients that ping too much, connections that are old or idle (gRFC A8, A9).

use std::time::Duration;

use gannet_http2::Reason;
use gannet_server::{Dispatch, MethodOptions, Server};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Raw, connect, serve};
use crate::service::Test;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn server() -> (Server, std::sync::Arc<crate::service::World>) {
    let test = Test::new();
    let world = test.world.clone();
    // Not on threads for computing: virtual time would pass meanwhile.
    (
        Server::new()
            .add(test)
            .method("test.Test", MethodOptions::new().dispatch(Dispatch::Inline)),
        world,
    )
}

/// Answers what the server asks, for as long as this, or until the connection closes.
async fn attend(raw: &mut Raw, time: Duration) {
    let _ = timeout(time, raw.until(|raw| raw.closed)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pings_too_much_loses_its_connection() {
    let (server, world) = server();
    let mut raw = connect(server).await;
    raw.call("Wait", b"m");
    for _ in 0..3 {
        raw.ping();
        attend(&mut raw, s(299)).await;
        assert!(raw.goaways.is_empty() && !raw.closed);
    }
    raw.ping();
    attend(&mut raw, s(10)).await;
    assert_eq!(raw.goaways, [(1, Reason::ENHANCE_YOUR_CALM)]);
    assert_eq!(raw.farewell, b"too_many_pings");
    assert!(raw.closed);
    assert_eq!(world.gone(), 1, "its handler is dropped");
}

#[tokio::test(start_paused = true)]
async fn what_is_permitted_can_be_set() {
    let pings = async |server: Server, with_call: bool, every: Duration| {
        let mut raw = connect(server).await;
        if with_call {
            raw.call("Wait", b"m");
        }
        for _ in 0..20 {
            raw.ping();
            attend(&mut raw, every).await;
        }
        !raw.closed
    };
    assert!(pings(server().0, true, s(300)).await);
    assert!(!pings(server().0, false, s(300)).await, "without calls it is two hours");
    assert!(pings(server().0, false, s(7_200)).await);
    assert!(pings(server().0.pings_without_calls(true), false, s(300)).await);
    assert!(pings(server().0.min_ping_interval(s(10)), true, s(10)).await);
    assert!(!pings(server().0.min_ping_interval(s(10)), true, s(9)).await);
    assert!(pings(server().0.min_ping_interval(Duration::ZERO), true, Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn pings_between_calls_and_messages_are_welcome() {
    let mut raw = connect(server().0).await;
    for _ in 0..100 {
        raw.ping();
        raw.unary("Echo", b"m").await.ok();
    }
    let key = raw.open("Chat", &[]);
    for n in 1..=100 {
        raw.message(key, b"m", false);
        raw.until(|raw| raw.reply(key).messages().len() == n).await;
        raw.ping();
    }
    raw.end(key);
    assert_eq!(raw.finished(key).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_noticed_and_one_that_is_there_stays() {
    let (server, world) = server();
    let connector = serve(server);
    let mut there = Raw::new(connector.connect().await.unwrap().0);
    let mut gone = Raw::new(connector.connect().await.unwrap().0);
    // The handshake is done before one of them falls silent.
    there.unary("Echo", b"m").await.ok();
    gone.unary("Echo", b"m").await.ok();
    let start = Instant::now();
    gone.call("Wait", b"m");
    gone.flush().await;
    world.settle(|world| world.started() == 1).await;
    attend(&mut there, s(7_219)).await;
    assert_eq!(world.gone(), 0);
    attend(&mut there, s(2)).await;
    assert_eq!(world.gone(), 1, "after {:?}", start.elapsed());
    attend(&mut there, s(100_000)).await;
    assert!(!there.closed);
    there.unary("Echo", b"m").await.ok();
}

#[tokio::test(start_paused = true)]
async fn keepalive_can_be_set_and_turned_off() {
    for (time, time_out, gone) in [(s(5), s(3), Some(8)), (Duration::MAX, s(3), None)] {
        let (server, world) = server();
        let server = server.keepalive_time(time).keepalive_timeout(time_out);
        let mut raw = connect(server).await;
        raw.unary("Echo", b"m").await.ok();
        raw.call("Wait", b"m");
        raw.flush().await;
        world.settle(|world| world.started() == 1).await;
        match gone {
            Some(seconds) => {
                sleep(s(seconds) - Duration::from_millis(10)).await;
                assert_eq!(world.gone(), 0);
                sleep(Duration::from_millis(20)).await;
                assert_eq!(world.gone(), 1);
            }
            None => {
                sleep(s(1_000_000)).await;
                assert_eq!(world.gone(), 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn old_connections_drain_at_different_times_and_their_calls_go_on() {
    let (server, world) = server();
    let connector = serve(server.max_connection_age(s(1_000)));
    let mut ends = Vec::new();
    for _ in 0..8 {
        let start = Instant::now();
        let mut raw = Raw::new(connector.connect().await.unwrap().0);
        let key = raw.call("Wait", b"m");
        raw.until(|raw| !raw.goaways.is_empty()).await;
        let took = start.elapsed();
        assert!(took > s(899) && took < s(1_101), "{took:?}");
        ends.push(took);
        raw.until(|raw| raw.goaways.len() == 2).await;
        assert_eq!(raw.goaways, [(u32::MAX >> 1, Reason::NO_ERROR), (1, Reason::NO_ERROR)]);
        assert_eq!(raw.farewell, b"max_age");
        // There is no end to the grace.
        attend(&mut raw, s(100_000)).await;
        world.gate.add_permits(1);
        assert_eq!(raw.finished(key).await.ok(), b"m");
        raw.until(|raw| raw.closed).await;
    }
    ends.sort();
    ends.dedup();
    assert!(ends.len() > 1, "all of them at {ends:?}");
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_the_calls_of_an_old_connection_are_cut() {
    let (server, world) = server();
    let server = server.max_connection_age(s(100)).max_connection_age_grace(s(7));
    let mut raw = connect(server).await;
    raw.call("Wait", b"m");
    raw.until(|raw| raw.goaways.len() == 2).await;
    let drained = Instant::now();
    assert_eq!(world.gone(), 0);
    raw.until(|raw| raw.closed).await;
    let took = drained.elapsed();
    assert!(took >= s(7) && took < s(8), "{took:?}");
    assert_eq!((world.gone(), &raw.farewell[..]), (1, &b"max_age"[..]));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_drain_and_busy_ones_do_not() {
    let (server, world) = server();
    let mut raw = connect(server.max_connection_idle(s(60))).await;
    for _ in 0..10 {
        attend(&mut raw, s(59)).await;
        raw.unary("Echo", b"m").await.ok();
    }
    let key = raw.call("Wait", b"m");
    attend(&mut raw, s(1_000)).await;
    assert!(raw.goaways.is_empty(), "one long call is no idleness");
    world.gate.add_permits(1);
    raw.finished(key).await.ok();
    let start = Instant::now();
    raw.until(|raw| raw.closed).await;
    let took = start.elapsed();
    assert!(took >= s(60) && took < s(61), "{took:?}");
    assert_eq!((raw.goaways.len(), &raw.farewell[..]), (2, &b"max_idle"[..]));
}
