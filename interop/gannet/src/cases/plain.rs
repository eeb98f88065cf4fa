//! Calls that go well, one kind each.

use std::time::Duration;

use crate::pattern;
use crate::proto::gannet::interop::v1::{EchoReply, EchoRequest};
use crate::proto::grpctest::{GrpctestClient, Message};
use gannet::Channel;

use super::{Bidi, Client, TIMEOUT, payload};
use crate::check::{Outcome, check};

const MIB: usize = 1 << 20;

pub(crate) async fn hello(channel: Channel) -> Outcome {
    let message = "Hello Server you there?".to_owned();
    let request = Message { message: message.clone(), ..Default::default() };
    let reply = GrpctestClient::new(channel).get_server_response(request).timeout(TIMEOUT).await?;
    let text = format!("Hello I am up and running received \"{message}\" message from you");
    check("message", reply.message, text)?;
    check("received", reply.received, true)
}

pub(crate) async fn empty_unary(client: &Client) -> Outcome {
    let reply = client.unary(EchoRequest::default()).await?;
    check("reply", reply, EchoReply { requests: 1, ..Default::default() })
}

pub(crate) async fn unary(client: &Client) -> Outcome {
    for length in [1, 27, 1000, 16384, 65536] {
        let reply = client.unary(payload(pattern(length, 0))).await?;
        check("payload", reply.payload, pattern(length, 0))?;
        check("requests", reply.requests, 1)?;
    }
    Ok(())
}

pub(crate) async fn large_unary(client: &Client) -> Outcome {
    let reply = client.unary(payload(pattern(MIB, 0))).await?;
    check("payload", reply.payload, pattern(MIB, 0))
}

pub(crate) async fn client_stream(client: &Client) -> Outcome {
    let (mut requests, reply) = client.echo.client_stream().timeout(TIMEOUT).await?;
    let mut all = Vec::new();
    for (seed, length) in [27182, 8, 1828, 45904].into_iter().enumerate() {
        all.extend(pattern(length, seed));
        requests.send(payload(pattern(length, seed))).await?;
    }
    requests.finish();
    let reply = reply.await?;
    check("payload", reply.payload, all)?;
    check("requests", reply.requests, 4)
}

pub(crate) async fn empty_stream(client: &Client) -> Outcome {
    let (requests, reply) = client.echo.client_stream().timeout(TIMEOUT).await?;
    requests.finish();
    check("client stream", reply.await?, EchoReply::default())?;
    Bidi::start(client, gannet::Metadata::new()).await?.finish().await?;
    let call = client.echo.server_stream(EchoRequest::default());
    let mut replies = call.timeout(TIMEOUT).await?;
    check("server stream", replies.next().await?, None)
}

pub(crate) async fn server_stream(client: &Client) -> Outcome {
    let request = EchoRequest { replies: 100, ..payload(pattern(1024, 0)) };
    let mut replies = client.echo.server_stream(request).timeout(TIMEOUT).await?;
    let mut sequence = 0;
    while let Some(reply) = replies.next().await? {
        check("sequence", reply.sequence, sequence)?;
        check("payload", reply.payload, pattern(1024, 0))?;
        sequence += 1;
    }
    check("replies", sequence, 100)
}

pub(crate) async fn large_stream(client: &Client) -> Outcome {
    let block = pattern(65536, 0);
    let request = EchoRequest { replies: 64, ..payload(block.clone()) };
    let mut replies = client.echo.server_stream(request).timeout(TIMEOUT).await?;
    let mut sequence = 0;
    while let Some(reply) = replies.next().await? {
        check("sequence", reply.sequence, sequence)?;
        check("payload", &reply.payload, &block)?;
        sequence += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    check("replies", sequence, 64)?;

    let (mut requests, reply) = client.echo.client_stream().timeout(TIMEOUT).await?;
    for _ in 0..48 {
        requests.send(payload(block.clone())).await?;
    }
    requests.finish();
    check("client stream", reply.await?.payload, block.repeat(48))
}

pub(crate) async fn bidi(client: &Client) -> Outcome {
    let mut call = Bidi::start(client, gannet::Metadata::new()).await?;
    call.ping_pong(50, 0).await?;
    call.finish().await.map(drop)
}
