//! The client on tonic.

use std::process::ExitCode;

use bench_common::client::{Client, expect_body, expect_greeting, run};
use bench_common::{MESSAGE_BYTES_MAX, Result, body};
use bench_tonic::bench::echo_client::EchoClient;
use bench_tonic::bench::{Payload, Want};
use bench_tonic::grpctest::Message;
use bench_tonic::grpctest::grpctest_client::GrpctestClient;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

#[derive(Clone)]
struct Tonic {
    hello: GrpctestClient<Channel>,
    echo: EchoClient<Channel>,
}

impl Client for Tonic {
    async fn connect(addr: String) -> Result<Tonic> {
        let channel = Endpoint::from_shared(format!("http://{addr}"))?.connect().await?;
        let echo = EchoClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Tonic { hello: GrpctestClient::new(channel), echo })
    }

    async fn hello(&mut self, message: String) -> Result<()> {
        let reply = self.hello.get_server_response(Message { message }).await?.into_inner();
        expect_greeting(&reply.message, reply.received)
    }

    async fn echo(&mut self, body: Vec<u8>) -> Result<()> {
        let bytes = body.len();
        let reply = self.echo.unary(Payload { body }).await?;
        expect_body(&reply.get_ref().body, bytes)
    }

    async fn server_stream(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let replies = self.echo.server_stream(Want { messages, bytes }).await?;
        count(replies.into_inner(), bytes).await
    }

    async fn bidi(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let requests = (0..messages).map(move |_| Payload { body: body(bytes) });
        let replies = self.echo.bidi_stream(tokio_stream::iter(requests)).await?;
        count(replies.into_inner(), bytes).await
    }
}

async fn count(mut replies: Streaming<Payload>, bytes: u32) -> Result<u32> {
    let mut came = 0;
    while let Some(reply) = replies.message().await? {
        expect_body(&reply.body, bytes as usize)?;
        came += 1;
    }
    Ok(came)
}

fn main() -> ExitCode {
    run::<Tonic>()
}
