//! What Prometheus reads: names, labels, buckets and numbers, over HTTP from peers of all kinds.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use gannet_client::Channel;
use gannet_otel::Metrics;
use gannet_otel::prometheus::{Endpoint, Prometheus};
use opentelemetry::metrics::MeterProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::{download, unary};
use crate::service::{Test, serve, settle};

const SERVER_LABELS: &str = concat!(
    r#"{grpc_method="test.Test/Unary",grpc_status="OK","#,
    r#"otel_scope_name="grpc-rust-gannet",otel_scope_version=""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);

/// A channel to a server, both of which are measured.
fn measured() -> (Prometheus, Channel) {
    let prometheus = Prometheus::new("test").unwrap();
    let metrics = Metrics::new(prometheus.provider());
    let channel = serve(
        Test::default(),
        |server| server.observe(metrics.clone()),
        |builder| builder.observe(metrics.clone()),
    );
    (prometheus, channel)
}

/// The number on the line that begins so.
fn number(text: &str, start: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{start} in:\n{text}"))
}

async fn listening(endpoint: Endpoint) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(endpoint.serve(listener));
    address
}

/// All that comes for these bytes, until the server closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    closed(&mut stream).await
}

/// What comes until the server closes. One that still had bytes to read may have reset.
async fn closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

async fn fetch(address: SocketAddr) -> String {
    exchange(address, b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n").await
}

#[tokio::test(start_paused = true)]
async fn names_types_and_labels_are_those_of_the_rules() {
    let (prometheus, channel) = measured();
    unary(&channel, b"hello").await.unwrap();
    settle().await;
    let text = prometheus.text().unwrap();
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected = [
        "grpc_client_attempt_duration_seconds histogram",
        "grpc_client_attempt_rcvd_total_compressed_message_size_bytes histogram",
        "grpc_client_attempt_sent_total_compressed_message_size_bytes histogram",
        "grpc_client_attempt_started_total counter",
        "grpc_client_call_duration_seconds histogram",
        "grpc_server_call_duration_seconds histogram",
        "grpc_server_call_rcvd_total_compressed_message_size_bytes histogram",
        "grpc_server_call_sent_total_compressed_message_size_bytes histogram",
        "grpc_server_call_started_total counter",
        "target_info gauge",
    ];
    assert_eq!(types, expected);
    let count = format!("grpc_server_call_duration_seconds_count{SERVER_LABELS}");
    assert_eq!(number(&text, &count), 1.0);
    let target = r#""OK",grpc_target="in-process:///in-process""#;
    let client = SERVER_LABELS.replace(r#""OK""#, target);
    let count = format!("grpc_client_call_duration_seconds_count{client}");
    assert_eq!(number(&text, &count), 1.0);
    assert!(text.contains(r#"service_name="test""#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn buckets_are_cumulative_and_end_in_infinity() {
    let (prometheus, channel) = measured();
    unary(&channel, b"hello").await.unwrap();
    unary(&channel, &[0; 3_000]).await.unwrap();
    settle().await;
    let text = prometheus.text().unwrap();
    let size = "grpc_server_call_rcvd_total_compressed_message_size_bytes";
    let (labels, _) = SERVER_LABELS.split_once('}').unwrap();
    let start = format!("{size}_bucket{labels},le=\"");
    let buckets: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&start)).collect();
    assert_eq!(buckets.len(), 15);
    let first = [r#"0"} 0"#, r#"1024"} 1"#, r#"2048"} 1"#, r#"4096"} 2"#];
    assert_eq!((&buckets[..4], buckets[14]), (first.as_slice(), r#"+Inf"} 2"#));
    assert_eq!(number(&text, &format!("{size}_count{SERVER_LABELS}")), 2.0);
    assert_eq!(number(&text, &format!("{size}_sum{SERVER_LABELS}")), 3_005.0);
    let latency = format!("grpc_server_call_duration_seconds_bucket{labels},le=\"");
    assert_eq!(text.lines().filter(|line| line.starts_with(&latency)).count(), 42);
    assert_eq!(number(&text, &format!("{latency}0.00001\"}}")), 2.0, "time stands still");
}

#[tokio::test(start_paused = true)]
async fn counts_go_up_by_the_calls_that_were_made() {
    let (prometheus, channel) = measured();
    let count = format!("grpc_server_call_duration_seconds_count{SERVER_LABELS}");
    let mut expected = 0.0;
    for calls in [1, 10, 100] {
        for _ in 0..calls {
            unary(&channel, b"hello").await.unwrap();
            unary(&channel, b"fail").await.unwrap_err();
        }
        settle().await;
        expected += f64::from(calls);
        let text = prometheus.text().unwrap();
        assert_eq!(number(&text, &count), expected);
        let failed = count.replace(r#""OK""#, r#""NOT_FOUND""#);
        assert_eq!(number(&text, &failed), expected);
        let labels = SERVER_LABELS.replace(r#"grpc_status="OK","#, "");
        let started = format!("grpc_server_call_started_total{labels}");
        assert_eq!(number(&text, &started), 2.0 * expected);
    }
    download(&channel, b"hello").await.unwrap();
    settle().await;
    let text = prometheus.text().unwrap();
    assert_eq!(number(&text, &count), expected, "another method's are counted apart");
    assert_eq!(number(&text, &count.replace("Unary", "Download")), 1.0);
}

#[tokio::test(start_paused = true)]
async fn labels_that_would_break_the_text_are_escaped() {
    let prometheus = Prometheus::new("a \"b\"\n\\c").unwrap();
    let counter = prometheus.provider().meter("own").u64_counter("made").build();
    counter.add(7, &[]);
    let text = prometheus.text().unwrap();
    assert!(text.contains(r#"service_name="a \"b\"\n\\c""#), "{text}");
    assert_eq!(number(&text, r#"made_total{otel_scope_name="own"}"#), 7.0);
}

#[tokio::test]
async fn the_endpoint_serves_one_path_to_two_methods() {
    let (prometheus, channel) = measured();
    unary(&channel, b"hello").await.unwrap();
    let address = listening(Endpoint::new(prometheus)).await;
    let (head, body) = fetch(address).await.split_once("\r\n\r\n").map(owned).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.contains("grpc_server_call_started_total{"), "{body}");

    let head = exchange(address, b"HEAD /metrics?x=y HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"[..], "404"),
        (b"GET /metrics/ HTTP/1.1\r\nhost: t\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nhi", "405"),
        (b"DELETE /metrics HTTP/1.1\r\nhost: t\r\n\r\n", "405"),
    ] {
        let told = exchange(address, request).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{told}");
        assert_eq!(told.contains("allow: GET, HEAD"), status == "405", "{told}");
    }
}

fn owned((head, body): (&str, &str)) -> (String, String) {
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_refused_and_the_next_is_served() {
    let address = listening(Endpoint::new(measured().0)).await;
    let long_field = [&b"GET /metrics HTTP/1.1\r\nx: "[..], &[b'x'; 20_000], b"\r\n\r\n"].concat();
    let fields = b"x: y\r\n".repeat(100);
    let many_fields = [&b"GET /metrics HTTP/1.1\r\n"[..], &fields, b"\r\n"].concat();
    let requests: [&[u8]; 6] = [
        b"\0\xff\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno field\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long_field,
        &many_fields,
    ];
    for request in requests {
        let told = exchange(address, request).await;
        // Where the server has closed before it had read all, the answer may be lost.
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
        assert!(fetch(address).await.starts_with("HTTP/1.1 200"));
    }
}

/// Connections that have sent less than a request.
async fn slow(address: SocketAddr) -> Vec<TcpStream> {
    let mut slow = Vec::new();
    for start in ["", "GET /met", "GET /metrics HTTP/1.1\r\nhost: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    slow
}

#[tokio::test]
async fn who_is_slow_holds_up_nobody() {
    let endpoint = Endpoint::new(measured().0).exchange_time_max(Duration::from_secs(3_600));
    let address = listening(endpoint).await;
    let slow = slow(address).await;
    assert!(fetch(address).await.starts_with("HTTP/1.1 200"));
    for stream in slow {
        let read = stream.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "it still has time");
    }
}

#[tokio::test]
async fn who_is_slow_is_closed_at_last_and_its_place_is_free() {
    let endpoint = Endpoint::new(measured().0).exchange_time_max(Duration::from_millis(100));
    let address = listening(endpoint.connections_max(1)).await;
    let slow = slow(address).await;
    let told = fetch(address).await;
    assert!(told.starts_with("HTTP/1.1 200"), "it waits for them: {told}");
    for mut stream in slow {
        assert_eq!(closed(&mut stream).await, "", "they had no answer");
    }
}

#[tokio::test]
async fn connections_carry_one_request() {
    let address = listening(Endpoint::new(measured().0)).await;
    let twice = b"GET /metrics HTTP/1.1\r\nhost: t\r\n\r\n".repeat(2);
    assert_eq!(exchange(address, &twice).await.matches("HTTP/1.1").count(), 1);
}
