//! The client on connectrpc, by the gRPC protocol.

use std::process::ExitCode;

use bench_common::client::{Client, expect_body, expect_greeting, run};
use bench_common::{Error, MESSAGE_BYTES_MAX, Result, body};
use bench_connectrpc::bench::{EchoClient, Payload, Want};
use bench_connectrpc::grpctest::{GrpctestClient, Message};
use connectrpc::Protocol;
use connectrpc::client::{ClientConfig, Http2Connection, SharedHttp2Connection};

/// Requests that wait in front of the connection; the number that connectrpc's docs recommend.
const REQUESTS_WAITING_MAX: usize = 1_024;

#[derive(Clone)]
struct Connect {
    hello: GrpctestClient<SharedHttp2Connection>,
    echo: EchoClient<SharedHttp2Connection>,
}

impl Client for Connect {
    async fn connect(addr: String) -> Result<Connect> {
        let uri: http::Uri = format!("http://{addr}").parse()?;
        let connection = Http2Connection::connect_plaintext(uri.clone()).await?;
        let connection = connection.shared(REQUESTS_WAITING_MAX);
        let config = ClientConfig::new(uri)
            .with_protocol(Protocol::Grpc)
            .with_default_max_message_size(MESSAGE_BYTES_MAX);
        let hello = GrpctestClient::new(connection.clone(), config.clone());
        Ok(Connect { hello, echo: EchoClient::new(connection, config) })
    }

    async fn hello(&mut self, message: String) -> Result<()> {
        let request = Message { message, ..Default::default() };
        let reply = self.hello.get_server_response(request).await?;
        let reply = reply.view();
        expect_greeting(reply.message, reply.received)
    }

    async fn echo(&mut self, body: Vec<u8>) -> Result<()> {
        let bytes = body.len();
        let reply = self.echo.unary(Payload { body, ..Default::default() }).await?;
        expect_body(reply.view().body, bytes)
    }

    async fn server_stream(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let want = Want { messages, bytes, ..Default::default() };
        let mut replies = self.echo.server_stream(want).await?;
        let mut came = 0;
        while let Some(reply) = replies.message::<Payload>().await? {
            expect_body(reply.view().body, bytes as usize)?;
            came += 1;
        }
        Ok(came)
    }

    async fn bidi(&mut self, messages: u32, bytes: u32) -> Result<u32> {
        let (mut requests, mut replies) = self.echo.bidi_stream().await?.into_split();
        let send = async {
            for _ in 0..messages {
                requests.send(Payload { body: body(bytes), ..Default::default() }).await?;
            }
            requests.close_send();
            Ok::<(), Error>(())
        };
        let receive = async {
            let mut came = 0;
            while let Some(reply) = replies.message::<Payload>().await? {
                expect_body(reply.view().body, bytes as usize)?;
                came += 1;
            }
            Ok(came)
        };
        Ok(tokio::try_join!(send, receive)?.1)
    }
}

fn main() -> ExitCode {
    run::<Connect>()
}
