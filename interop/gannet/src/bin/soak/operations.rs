//! What our client does: the cases of `gannet_interop.proto`, and some that only a soak needs. Each
//! checks what comes back, and fails where anything is not as it should be.

use std::time::Duration;

use gannet::client::ChannelBuilder;
use gannet::{Channel, Code};
use gannet_interop::cases;
use gannet_interop::check::{Outcome, check, expect_status};
use gannet_interop::pattern;
use gannet_interop::proto::gannet::interop::v1::{EchoClient, EchoRequest};

/// How long a call may take where it is not to end sooner.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One thing that the client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// How often, beside the others.
    pub(crate) weight: u32,
    /// Only our server has what it takes.
    pub(crate) ours_only: bool,
}

const fn usual(name: &'static str, weight: u32) -> Operation {
    Operation { name, weight, ours_only: false }
}

const fn ours(name: &'static str, weight: u32) -> Operation {
    Operation { name, weight, ours_only: true }
}

/// All of them. Those of many calls or bytes are rare.
pub(crate) const OPERATIONS: &[Operation] = &[
    usual("small", 400),
    usual("burst", 30),
    usual("cancelled", 50),
    usual("past_deadline", 50),
    usual("slow_stream", 40),
    usual("reconnect", 60),
    usual("hello", 20),
    usual("unary", 50),
    usual("empty_stream", 30),
    usual("client_stream", 50),
    usual("server_stream", 50),
    usual("bidi", 60),
    usual("metadata", 40),
    usual("metadata_on_error", 20),
    usual("early_headers", 20),
    usual("status_codes", 10),
    usual("status_message", 10),
    usual("status_details", 10),
    usual("status_on_streams", 30),
    usual("unimplemented", 10),
    usual("gzip", 20),
    ours("deflate", 10),
    ours("zstd", 10),
    usual("large_unary", 12),
    usual("large_stream", 4),
    usual("oversized", 3),
    usual("many_at_once", 3),
    usual("concurrent", 3),
];

impl Operation {
    /// Does it.
    pub(crate) async fn run(
        &self,
        builder: &ChannelBuilder,
        channel: &Channel,
        chance: u64,
    ) -> Outcome {
        match self.name {
            "small" => small(channel, chance).await,
            "burst" => burst(channel, chance).await,
            "cancelled" => cancelled(channel, chance).await,
            "past_deadline" => past_deadline(channel, chance).await,
            "slow_stream" => slow_stream(channel).await,
            "reconnect" => reconnect(builder, chance).await,
            case => cases::run(case, builder, channel).await,
        }
    }
}

fn request(payload: Vec<u8>) -> EchoRequest {
    EchoRequest { payload: payload.into(), ..Default::default() }
}

/// A number below `bound` that follows from chance.
fn below(chance: u64, bound: u64) -> usize {
    usize::try_from(chance % bound).unwrap_or(0)
}

async fn small(channel: &Channel, chance: u64) -> Outcome {
    let sent = pattern(below(chance, 200), below(chance >> 8, 250));
    let client = EchoClient::new(channel.clone());
    let reply = client.unary(request(sent.clone())).timeout(TIMEOUT).await?;
    check("payload", reply.payload, sent)
}

/// Some calls after each other, without a pause.
async fn burst(channel: &Channel, chance: u64) -> Outcome {
    for round in 0..20 {
        small(channel, chance.rotate_left(round)).await?;
    }
    Ok(())
}

/// Each kind of call, dropped before its end.
async fn cancelled(channel: &Channel, chance: u64) -> Outcome {
    let client = EchoClient::new(channel.clone());
    let pause = Duration::from_millis(chance >> 16 & 63);
    let slow = EchoRequest { delay_ms: 20_000, ..request(pattern(100, 0)) };
    match chance % 4 {
        0 => {
            let call = client.unary(slow).timeout(TIMEOUT);
            if tokio::time::timeout(pause, call).await.is_ok() {
                return Err("the call did not wait".into());
            }
        }
        1 => {
            let many = EchoRequest { replies: 100_000, ..request(pattern(300, 0)) };
            let mut replies = client.server_stream(many).timeout(TIMEOUT).await?;
            for sequence in 0..below(chance >> 24, 50) {
                let reply = replies.next().await?.ok_or("the stream ended early")?;
                check("sequence", usize::try_from(reply.sequence)?, sequence)?;
            }
        }
        2 => {
            let (mut requests, reply) = client.client_stream().timeout(TIMEOUT).await?;
            for seed in 0..below(chance >> 24, 20) {
                requests.send(request(pattern(1_000, seed))).await?;
            }
            tokio::time::sleep(pause).await;
            drop((requests, reply));
        }
        _ => {
            let (mut requests, mut replies) = client.bidi().timeout(TIMEOUT).await?;
            let one = EchoRequest { replies: 1, ..request(pattern(1_000, 0)) };
            requests.send(one).await?;
            replies.next().await?.ok_or("the stream ended early")?;
            tokio::time::sleep(pause).await;
            drop(requests);
            expect_status(replies.next().await, Code::Cancelled, None)?;
        }
    }
    Ok(())
}

/// Calls that their deadline ends.
async fn past_deadline(channel: &Channel, chance: u64) -> Outcome {
    let client = EchoClient::new(channel.clone());
    let timeout = Duration::from_millis(20 + (chance >> 16 & 255));
    let slow = EchoRequest { delay_ms: 20_000, replies: 2, ..request(pattern(100, 0)) };
    if chance.is_multiple_of(2) {
        let outcome = client.unary(slow).timeout(timeout).await;
        return expect_status(outcome, Code::DeadlineExceeded, None).map(drop);
    }
    let outcome = match client.server_stream(slow).timeout(timeout).await {
        Ok(mut replies) => replies.next().await,
        Err(status) => Err(status),
    };
    expect_status(outcome, Code::DeadlineExceeded, None).map(drop)
}

/// Takes longer than a connection may be used.
async fn slow_stream(channel: &Channel) -> Outcome {
    const REPLIES: u32 = 20;
    let slow = EchoRequest { delay_ms: 400, replies: REPLIES, ..request(pattern(500, 0)) };
    let client = EchoClient::new(channel.clone());
    let mut replies = client.server_stream(slow).timeout(4 * TIMEOUT).await?;
    let mut sequence = 0;
    while let Some(reply) = replies.next().await? {
        check("sequence", reply.sequence, sequence)?;
        sequence += 1;
    }
    check("replies", sequence, REPLIES)
}

/// A channel of its own, closed or only dropped after some calls.
async fn reconnect(builder: &ChannelBuilder, chance: u64) -> Outcome {
    let channel = builder.clone().build()?;
    for round in 0..1 + chance % 3 {
        small(&channel, chance.rotate_left(u32::try_from(round)?)).await?;
    }
    if chance & 8 == 0 {
        channel.close();
    }
    Ok(())
}
