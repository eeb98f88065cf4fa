//! gRFC A66: names, units, labels, buckets and what is counted.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::{Channel, Next, Outgoing};
use gannet_core::codec::Raw;
use gannet_core::compression::{Compressors, Encoding};
use gannet_http2::Reason;
use gannet_otel::Metrics;
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, HistogramDataPoint, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use crate::peer::{Bytes, OK, Peers, chat, download, unary, upload};
use crate::service::{MISSING, Test, serve, settle};

const LATENCIES: &str = "0 0.00001 0.00005 0.0001 0.0003 0.0006 0.0008 0.001 0.002 0.003 0.004 \
     0.005 0.006 0.008 0.01 0.013 0.016 0.02 0.025 0.03 0.04 0.05 0.065 0.08 0.1 0.13 0.16 0.2 \
     0.25 0.3 0.4 0.5 0.65 0.8 1 2 5 10 20 50 100";
const SIZES: &str = "0 1024 2048 4096 16384 65536 262144 1048576 4194304 16777216 67108864 \
     268435456 1073741824 4294967296";

/// What one instrument has counted, by its labels.
#[derive(Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) unit: String,
    bounds: Option<Vec<f64>>,
    /// How many, and their sum.
    pub(crate) points: BTreeMap<String, (u64, f64)>,
}

pub(crate) struct Meters {
    exporter: InMemoryMetricExporter,
    pub(crate) provider: SdkMeterProvider,
}

impl Meters {
    pub(crate) fn new() -> Meters {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Meters { exporter, provider }
    }

    /// By the names of the instruments.
    pub(crate) fn read(&self) -> BTreeMap<String, Counted> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let mut all = BTreeMap::new();
        for scope in exported.iter().flat_map(|resource| resource.scope_metrics()) {
            assert_eq!(scope.scope().name(), "grpc-rust-gannet");
            assert_eq!(scope.scope().version(), Some(env!("CARGO_PKG_VERSION")));
            for metric in scope.metrics() {
                assert!(!metric.description().is_empty());
                let (bounds, points) = points(metric.data());
                let unit = metric.unit().to_owned();
                all.insert(metric.name().to_owned(), Counted { unit, bounds, points });
            }
        }
        all
    }
}

type Points = (Option<Vec<f64>>, BTreeMap<String, (u64, f64)>);

fn points(data: &AggregatedMetrics) -> Points {
    match data {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            let points = sum.data_points();
            (None, points.map(|point| (labels(point.attributes()), (point.value(), 0.0))).collect())
        }
        AggregatedMetrics::I64(MetricData::Sum(sum)) => {
            assert!(!sum.is_monotonic(), "it goes up and down");
            let number = |value: i64| value as f64;
            let points = sum.data_points();
            let points = points.map(|one| (labels(one.attributes()), (0, number(one.value()))));
            (None, points.collect())
        }
        AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
            buckets(histogram.data_points(), |sum| sum as f64)
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            buckets(histogram.data_points(), |sum| sum)
        }
        other => panic!("{other:?}"),
    }
}

fn buckets<'a, T: Copy + 'a>(
    points: impl Iterator<Item = &'a HistogramDataPoint<T>>,
    number: impl Fn(T) -> f64,
) -> Points {
    let mut bounds = None;
    let points = points.map(|point| {
        bounds = Some(point.bounds().collect());
        (labels(point.attributes()), (point.count(), number(point.sum())))
    });
    let points = points.collect();
    (bounds, points)
}

/// Sorted, without what all have in common.
fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut all: Vec<_> = attributes
        .map(|label| format!("{}={}", label.key, label.value))
        .filter(|label| label != "grpc.target=in-process:///in-process")
        .collect();
    all.sort();
    all.join(" ").replace("grpc.", "")
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_instrument_has_its_name_unit_and_buckets() {
    let meters = Meters::new();
    let metrics = Metrics::new(&meters.provider);
    let channel = serve(
        Test::default(),
        |server| server.observe(metrics.clone()),
        |builder| builder.observe(metrics.clone()),
    );
    unary(&channel, b"hello").await.unwrap();
    settle().await;
    let expected = [
        ("grpc.client.attempt.duration", "s", Some(LATENCIES), true),
        ("grpc.client.attempt.rcvd_total_compressed_message_size", "By", Some(SIZES), true),
        ("grpc.client.attempt.sent_total_compressed_message_size", "By", Some(SIZES), true),
        ("grpc.client.attempt.started", "{attempt}", None, false),
        ("grpc.client.call.duration", "s", Some(LATENCIES), true),
        ("grpc.server.call.duration", "s", Some(LATENCIES), true),
        ("grpc.server.call.rcvd_total_compressed_message_size", "By", Some(SIZES), true),
        ("grpc.server.call.sent_total_compressed_message_size", "By", Some(SIZES), true),
        ("grpc.server.call.started", "{call}", None, false),
    ];
    let read = meters.read();
    assert_eq!(read.keys().collect::<Vec<_>>(), expected.map(|(name, ..)| name));
    for (name, unit, bounds, has_status) in expected {
        let counted = &read[name];
        assert_eq!((&*counted.unit, &counted.bounds), (unit, &bounds.map(numbers)), "{name}");
        let labels = match has_status {
            true => "method=test.Test/Unary status=OK",
            false => "method=test.Test/Unary",
        };
        assert_eq!(counted.points.keys().collect::<Vec<_>>(), [labels], "{name}");
    }
}

/// How many, by labels.
fn counts(of: &Counted) -> Vec<String> {
    of.points.iter().map(|(labels, (count, _))| format!("{labels}: {count}")).collect()
}

/// Their sums, by the method's own name and the status.
fn sums(of: &Counted) -> Vec<String> {
    let shown = |labels: &String, sum: &f64| {
        format!("{}: {sum}", labels.replace("method=test.Test/", "").replace("status=", ""))
    };
    of.points.iter().map(|(labels, (_, sum))| shown(labels, sum)).collect()
}

/// What [`make_calls`] starts, where the missing method is told like this.
fn started(missing: &str) -> Vec<String> {
    let known = [("Chat", 1), ("Download", 1), ("Unary", 6), ("Upload", 1)];
    let known = known.map(|(name, count)| format!("method=test.Test/{name}: {count}"));
    let mut all = [&known[..], &[format!("method={missing}: 1")]].concat();
    all.sort();
    all
}

/// Some of each kind, and some of each end.
async fn make_calls(channel: &Channel) {
    for _ in 0..3 {
        unary(channel, b"hello").await.unwrap();
    }
    unary(channel, b"fail").await.unwrap_err();
    unary(channel, b"wait").timeout(Duration::from_secs(2)).await.unwrap_err();
    let waiting = unary(channel, b"wait").into_future();
    tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap_err();
    channel.unary::<Raw, Bytes, Bytes>(&MISSING, vec![1]).await.unwrap_err();
    let (mut tx, reply) = upload(channel).await.unwrap();
    for bytes in [10, 20] {
        tx.send(vec![0; bytes]).await.unwrap();
    }
    tx.finish();
    reply.await.unwrap();
    let mut rx = download(channel, b"seven77").await.unwrap();
    while rx.next().await.unwrap().is_some() {}
    let (mut tx, mut rx) = chat(channel).await.unwrap();
    tx.send(vec![0; 100]).await.unwrap();
    rx.next().await.unwrap();
    drop((tx, rx));
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn all_kinds_of_calls_and_ends() {
    let meters = Meters::new();
    let metrics = Metrics::new(&meters.provider);
    let channel = serve(
        Test::default(),
        |server| server.observe(metrics.clone()),
        |builder| builder.observe(metrics.clone()),
    );
    make_calls(&channel).await;
    let read = meters.read();
    let counts = |name: &str| counts(&read[name]);
    let sums = |name: &str| sums(&read[name]);
    assert_eq!(counts("grpc.client.attempt.started"), started("test.Test/Missing"));
    assert_eq!(counts("grpc.server.call.started"), started("other"));
    let client = [
        "Chat CANCELLED: 100",
        "Download OK: 7",
        "Missing UNIMPLEMENTED: 1",
        "Unary CANCELLED: 4",
        "Unary DEADLINE_EXCEEDED: 4",
        "Unary NOT_FOUND: 4",
        "Unary OK: 15",
        "Upload OK: 30",
    ];
    assert_eq!(sums("grpc.client.attempt.sent_total_compressed_message_size"), client);
    let received = [
        "Chat CANCELLED: 100",
        "Download OK: 14",
        "Missing UNIMPLEMENTED: 0",
        "Unary CANCELLED: 0",
        "Unary DEADLINE_EXCEEDED: 0",
        "Unary NOT_FOUND: 0",
        "Unary OK: 15",
        "Upload OK: 30",
    ];
    assert_eq!(sums("grpc.client.attempt.rcvd_total_compressed_message_size"), received);
    let durations = [
        "Chat CANCELLED: 0",
        "Download OK: 0",
        "Missing UNIMPLEMENTED: 0",
        "Unary CANCELLED: 1",
        "Unary DEADLINE_EXCEEDED: 2",
        "Unary NOT_FOUND: 0",
        "Unary OK: 0",
        "Upload OK: 0",
    ];
    for name in ["grpc.client.attempt.duration", "grpc.client.call.duration"] {
        assert_eq!(sums(name), durations, "{name}");
    }
    // The server learns by a reset that a deadline has passed at its client.
    let server = [
        "method=other UNIMPLEMENTED: 0",
        "Chat CANCELLED: 100",
        "Download OK: 7",
        "Unary CANCELLED: 8",
        "Unary NOT_FOUND: 4",
        "Unary OK: 15",
        "Upload OK: 30",
    ];
    assert_eq!(sums("grpc.server.call.rcvd_total_compressed_message_size"), server);
    let server_took = &sums("grpc.server.call.duration")[3];
    assert_eq!(server_took, "Unary CANCELLED: 3");
}

#[tokio::test(start_paused = true)]
async fn compressed_messages_count_as_they_travel() {
    let meters = Meters::new();
    let metrics = Metrics::new(&meters.provider);
    let channel = serve(
        Test::default(),
        |server| server.observe(metrics.clone()).compressors(Compressors::built_in()),
        |builder| {
            let builder = builder.observe(metrics.clone()).compressors(Compressors::built_in());
            builder.compress(Encoding::GZIP)
        },
    );
    unary(&channel, &[7; 5_000]).await.unwrap();
    settle().await;
    let read = meters.read();
    let sum = |name: &str| read[name].points["method=test.Test/Unary status=OK"].1;
    let sent = sum("grpc.client.attempt.sent_total_compressed_message_size");
    assert!(sent > 0.0 && sent < 200.0, "{sent}");
    assert_eq!(sum("grpc.server.call.rcvd_total_compressed_message_size"), sent);
    assert_eq!(sum("grpc.server.call.sent_total_compressed_message_size"), 5_000.0);
    assert_eq!(sum("grpc.client.attempt.rcvd_total_compressed_message_size"), 5_000.0);
}

#[tokio::test(start_paused = true)]
async fn filters_decide_which_methods_and_targets_are_told() {
    let meters = Meters::new();
    let metrics = Metrics::new(&meters.provider)
        .method_filter(|method| method == "test.Test/Missing")
        .target_filter(|target| !target.starts_with("in-process"));
    let channel = serve(
        Test::default(),
        |server| server.observe(metrics.clone()),
        |builder| builder.observe(metrics.clone()),
    );
    channel.unary::<Raw, Bytes, Bytes>(&MISSING, vec![1]).await.unwrap_err();
    settle().await;
    let read = meters.read();
    let labels = |name: &str| read[name].points.keys().cloned().collect::<Vec<_>>();
    assert_eq!(labels("grpc.server.call.started"), ["method=test.Test/Missing"]);
    assert_eq!(labels("grpc.client.attempt.started"), ["method=test.Test/Missing target=other"]);
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_where_that_is_asked_for() {
    let meters = Meters::new();
    let metrics = Metrics::new(&meters.provider).with_retries(&meters.provider);
    let (channel, mut peers) = Peers::with(|builder| {
        let again = |call: Outgoing, next: Next| async move {
            match next.run(call.clone()).await {
                Err(_) => {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    next.run(call).await
                }
                other => other,
            }
        };
        builder.observe(metrics).intercept(again)
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.reset(key, Reason::REFUSED_STREAM);
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[], &[("grpc-status", "14")]).await;
        for _ in 0..2 {
            let (key, ..) = peer.unary().await;
            peer.respond(key, &[b"ok"], OK).await;
        }
        peer
    });
    unary(&channel, b"twice").await.unwrap();
    unary(&channel, b"once").await.unwrap();
    server.await.unwrap();
    let read = meters.read();
    let method = "method=test.Test/Unary";
    let of = |name: &str| (&*read[name].unit, read[name].points[method]);
    assert_eq!(of("grpc.client.call.retries"), ("{retry}", (1, 1.0)));
    assert_eq!(of("grpc.client.call.transparent_retries"), ("{transparent_retry}", (1, 1.0)));
    assert_eq!(of("grpc.client.call.retry_delay"), ("s", (1, 3.0)));
    assert_eq!(read["grpc.client.attempt.started"].points[method].0, 4);
    assert_eq!(read["grpc.client.call.retries"].bounds, Some(numbers("1 2 3 4 5")));
    assert_eq!(read["grpc.client.call.transparent_retries"].bounds, Some(numbers("1 2 3 4 5 10")));
}
