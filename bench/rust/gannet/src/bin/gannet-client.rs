//! The client on Gannet.

use std::process::ExitCode;

use bench_common::client::{Client, expect_body, expect_greeting, run};
use bench_common::{Error, MESSAGE_BYTES_MAX, Result, body};
use bench_gannet::bench::{EchoClient, Payload, Want};
use bench_gannet::grpctest::{GrpctestClient, Message};
use gannet::Channel;

#[derive(Clone)]
struct Gannet {
    hello: GrpctestClient,
    echo: EchoClient,
}

impl Client for Gannet {
    async fn connect(addr: String) -> Result<Gannet> {
        let channel = Channel::builder(addr).max_receive_bytes(MESSAGE_BYTES_MAX).build()?;
        let hello = GrpctestClient::new(channel.clone());
        Ok(Gannet { hello, echo: EchoClient::new(channel) })
    }

    async fn hello(&mut self, message: String) -> Result<()> {
        let request = Message { message, ..Default::default() };
        let reply = self.hello.get_server_response(request).await?;
        expect_greeting(&reply.message, reply.received)
    }

    async fn echo(&mut self, body: Vec<u8>) -> Result<()> {
        let bytes = body.len();
        let reply = self.echo.unary(Payload { body: body.into(), ..Default::default() }).await?;
        expect_body(&reply.body, bytes)
    }

    async fn server_stream(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let want = Want { messages, bytes, ..Default::default() };
        let mut replies = self.echo.server_stream(want).await?;
        let mut came = 0;
        while let Some(reply) = replies.next().await? {
            expect_body(&reply.body, bytes as usize)?;
            came += 1;
        }
        Ok(came)
    }

    async fn bidi(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let (mut requests, mut replies) = self.echo.bidi_stream().await?;
        let send = async {
            for _ in 0..messages {
                requests.send(Payload { body: body(bytes).into(), ..Default::default() }).await?;
            }
            requests.finish();
            Ok::<(), Error>(())
        };
        let receive = async {
            let mut came = 0;
            while let Some(reply) = replies.next().await? {
                expect_body(&reply.body, bytes as usize)?;
                came += 1;
            }
            Ok(came)
        };
        Ok(tokio::try_join!(send, receive)?.1)
    }
}

fn main() -> ExitCode {
    run::<Gannet>()
}
