//! A server on bare hyper: HTTP/2 and nothing above it.
//!
//! Reads each request to its end and answers all of them with the same bytes, which are the hello
//! world's reply to `hello`. The least that a gRPC server on hyper could cost.

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};

use bench_common::{Result, greeting, hello_reply, server};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

/// One message, then the trailers.
struct Reply {
    message: Option<Bytes>,
    trailers: bool,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::take(&mut self.trailers) {
            let status = HeaderName::from_static("grpc-status");
            let trailers = HeaderMap::from_iter([(status, HeaderValue::from_static("0"))]);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }
}

async fn answer(request: Request<Incoming>, message: Bytes) -> Result<Response<Reply>> {
    request.into_body().collect().await?;
    let mut response = Response::new(Reply { message: Some(message), trailers: true });
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, value);
    Ok(response)
}

async fn serve(args: server::Args) -> Result<()> {
    let message = Bytes::from(hello_reply(&greeting("hello"))?);
    let listener = args.listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let message = message.clone();
        let connection =
            http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(request, message.clone())),
            );
        tokio::spawn(connection);
    }
}

fn main() -> ExitCode {
    server::run(&[], serve)
}
