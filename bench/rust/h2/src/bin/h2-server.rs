//! A server on the bare h2 crate, on which hyper, tonic, connectrpc and volo stand.
//!
//! Reads each request to its end, in a task of its own as hyper does, and answers all of them with
//! the same bytes, which are the hello world's reply to `hello`.

use std::process::ExitCode;

use bench_common::{Result, greeting, hello_reply, server};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use tokio::net::TcpStream;

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> Result<()> {
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let bytes = data?.len();
        body.flow_control().release_capacity(bytes)?;
    }
    let mut response = Response::new(());
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, value);
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(message, false)?;
    let status = HeaderName::from_static("grpc-status");
    stream.send_trailers(HeaderMap::from_iter([(status, HeaderValue::from_static("0"))]))?;
    Ok(())
}

async fn serve_connection(stream: TcpStream, message: Bytes) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(answer(request, respond, message.clone()));
    }
    Ok(())
}

async fn serve(args: server::Args) -> Result<()> {
    let message = Bytes::from(hello_reply(&greeting("hello"))?);
    let listener = args.listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve_connection(stream, message.clone()));
    }
}

fn main() -> ExitCode {
    server::run(&[], serve)
}
