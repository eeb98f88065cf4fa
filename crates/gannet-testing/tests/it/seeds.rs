//! What a seed decides: who answers, and when, in each run, on whatever thread.

use std::time::Duration;

use gannet_client::name::AddressList;
use gannet_client::policy::{PickFirst, Policy, RoundRobin};
use gannet_client::{Channel, ChannelBuilder};
use gannet_core::codec::Raw;
use gannet_core::{Code, Status};
use gannet_server::{Incoming, Next, Server};
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{InProcess, seed, virtual_time};
use tokio::time::Instant;

/// Twenty servers, each of which tells its number by a status.
fn twenty() -> ChannelBuilder {
    let mut addresses = Vec::new();
    for n in 0..20 {
        let server = Server::new().add(Echo).intercept(move |_: Incoming, _: Next| async move {
            Err(Status::new(Code::Aborted, n.to_string()))
        });
        addresses.push(InProcess::serve(server).address(format!("server {n}")));
    }
    Channel::builder("twenty").resolver(AddressList::new(addresses))
}

/// Who answers thirty calls.
fn answers<P: Policy>(of: u64, make: fn() -> P) -> Vec<String> {
    let course = async move {
        seed(of);
        let channel = twenty().balance(make).build().unwrap();
        let mut told = Vec::new();
        for _ in 0..30 {
            // Time for all to be connected.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
            told.push(call.await.unwrap_err().message().to_owned());
        }
        told
    };
    // On a thread of its own: each has another number.
    std::thread::spawn(|| virtual_time(course)).join().unwrap()
}

fn follows_from_the_seed<P: Policy>(make: fn() -> P) {
    let first = answers(1, make);
    assert_eq!(first, answers(1, make));
    assert!((2..8).any(|other| answers(other, make) != first), "always the same: {first:?}");
}

#[test]
fn whose_turn_is_first_follows_from_the_seed() {
    follows_from_the_seed(RoundRobin::new);
}

#[test]
fn a_shuffled_order_follows_from_the_seed() {
    follows_from_the_seed(|| PickFirst::new().shuffled());
}

/// How long a call waits that meets a minute of refusals.
async fn outage() -> Duration {
    let (channel, wire) = InProcess::serve(Server::new().add(Echo)).wired();
    wire.set_refusing(true);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        wire.set_refusing(false);
    });
    let started = Instant::now();
    let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
    call.wait_for_ready(true).await.unwrap();
    started.elapsed()
}

#[test]
fn backoff_follows_from_the_seed_and_virtual_time_has_one() {
    let run = |of: Option<u64>| {
        let course = async move {
            of.into_iter().for_each(seed);
            outage().await
        };
        std::thread::spawn(|| virtual_time(course)).join().unwrap()
    };
    assert_eq!(run(Some(7)), run(Some(7)));
    assert_ne!(run(Some(7)), run(Some(8)));
    assert_eq!(run(None), run(None));
    assert_eq!(run(None), run(Some(0)));
}
