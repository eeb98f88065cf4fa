//! The cases of `gannet_interop.proto`'s client, by name: what each does is written down in
//! `interop/README.md`.
//!
//! `plain` has the cases of one well-behaved call, `compression` those in an encoding, `metadata`
//! those with metadata, `credentials` those who say who calls, `security` those about TLS, `aging`
//! the one about connections that end, `edges` those about status, deadlines, cancellation and many
//! calls at once.

mod aging;
mod compression;
mod credentials;
mod edges;
mod metadata;
mod plain;
mod security;

use std::time::Duration;

use gannet::client::ChannelBuilder;
use gannet::compression::Encoding;
use gannet::{Channel, Inbound, Outbound};

use crate::check::{Outcome, check};
use crate::pattern;
use crate::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Deadline of calls whose case says nothing else.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs one case on `channel`, or on channels that it makes with the `builder` of that.
///
/// # Errors
/// Says what was not as the case wants it, or that there is no such case.
pub async fn run(case: &str, builder: &ChannelBuilder, channel: &Channel) -> Outcome {
    let client = Client {
        echo: pb::EchoClient::new(channel.clone()),
        missing: pb::MissingClient::new(channel.clone()),
    };
    match case {
        "hello" => plain::hello(channel.clone()).await,
        "empty_unary" => plain::empty_unary(&client).await,
        "unary" => plain::unary(&client).await,
        "large_unary" => plain::large_unary(&client).await,
        "client_stream" => plain::client_stream(&client).await,
        "empty_stream" => plain::empty_stream(&client).await,
        "server_stream" => plain::server_stream(&client).await,
        "large_stream" => plain::large_stream(&client).await,
        "bidi" => plain::bidi(&client).await,
        "metadata" => metadata::metadata(&client).await,
        "metadata_on_error" => metadata::metadata_on_error(&client).await,
        "early_headers" => metadata::early_headers(&client).await,
        "bearer" => credentials::bearer(builder.clone()).await,
        "jwt" => credentials::jwt(builder.clone()).await,
        "gzip" => compression::run(builder.clone(), Encoding::GZIP).await,
        "deflate" => compression::run(builder.clone(), Encoding::DEFLATE).await,
        "zstd" => compression::run(builder.clone(), Encoding::ZSTD).await,
        "peer" => security::peer(&client).await,
        "unavailable" => security::unavailable(&client).await,
        "status_codes" => edges::status_codes(&client).await,
        "status_message" => edges::status_message(&client).await,
        "status_details" => edges::status_details(&client).await,
        "status_on_streams" => edges::status_on_streams(&client).await,
        "deadline" => edges::deadline(&client).await,
        "cancel" => edges::cancel(&client).await,
        "unimplemented" => edges::unimplemented(&client).await,
        "oversized" => edges::oversized(&client).await,
        "concurrent" => edges::concurrent(&client).await,
        "many_at_once" => edges::many_at_once(&client).await,
        "connection_age" => aging::connection_age(&client).await,
        other => Err(format!("there is no case `{other}`").into()),
    }
}

/// Both stubs on one channel.
#[derive(Clone)]
struct Client {
    echo: pb::EchoClient,
    missing: pb::MissingClient,
}

impl Client {
    async fn unary(&self, request: EchoRequest) -> gannet::Result<EchoReply> {
        self.echo.unary(request).timeout(TIMEOUT).await
    }

    /// One call on the same channel after something went wrong on it.
    async fn still_works(&self) -> Outcome {
        let reply = self.unary(payload(b"still here".to_vec())).await?;
        check("call afterwards", reply.payload, b"still here".to_vec())
    }
}

/// A bidirectional call whose requests are sent one by one.
struct Bidi {
    requests: Outbound<EchoRequest>,
    replies: Inbound<EchoReply>,
}

impl Bidi {
    async fn start(client: &Client, metadata: gannet::Metadata) -> gannet::Result<Bidi> {
        let call = client.echo.bidi().timeout(TIMEOUT).metadata(metadata);
        let (requests, replies) = call.await?;
        Ok(Bidi { requests, replies })
    }

    async fn ping_pong(&mut self, rounds: u32, seed: usize) -> Outcome {
        for round in 0..rounds {
            let sent = pattern(round as usize * 7, seed);
            let request = EchoRequest { replies: 1, ..payload(sent.clone()) };
            self.requests.send(request).await?;
            let reply = self.replies.next().await?.ok_or("the stream ended early")?;
            check("payload", reply.payload, sent)?;
            check("sequence", reply.sequence, round)?;
            check("requests", reply.requests, round + 1)?;
        }
        Ok(())
    }

    /// Half-closes, and wants the end; gives the rest of the call back.
    async fn finish(self) -> Result<Inbound<EchoReply>, Error> {
        let Bidi { requests, mut replies } = self;
        requests.finish();
        check("replies after the end", replies.next().await?, None)?;
        Ok(replies)
    }
}

fn payload(payload: Vec<u8>) -> EchoRequest {
    EchoRequest { payload: payload.into(), ..Default::default() }
}

fn with_status(code: i32, message: &str) -> EchoRequest {
    let status = pb::EchoStatus { code, message: message.to_owned(), ..Default::default() };
    EchoRequest { status: Some(status).into(), ..Default::default() }
}
