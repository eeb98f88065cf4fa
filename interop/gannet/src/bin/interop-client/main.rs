//! The client of `gannet_interop.proto`: one case by name; silence and exit code 0 mean it passed.
//!
//! `plain` has the cases of one well-behaved call, `compression` those in an encoding, `metadata`
//! those with metadata, `credentials` those who say who calls, `security` those about TLS, `edges`
//! those about status, deadlines, cancellation and many calls at once. What each does is written
//! down in `interop/README.md`.

mod compression;
mod credentials;
mod edges;
mod metadata;
mod plain;
mod security;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gannet::compression::Encoding;
use gannet::{Channel, Inbound, Outbound};
use gannet_interop::pattern;
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};

use gannet_interop::check::{Outcome, check, exit_code, expect_status};

/// Deadline of calls whose case says nothing else.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Args {
    /// The server
    #[arg(long)]
    addr: String,
    /// Which case to run
    #[arg(long)]
    case: String,
    #[command(flatten)]
    tls: security::Tls,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    exit_code(&args.case, &run(&args).await)
}

async fn run(args: &Args) -> Outcome {
    let mut builder = Channel::builder(&args.addr);
    if let Some(tls) = args.tls.build()? {
        builder = builder.tls(tls);
    }
    let channel = builder.clone().build()?;
    let client = Client {
        echo: pb::EchoClient::new(channel.clone()),
        missing: pb::MissingClient::new(channel.clone()),
    };
    match args.case.as_str() {
        "hello" => plain::hello(channel).await,
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
        "bearer" => credentials::bearer(builder).await,
        "gzip" => compression::run(builder, Encoding::GZIP).await,
        "deflate" => compression::run(builder, Encoding::DEFLATE).await,
        "zstd" => compression::run(builder, Encoding::ZSTD).await,
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
    async fn finish(self) -> Result<Inbound<EchoReply>, Box<dyn std::error::Error + Send + Sync>> {
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
