//! A server on bare hyper: HTTP/2 and nothing above it.
//!
//! Reads each request to its end and answers all of them with the same bytes, which are the hello
//! world's reply to `hello`. The least that a gRPC server on hyper could cost.

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};

use bench_common::{Result, greeting, server};
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

/// The reply as it is on the wire: the length, field 1 with the text, field 2 with `true`.
fn message() -> Result<Bytes> {
    let text = greeting("hello");
    let field = [&[0x0a, u8::try_from(text.len())?], text.as_bytes(), &[0x10, 0x01]].concat();
    let head = [0, 0, 0, 0, u8::try_from(field.len())?];
    Ok([&head[..], &field].concat().into())
}

async fn serve(args: server::Args) -> Result<()> {
    let message = message()?;
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
