//! Connections that are cut, stalled and slow.

use std::time::Duration;

use gannet_client::Channel;
use gannet_core::Code;
use gannet_core::codec::Raw;
use gannet_server::Server;
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{Direction, InProcess, Wire};
use tokio::time::Instant;

type Bytes = Vec<u8>;

fn wired() -> (Channel, Wire) {
    InProcess::serve(Server::new().add(Echo)).wired()
}

async fn say(channel: &Channel, bytes: usize) -> gannet_core::Result<Bytes> {
    let call = channel.unary::<Raw, Bytes, Bytes>(&ECHO.methods[0], vec![7; bytes]);
    call.wait_for_ready(true).timeout(Duration::from_secs(600)).await
}

#[tokio::test(start_paused = true)]
async fn a_cut_fails_what_is_in_flight_and_the_channel_connects_again() {
    let (channel, wire) = wired();
    let (mut to, mut from) =
        channel.bidi_streaming::<Raw, Bytes, Bytes>(&ECHO.methods[1]).await.unwrap();
    to.send(vec![1]).await.unwrap();
    assert_eq!(from.next().await.unwrap(), Some(vec![1]));
    wire.cut();
    assert_eq!(from.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(say(&channel, 3).await.unwrap().len(), 3);
    assert_eq!(wire.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_stalled_waits_and_goes_on() {
    let (channel, wire) = wired();
    say(&channel, 1).await.unwrap();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let before = wire.carried_bytes(direction);
        wire.set_stalled(direction, true);
        let calling = tokio::spawn({
            let channel = channel.clone();
            async move { say(&channel, 1_000).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!calling.is_finished(), "{direction:?}");
        assert_eq!(wire.carried_bytes(direction), before, "{direction:?}");
        wire.set_stalled(direction, false);
        assert_eq!(calling.await.unwrap().unwrap().len(), 1_000);
        assert!(wire.carried_bytes(direction) > before + 1_000);
    }
}

/// However many are under way.
#[tokio::test(start_paused = true)]
async fn each_of_many_small_messages_is_under_way_for_the_latency() {
    let (channel, wire) = wired();
    let (mut to, mut from) =
        channel.bidi_streaming::<Raw, Bytes, Bytes>(&ECHO.methods[1]).await.unwrap();
    to.send(vec![0]).await.unwrap();
    from.next().await.unwrap();
    wire.set_latency(Duration::from_secs(1));
    let started = Instant::now();
    let pause = Duration::from_millis(5);
    let sending = tokio::spawn(async move {
        for nth in 0..1_000_u32 {
            tokio::time::sleep_until(started + nth * pause).await;
            to.send(nth.to_be_bytes().to_vec()).await.unwrap();
        }
        to
    });
    for nth in 0..1_000_u32 {
        assert_eq!(from.next().await.unwrap().unwrap(), nth.to_be_bytes());
        let took = started.elapsed() - nth * pause;
        let there_and_back = Duration::from_secs(2);
        assert!(took >= there_and_back, "{nth}: {took:?}");
        assert!(took <= there_and_back + Duration::from_millis(5), "{nth}: {took:?}");
    }
    drop(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_slow_wire_takes_its_time() {
    let (channel, wire) = wired();
    say(&channel, 1).await.unwrap();
    wire.set_rate(100_000);
    let started = Instant::now();
    say(&channel, 1_000_000).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    // Ten seconds there, ten back; the answer begins when the request has come.
    assert!((19.9..21.5).contains(&seconds), "{seconds}");
    wire.set_rate(0);
    let started = Instant::now();
    say(&channel, 1_000_000).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn connections_are_cut_at_bytes_that_follow_from_a_seed() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let (channel, wire) = wired();
        wire.cut_within(seed, 100..5_000);
        let mut outcomes = Vec::new();
        for _ in 0..30 {
            outcomes
                .push(say(&channel, 200).await.map(|reply| reply.len()).map_err(|it| it.code()));
        }
        assert!(wire.connections() > 3, "{}", wire.connections());
        assert!(outcomes.contains(&Ok(200)));
        let bytes = [Direction::ToServer, Direction::ToClient].map(|to| wire.carried_bytes(to));
        runs.push((outcomes, wire.connections(), bytes));
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0].2, runs[2].2);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_told_so() {
    let refused = async |channel: &Channel| {
        let call = channel.unary::<Raw, Bytes, Bytes>(&ECHO.methods[0], Vec::new());
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        status.to_string()
    };
    let server = InProcess::serve(Server::new().add(Echo));
    let (channel, wire) = server.wired();
    wire.set_refusing(true);
    let told = refused(&channel).await;
    assert!(told.contains("the in-process listener refuses connections"), "{told}");
    assert_eq!(wire.connections(), 0);
    wire.set_refusing(false);
    say(&channel, 1).await.unwrap();
    assert_eq!(wire.connections(), 1);
    // And so by a wire whose server is gone.
    server.stop(Duration::ZERO).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = refused(&channel).await;
    assert!(told.contains("the in-process listener is gone"), "{told}");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "within no bytes")]
async fn a_range_without_bytes_is_a_mistake_of_the_test() {
    wired().1.cut_within(1, 5..5);
}
