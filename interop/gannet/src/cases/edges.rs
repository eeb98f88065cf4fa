//! Status, deadlines, cancellation, limits, and many calls at once.

use std::time::{Duration, Instant};

use crate::pattern;
use crate::proto::gannet::interop::v1::{EchoRequest, EchoStatus, ObserveRequest};
use gannet::{Code, Metadata};
use tokio::task::JoinSet;

use super::{Bidi, Client, TIMEOUT, payload, with_status};
use crate::check::{Outcome, check, expect_status};

const SPECIAL: &str =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";

pub(crate) async fn status_codes(client: &Client) -> Outcome {
    for code in 1..=16 {
        let message = format!("status {code}");
        let outcome = client.unary(with_status(code, &message)).await;
        expect_status(outcome, Code::from(code), Some(&message))?;
    }
    Ok(())
}

pub(crate) async fn status_message(client: &Client) -> Outcome {
    for message in [SPECIAL, "", "100 % of %41 and %zz", &"é".repeat(300), "plain"] {
        let outcome = client.unary(with_status(2, message)).await;
        expect_status(outcome, Code::Unknown, Some(message))?;
    }
    Ok(())
}

pub(crate) async fn status_details(client: &Client) -> Outcome {
    for code in 1..=16 {
        let message = format!("detailed \u{263a} {code}");
        let status =
            EchoStatus { code, message: message.clone(), detailed: true, ..Default::default() };
        let request = EchoRequest { status: Some(status).into(), ..Default::default() };
        let outcome = client.unary(request).await;
        let status = expect_status(outcome, Code::from(code), Some(&message))?;
        check("details", status.packed_details().count(), 2)?;
        let (info, retry) = crate::details(code);
        check("ErrorInfo", status.detail(), Some(info))?;
        check("RetryInfo", status.detail(), Some(retry))?;
    }
    let outcome = client.unary(with_status(5, "plain")).await;
    let status = expect_status(outcome, Code::NotFound, Some("plain"))?;
    check("details of a plain status", status.packed_details().count(), 0)
}

pub(crate) async fn status_on_streams(client: &Client) -> Outcome {
    let code = Code::FailedPrecondition;
    let (mut requests, reply) = client.echo.client_stream().timeout(TIMEOUT).await?;
    requests.send(payload(b"a".to_vec())).await?;
    requests.send(with_status(9, "enough")).await?;
    expect_status(reply.await, code, Some("enough"))?;

    let request = EchoRequest { replies: 2, ..with_status(9, "enough") };
    let mut replies = client.echo.server_stream(request).timeout(TIMEOUT).await?;
    for sequence in 0..2 {
        let reply = replies.next().await?.ok_or("the stream ended early")?;
        check("sequence", reply.sequence, sequence)?;
    }
    expect_status(replies.next().await, code, Some("enough"))?;

    let mut stream = Bidi::start(client, Metadata::new()).await?;
    stream.ping_pong(2, 0).await?;
    let last =
        EchoRequest { replies: 1, payload: b"last".to_vec().into(), ..with_status(9, "enough") };
    stream.requests.send(last).await?;
    let reply = stream.replies.next().await?.ok_or("the stream ended early")?;
    check("last reply", reply.payload, b"last".to_vec())?;
    expect_status(stream.replies.next().await, code, Some("enough"))?;
    client.still_works().await
}

async fn cut_short(client: &Client) -> gannet::Result<u64> {
    let observation = client.echo.observe(ObserveRequest::default()).timeout(TIMEOUT).await?;
    Ok(observation.calls_cut_short)
}

/// Waits until the server has seen exactly `more` calls end under their handlers.
async fn wait_for_cut_short(client: &Client, before: u64, more: u64) -> Outcome {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = cut_short(client).await? - before;
        if seen >= more || Instant::now() > patience {
            return check("calls cut short", seen, more);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn deadline(client: &Client) -> Outcome {
    let before = cut_short(client).await?;
    let started = Instant::now();
    let request = EchoRequest { delay_ms: 10_000, ..Default::default() };
    let outcome = client.echo.unary(request).timeout(Duration::from_millis(300)).await;
    expect_status(outcome, Code::DeadlineExceeded, None)?;
    let took = started.elapsed().as_millis();
    if !(250..3000).contains(&took) {
        return Err(format!("took {took} ms").into());
    }
    let request = EchoRequest { delay_ms: 50, replies: 1000, ..Default::default() };
    let call = client.echo.server_stream(request).timeout(Duration::from_millis(500));
    let mut replies = call.await?;
    check("sequence", replies.next().await?.map(|reply| reply.sequence), Some(0))?;
    let status = loop {
        match replies.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("the stream ended well".into()),
            Err(status) => break status,
        }
    };
    check("code", status.code(), Code::DeadlineExceeded)?;
    wait_for_cut_short(client, before, 2).await?;
    client.still_works().await
}

pub(crate) async fn cancel(client: &Client) -> Outcome {
    let before = cut_short(client).await?;
    let mut stream = Bidi::start(client, Metadata::new()).await?;
    stream.ping_pong(2, 0).await?;
    drop(stream.requests);
    expect_status(stream.replies.next().await, Code::Cancelled, None)?;

    let request = EchoRequest { replies: 100_000, delay_ms: 5, ..payload(b"a".to_vec()) };
    let mut replies = client.echo.server_stream(request).timeout(TIMEOUT).await?;
    for sequence in 0..2 {
        check("sequence", replies.next().await?.map(|reply| reply.sequence), Some(sequence))?;
    }
    drop(replies);

    let request = EchoRequest { delay_ms: 10_000, ..Default::default() };
    let call = client.unary(request);
    if tokio::time::timeout(Duration::from_millis(200), call).await.is_ok() {
        return Err("the call did not wait".into());
    }
    wait_for_cut_short(client, before, 3).await?;
    client.still_works().await
}

pub(crate) async fn unimplemented(client: &Client) -> Outcome {
    let request = payload(b"a".to_vec());
    let outcome = client.echo.unimplemented(request.clone()).timeout(TIMEOUT).await;
    expect_status(outcome, Code::Unimplemented, None)?;
    let outcome = client.missing.call(request).timeout(TIMEOUT).await;
    expect_status(outcome, Code::Unimplemented, None)?;
    client.still_works().await
}

pub(crate) async fn oversized(client: &Client) -> Outcome {
    const BYTES: usize = 5 << 20;
    let outcome = client.unary(payload(vec![0; BYTES])).await;
    expect_status(outcome, Code::ResourceExhausted, None)?;
    let reply_bytes = u32::try_from(BYTES)?;
    let outcome = client.unary(EchoRequest { reply_bytes, ..Default::default() }).await;
    expect_status(outcome, Code::ResourceExhausted, None)?;
    client.still_works().await
}

pub(crate) async fn concurrent(client: &Client) -> Outcome {
    let mut workers = JoinSet::new();
    for worker in 0..48 {
        let client = client.clone();
        workers.spawn(async move {
            for number in 0..20 {
                let sent = pattern(64 + worker * 20 + number, worker);
                let reply = client.unary(payload(sent.clone())).await?;
                check("payload", reply.payload, sent)?;
            }
            Outcome::Ok(())
        });
    }
    for worker in 0..16 {
        let client = client.clone();
        workers.spawn(async move {
            let mut stream = Bidi::start(&client, Metadata::new()).await?;
            stream.ping_pong(20, worker).await?;
            stream.finish().await.map(drop)
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

pub(crate) async fn many_at_once(client: &Client) -> Outcome {
    let mut calls = JoinSet::new();
    for number in 0..300 {
        let client = client.clone();
        calls.spawn(async move {
            let request = EchoRequest { delay_ms: 100, ..payload(pattern(50, number)) };
            let reply = client.unary(request).await?;
            check("payload", reply.payload, pattern(50, number))
        });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    Ok(())
}
