//! The example as it is run: three replicas and a client, each a process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet::codec::Buffa;
use gannet::services::health::ServingStatus;
use gannet::services::health::v1::{HEALTH, HealthCheckRequest, HealthCheckResponse};
use gannet::{Call, Channel, Listener, Server};
use proto::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, Span, TraceService, TraceServiceServer,
};

/// Generated from the files in `proto` by `build.rs`.
#[allow(unused_imports, reason = "the test looks at some of it")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

fn greeter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greeter"));
    command.args(arguments);
    command
}

/// A process that serves; killed with this value.
struct Replica {
    process: Child,
    printed: BufReader<ChildStdout>,
    calls: SocketAddr,
    probes: SocketAddr,
    metrics: SocketAddr,
}

impl Replica {
    fn start(keys: &Path, name: &str) -> Replica {
        Replica::start_with(keys, name, &[])
    }

    fn start_with(keys: &Path, name: &str, more: &[&str]) -> Replica {
        let anywhere =
            ["--listen", "--probes", "--metrics"].map(|flag| format!("{flag}=127.0.0.1:0"));
        let mut command = greeter(&["serve"]);
        command.args(anywhere);
        command.arg("--keys").arg(keys).args(["--name", name]).args(more).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        let mut address = |what: &str| {
            let mut line = String::new();
            printed.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix("listening on ");
            let address = address.and_then(|rest| rest.strip_suffix(&format!(" for {what}")));
            address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
        };
        let (calls, probes) = (address("calls"), address("probes"));
        let metrics = address("metrics");
        Replica { process, printed, calls, probes, metrics }
    }

    /// SIGTERM, as an orchestrator ends a pod.
    fn terminate(&self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// The rest of what it says, once it has ended by itself.
    fn ended(mut self) -> String {
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn replicas(keys: &Path, count: usize) -> Vec<Replica> {
    assert!(greeter(&["keys"]).arg(keys).status().unwrap().success());
    (1..=count).map(|number| Replica::start(keys, &format!("replica-{number}"))).collect()
}

fn call(keys: &Path, replicas: &[Replica], more: &[&str]) -> Command {
    let addresses: Vec<String> = replicas.iter().map(|replica| replica.calls.to_string()).collect();
    let mut command = greeter(&["call", "--target", &format!("ipv4:{}", addresses.join(","))]);
    command.arg("--keys").arg(keys).args(more);
    command
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn calls_go_to_all_replicas_by_turns_with_a_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let replicas = replicas(keys, 3);
    // Until all three are connected, those that are take all calls: how long that is, is the
    // machine's affair.
    let names = ["replica-1", "replica-2", "replica-3"];
    let all = (0..50).any(|_| {
        let told = output(call(keys, &replicas, &["Ada", "--count=100"]));
        assert!(!told.contains("failed"), "{told}");
        names.iter().all(|name| told.contains(&format!("Hello, Ada! ({name}, for ada)")))
    });
    assert!(all, "never did all three answer one client");
    let told = output(call(keys, &replicas, &["--count=1", "--token=ben.token"]));
    assert!(told.contains("failed: PERMISSION_DENIED"), "{told}");
}

#[test]
fn a_replica_that_is_told_to_end_loses_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let mut replicas = replicas(keys, 3);
    let calling = call(keys, &replicas, &["--count=1000", "--pause-ms=1", "--quiet"]);
    let calling = std::thread::spawn(move || output(calling));
    std::thread::sleep(Duration::from_millis(300));
    let ending = replicas.remove(1);
    ending.terminate();
    let told = ending.ended();
    assert!(told.contains("draining") && told.contains("all calls are finished"), "{told}");
    let told = calling.join().unwrap();
    assert!(!told.contains("failed"), "{told}");
}

#[tokio::test]
async fn probes_need_no_tls_and_see_only_the_health() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = replicas(folder.path(), 1);
    let channel = Channel::new(replicas[0].probes.to_string()).unwrap();
    let check = &HEALTH.methods[0];
    let asked = HealthCheckRequest { service: "greeter.Greeter".to_owned(), ..Default::default() };
    let health: HealthCheckResponse = channel.unary::<Buffa, _, _>(check, asked).await.unwrap();
    assert_eq!(health.status, ServingStatus::SERVING);
}

#[test]
fn prometheus_gets_what_was_counted() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = replicas(folder.path(), 1);
    for flags in [&["--count=7"][..], &["--count=2", "--token=ben.token"]] {
        output(call(folder.path(), &replicas, flags));
    }
    let mut stream = std::net::TcpStream::connect(replicas[0].metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: greeter\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for (status, count) in [("OK", 7), ("PERMISSION_DENIED", 2)] {
        let labels = format!(r#"{{grpc_method="greeter.Greeter/Greet",grpc_status="{status}","#);
        let start = format!("grpc_server_call_duration_seconds_count{labels}");
        let line = text.lines().find(|line| line.starts_with(&start));
        assert!(line.is_some_and(|line| line.ends_with(&format!(" {count}"))), "{text}");
    }
    assert!(text.contains(r#"service_name="greeter""#), "{text}");
}

/// Keeps the spans it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl TraceService for Collector {
    async fn export(
        &self,
        _: &mut Call,
        request: ExportTraceServiceRequest,
    ) -> gannet::Result<ExportTraceServiceResponse> {
        let scopes = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(ExportTraceServiceResponse::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_all_spans_before_processes_end() {
    let collector = Collector::default();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let traces = format!("--traces=http://{}", listener.local_addr().unwrap());
    let server = Server::new().add(TraceServiceServer::new(collector.clone()));
    let serving = tokio::spawn(server.serve(listener).into_future());
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().to_owned();
    let processes = tokio::task::spawn_blocking(move || {
        assert!(greeter(&["keys"]).arg(&keys).status().unwrap().success());
        let replica = Replica::start_with(&keys, "replica-1", &[&traces]);
        let replicas = [replica];
        output(call(&keys, &replicas, &["--count=600", "--quiet", &traces]));
        let [replica] = replicas;
        replica.terminate();
        replica.ended();
    });
    processes.await.unwrap();
    serving.abort();
    let spans = collector.0.lock().unwrap();
    let named = |name: &str| -> Vec<&Span> {
        let name = format!("{name}.greeter.Greeter.Greet");
        spans.iter().filter(|span| span.name == name).collect()
    };
    // More than the SDK sends at once.
    let (sent, attempts, received) = (named("Sent"), named("Attempt"), named("Recv"));
    assert_eq!([sent.len(), attempts.len(), received.len()], [600; 3]);
    for recv in received {
        let of = |spans: &[&Span], id: &[u8]| -> Span {
            let found = spans.iter().find(|span| span.span_id == id);
            (*found.unwrap_or_else(|| panic!("{recv:?} has no parent"))).clone()
        };
        let attempt = of(&attempts, &recv.parent_span_id);
        let root = of(&sent, &attempt.parent_span_id);
        assert!(root.parent_span_id.is_empty(), "{root:?}");
        assert!([&attempt, recv].iter().all(|span| span.trace_id == root.trace_id), "{recv:?}");
    }
}
