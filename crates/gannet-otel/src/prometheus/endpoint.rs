//! [`Endpoint`]: an HTTP/1.1 server with one path.
//!
//! Whoever connects may be slow or hostile. Each connection carries one request, has a bound on
//! the bytes of its head and on the time for all of it, and there are so many at once and no more;
//! who comes then waits in the listener's queue, until one of those is done or out of time.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Prometheus;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields of a request's head.
const FIELDS_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 16;
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);
/// Before the next `accept`, where one has failed: for want of descriptors it fails at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const PATH: &str = "/metrics";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Serves `GET /metrics`, and nothing else: other paths are 404, other methods 405.
#[derive(Clone, Debug)]
#[must_use = "it serves nothing before `serve`"]
pub struct Endpoint {
    prometheus: Prometheus,
    connections_max: usize,
    exchange_time_max: Duration,
}

impl Endpoint {
    /// Serves what this has measured.
    pub fn new(prometheus: Prometheus) -> Endpoint {
        let (connections_max, exchange_time_max) = (CONNECTIONS_MAX, EXCHANGE_TIME_MAX);
        Endpoint { prometheus, connections_max, exchange_time_max }
    }

    /// Connections at once, 16 by default, at least 1.
    pub fn connections_max(mut self, connections: usize) -> Endpoint {
        self.connections_max = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// From a connection's beginning to its end, with the request and the whole response; 10 s by
    /// default.
    pub fn exchange_time_max(mut self, time: Duration) -> Endpoint {
        self.exchange_time_max = time;
        self
    }

    /// Serves for ever. Where the future is dropped, no further connections are accepted; those
    /// there are come to their end.
    pub async fn serve(self, listener: TcpListener) {
        let free = Arc::new(Semaphore::new(self.connections_max));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
            let stream = accepted(&listener).await;
            let endpoint = self.clone();
            tokio::spawn(async move {
                endpoint.connection(stream).await;
                drop(place);
            });
        }
    }

    /// One request and its response. That a peer has failed is no affair of the service.
    async fn connection(self, stream: TcpStream) {
        let answer = service_fn(|request| {
            let response = self.response(&request);
            async { Ok::<_, Infallible>(response) }
        });
        let exchange = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(FIELDS_MAX)
            // The time for the whole exchange bounds that of the head.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), answer);
        let _ = tokio::time::timeout(self.exchange_time_max, exchange).await;
    }

    fn response(&self, request: &Request<Incoming>) -> Response<String> {
        if request.uri().path() != PATH {
            return told(StatusCode::NOT_FOUND, PLAIN, format!("only {PATH} is here\n"));
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let text = "only GET and HEAD\n".to_owned();
            let mut response = told(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.prometheus.text() {
            Ok(text) => told(StatusCode::OK, TEXT, text),
            Err(error) => told(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        }
    }
}

/// The next connection; what fails is tried again.
async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Of one that has gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn told(status: StatusCode, kind: HeaderValue, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
