//! A server that ends connections for their age and idleness all the time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use gannet::Code;
use tokio::task::JoinSet;

use super::{Client, Error, Outcome, TIMEOUT, payload};
use crate::check::{check, expect_status};
use crate::proto::gannet::interop::v1::EchoRequest;
use crate::{ADDRESS, pattern};

/// The connections that calls came on.
type Peers = HashSet<String>;

pub(crate) async fn connection_age(client: &Client) -> Outcome {
    let end = Instant::now() + Duration::from_secs(3);
    let mut workers = JoinSet::new();
    for worker in 0..4 {
        workers.spawn(calls(client.clone(), worker, end));
    }
    for worker in 0..2 {
        workers.spawn(streams(client.clone(), worker, end));
    }
    let mut peers = Peers::new();
    while let Some(worker) = workers.join_next().await {
        peers.extend(worker??);
    }
    enough("busy ones", &peers)?;

    let mut peers = Peers::new();
    for number in 0..30 {
        peers.insert(call(client, number).await?);
        let pause = if number % 2 == 0 { 150 } else { 10 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    enough("idle ones", &peers)?;
    outlives_the_grace(client).await
}

fn enough(which: &str, peers: &Peers) -> Outcome {
    match peers.len() {
        5.. => Ok(()),
        few => Err(format!("only {few} connections, {which}: none was ended").into()),
    }
}

/// The connection that it came on.
async fn call(client: &Client, seed: usize) -> Result<String, Error> {
    let sent = pattern(1_000, seed);
    let call = client.echo.unary(payload(sent.clone())).timeout(TIMEOUT).header(ADDRESS, "tell");
    let (reply, metadata) = call.with_metadata().await?;
    check("payload", reply.payload, sent)?;
    Ok(metadata.trailers.get(ADDRESS).ok_or("no peer is told")?.to_owned())
}

async fn calls(client: Client, seed: usize, end: Instant) -> Result<Peers, Error> {
    let mut peers = Peers::new();
    while Instant::now() < end {
        peers.insert(call(&client, seed).await?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(peers)
}

async fn streams(client: Client, seed: usize, end: Instant) -> Result<Peers, Error> {
    let mut peers = Peers::new();
    while Instant::now() < end {
        let call = client.echo.bidi().timeout(TIMEOUT).header(ADDRESS, "tell");
        let (mut requests, mut replies) = call.await?;
        for round in 0..10 {
            let sent = pattern(1_000 * round, seed);
            let request = EchoRequest { replies: 1, delay_ms: 20, ..payload(sent.clone()) };
            requests.send(request).await?;
            let reply = replies.next().await?.ok_or("the stream ended early")?;
            check("payload", reply.payload, sent)?;
        }
        requests.finish();
        check("replies after the end", replies.next().await?, None)?;
        let told = replies.trailers().and_then(|trailers| trailers.get(ADDRESS));
        peers.insert(told.ok_or("no peer is told")?.to_owned());
    }
    Ok(peers)
}

async fn outlives_the_grace(client: &Client) -> Outcome {
    let (_requests, mut replies) = client.echo.bidi().timeout(TIMEOUT).await?;
    let began = Instant::now();
    expect_status(replies.next().await, Code::Unavailable, None)?;
    let took = began.elapsed().as_secs_f64();
    if !(2.0..10.0).contains(&took) {
        return Err(format!("the grace was {took} s").into());
    }
    client.still_works().await
}
