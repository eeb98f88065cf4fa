//! The server on volo-grpc. It has no limit on messages that would have to be raised.

use std::process::ExitCode;

use bench_common::{Result, body, greeting, server};
use generated::bench::{Count, Echo, EchoServer, Payload, Want};
use generated::grpctest::{Grpctest, GrpctestServer, Message, MessageResponse};
use tokio_stream::StreamExt;
use volo::net::incoming::DefaultIncoming;
use volo_grpc::server::{Server, ServiceBuilder};
use volo_grpc::{BoxStream, RecvStream, Request, Response, Status};

/// What volo generates for both services.
#[allow(missing_docs, unreachable_pub, dead_code, rust_2018_idioms, clippy::all)]
mod generated {
    mod hello {
        include!(concat!(env!("OUT_DIR"), "/grpctest.rs"));
    }
    mod echo {
        include!(concat!(env!("OUT_DIR"), "/echo.rs"));
    }
    pub use echo::echo::bench;
    pub use hello::grpctest::grpctest;
}

type Replies = Response<BoxStream<'static, Result<Payload, Status>>>;

struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(
        &self,
        request: Request<Message>,
    ) -> Result<Response<MessageResponse>, Status> {
        let message = greeting(&request.get_ref().message).into();
        Ok(Response::new(MessageResponse { message, received: true, ..Default::default() }))
    }
}

struct Echoes;

impl Echo for Echoes {
    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn server_stream(&self, request: Request<Want>) -> Result<Replies, Status> {
        let Want { messages, bytes, .. } = request.into_inner();
        let reply = move |_| Ok(Payload { body: body(bytes).into(), ..Default::default() });
        Ok(Response::new(Box::pin(tokio_stream::iter((0..messages).map(reply)))))
    }

    async fn client_stream(
        &self,
        request: Request<RecvStream<Payload>>,
    ) -> Result<Response<Count>, Status> {
        let mut requests = request.into_inner();
        let mut messages = 0;
        while requests.next().await.transpose()?.is_some() {
            messages += 1;
        }
        Ok(Response::new(Count { messages, ..Default::default() }))
    }

    async fn bidi_stream(&self, request: Request<RecvStream<Payload>>) -> Result<Replies, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

async fn serve(args: server::Args) -> Result<()> {
    let listener = DefaultIncoming::from(args.listen().await?);
    Server::new()
        .add_service(ServiceBuilder::new(GrpctestServer::new(Hello)).build())
        .add_service(ServiceBuilder::new(EchoServer::new(Echoes)).build())
        .run(listener)
        .await?;
    Ok(())
}

fn main() -> ExitCode {
    server::run(&[], serve)
}
