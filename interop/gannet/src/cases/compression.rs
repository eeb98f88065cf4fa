//! The cases in an encoding: requests and replies compressed, per call and per channel.

use gannet::Metadata;
use gannet::client::ChannelBuilder;
use gannet::compression::{Compressors, Encoding};

use super::{TIMEOUT, payload};
use crate::check::{Outcome, check};
use crate::proto::gannet::interop::v1::{EchoClient, EchoRequest};
use crate::{COMPRESS, COMPRESSED, pattern};

const LENGTH: usize = 100_000;
const STREAM_LENGTHS: [usize; 4] = [27_182, 2_000, 1_828, 45_904];

pub(crate) async fn run(builder: ChannelBuilder, encoding: Encoding) -> Outcome {
    let builder = builder.compressors(Compressors::built_in());
    let by_call = EchoClient::new(builder.clone().build()?);
    // What the call says, whether the request is compressed.
    for (said, comes) in [(Some(encoding), true), (None, false)] {
        unary(&by_call, encoding, said, comes).await?;
    }
    client_stream(&by_call, encoding).await?;
    server_stream(&by_call, encoding).await?;
    bidi(&by_call, encoding).await?;

    let by_channel = EchoClient::new(builder.compress(encoding).build()?);
    for (said, comes) in [(None, true), (Some(Encoding::IDENTITY), false)] {
        unary(&by_channel, encoding, said, comes).await?;
    }
    Ok(())
}

async fn unary(
    echo: &EchoClient,
    replies: Encoding,
    said: Option<Encoding>,
    comes: bool,
) -> Outcome {
    let sent = pattern(LENGTH, 0);
    let call = echo.unary(payload(sent.clone())).timeout(TIMEOUT);
    let call = call.header(COMPRESS, replies.name());
    let call = match said {
        Some(encoding) => call.compress(encoding),
        None => call,
    };
    let (reply, metadata) = call.with_metadata().await?;
    check("payload", reply.payload, sent)?;
    check("compressed replies", metadata.compressed.messages, 1)?;
    check_requests(&metadata.trailers, u64::from(comes))
}

async fn client_stream(echo: &EchoClient, encoding: Encoding) -> Outcome {
    let call = echo.client_stream().timeout(TIMEOUT).compress(encoding);
    let (mut requests, reply) = call.header(COMPRESS, encoding.name()).await?;
    let mut all = Vec::new();
    for (seed, length) in STREAM_LENGTHS.into_iter().enumerate() {
        let sent = pattern(length, seed);
        all.extend_from_slice(&sent);
        if seed == 1 {
            requests.send(payload(sent)).uncompressed().await?;
        } else {
            requests.send(payload(sent)).await?;
        }
    }
    check("compressed requests, as sent", requests.compressed().messages, 3)?;
    requests.finish();
    let (reply, metadata) = reply.with_metadata().await?;
    check("payload", reply.payload, all)?;
    check("compressed replies", metadata.compressed.messages, 1)?;
    check_requests(&metadata.trailers, 3)
}

async fn server_stream(echo: &EchoClient, encoding: Encoding) -> Outcome {
    let request = EchoRequest { replies: 3, ..payload(pattern(LENGTH, 0)) };
    let call = echo.server_stream(request).timeout(TIMEOUT).compress(encoding);
    let mut replies = call.header(COMPRESS, encoding.name()).await?;
    while let Some(reply) = replies.next().await? {
        check("payload", reply.payload, pattern(LENGTH, 0))?;
    }
    check("compressed replies", replies.compressed().messages, 3)?;
    check_requests(replies.trailers().ok_or("no trailers")?, 1)
}

async fn bidi(echo: &EchoClient, encoding: Encoding) -> Outcome {
    let call = echo.bidi().timeout(TIMEOUT).compress(encoding);
    let (mut requests, mut replies) = call.header(COMPRESS, encoding.name()).await?;
    for (seed, length) in STREAM_LENGTHS.into_iter().enumerate() {
        let sent = pattern(length, seed);
        requests.send(EchoRequest { replies: 1, ..payload(sent.clone()) }).await?;
        let reply = replies.next().await?.ok_or("the stream ended early")?;
        check("payload", reply.payload, sent)?;
    }
    requests.finish();
    check("replies after the end", replies.next().await?, None)?;
    check("compressed replies", replies.compressed().messages, 4)?;
    check_requests(replies.trailers().ok_or("no trailers")?, 4)
}

/// How many requests came compressed, where the server tells.
fn check_requests(trailers: &Metadata, want: u64) -> Outcome {
    match trailers.get(COMPRESSED) {
        Some(told) => check("compressed requests, as told", told, want.to_string()),
        None => Ok(()),
    }
}
