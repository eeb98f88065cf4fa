//! The server on tonic.

use std::pin::Pin;
use std::process::ExitCode;

use bench_common::{MESSAGE_BYTES_MAX, Result, body, greeting, server};
use bench_tonic::bench::echo_server::{Echo, EchoServer};
use bench_tonic::bench::{Count, Payload, Want};
use bench_tonic::grpctest::grpctest_server::{Grpctest, GrpctestServer};
use bench_tonic::grpctest::{Message, MessageResponse};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

struct Hello;

#[tonic::async_trait]
impl Grpctest for Hello {
    async fn get_server_response(
        &self,
        request: Request<Message>,
    ) -> Result<Response<MessageResponse>, Status> {
        let message = greeting(&request.get_ref().message);
        Ok(Response::new(MessageResponse { message, received: true }))
    }
}

struct Echoes;

#[tonic::async_trait]
impl Echo for Echoes {
    type ServerStreamStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;
    type BidiStreamStream = Streaming<Payload>;

    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn server_stream(
        &self,
        request: Request<Want>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let Want { messages, bytes } = request.into_inner();
        let replies = (0..messages).map(move |_| Ok(Payload { body: body(bytes) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Count>, Status> {
        let mut requests = request.into_inner();
        let mut messages = 0;
        while requests.next().await.transpose()?.is_some() {
            messages += 1;
        }
        Ok(Response::new(Count { messages }))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Self::BidiStreamStream>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

async fn serve(args: server::Args) -> Result<()> {
    // `Server::serve` sets TCP_NODELAY by default; with a listener of one's own it is set here.
    let incoming = TcpIncoming::from(args.listen().await?).with_nodelay(Some(true));
    let mut server = Server::builder();
    if let Some(server::Identity { cert, key }) = &args.tls {
        let identity = Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    server
        .add_service(GrpctestServer::new(Hello).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(EchoServer::new(Echoes).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

fn main() -> ExitCode {
    server::run(&server::TLS, serve)
}
