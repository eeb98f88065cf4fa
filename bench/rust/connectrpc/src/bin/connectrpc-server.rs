//! The server on connectrpc.

#![allow(refining_impl_trait, reason = "a program's signatures may say more than the trait's")]

use std::process::ExitCode;
use std::sync::Arc;

use bench_common::{MESSAGE_BYTES_MAX, body, greeting, server};
use bench_connectrpc::bench::{Count, Echo, Payload, Want};
use bench_connectrpc::grpctest::{Grpctest, Message, MessageResponse};
use connectrpc::{
    ConnectError, Encodable, InboundStream, Limits, RequestContext, Response, Router, Server,
    ServiceRequest, ServiceResult, ServiceStream, StreamMessage,
};
use tokio_stream::StreamExt;

struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Message>,
    ) -> ServiceResult<MessageResponse> {
        let message = greeting(request.message);
        Response::ok(MessageResponse { message, received: true, ..Default::default() })
    }
}

struct Echoes;

impl Echo for Echoes {
    async fn unary(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Payload>,
    ) -> ServiceResult<Payload> {
        Response::ok(request.to_owned_message())
    }

    async fn server_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Want>,
    ) -> ServiceResult<ServiceStream<impl Encodable<Payload> + Send + use<>>> {
        let (messages, bytes) = (request.messages, request.bytes);
        let reply = move |_| Ok(Payload { body: body(bytes), ..Default::default() });
        Response::stream_ok(tokio_stream::iter((0..messages).map(reply)))
    }

    async fn client_stream(
        &self,
        _: RequestContext,
        mut requests: InboundStream<Payload>,
    ) -> ServiceResult<Count> {
        let mut messages = 0;
        while requests.next().await.transpose()?.is_some() {
            messages += 1;
        }
        Response::ok(Count { messages, ..Default::default() })
    }

    /// Returns what came as it came, which connectrpc recommends for an echo.
    async fn bidi_stream(
        &self,
        _: RequestContext,
        requests: InboundStream<Payload>,
    ) -> Result<Response<ServiceStream<StreamMessage<Payload>>>, ConnectError> {
        Ok(Response::new(requests))
    }
}

async fn serve(args: server::Args) -> bench_common::Result<()> {
    let limits = Limits::default()
        .with_max_request_body_size(MESSAGE_BYTES_MAX)
        .with_max_message_size(MESSAGE_BYTES_MAX);
    let router = Router::new().add_service(Arc::new(Hello)).add_service(Arc::new(Echoes));
    let service = connectrpc::ConnectRpcService::new(router).with_limits(limits);
    Server::from_listener(args.listen().await?).serve_with_service(service).await
}

fn main() -> ExitCode {
    server::run(&[], serve)
}
