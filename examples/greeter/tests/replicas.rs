//! The example as it is run: three replicas and a client, each a process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet::auth::TokenFile;
use gannet::client::ChannelBuilder;
use gannet::codec::Buffa;
use gannet::services::health::ServingStatus;
use gannet::services::health::v1::{HEALTH, HealthCheckRequest, HealthCheckResponse};
use gannet::services::reflection::{v1, v1alpha};
use gannet::tls::{ClientTls, Roots};
use gannet::{Call, Channel, Code, Listener, Server};
use proto::greeter::{GreetRequest, GreeterClient};
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
        Replica::spawn(keys, name, more, Stdio::inherit())
    }

    fn spawn(keys: &Path, name: &str, more: &[&str], stderr: Stdio) -> Replica {
        let anywhere =
            ["--listen", "--probes", "--metrics"].map(|flag| format!("{flag}=127.0.0.1:0"));
        let mut command = greeter(&["serve"]);
        command.args(anywhere);
        command.arg("--keys").arg(keys).args(["--name", name]).args(more);
        command.stdout(Stdio::piped()).stderr(stderr);
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

/// What it says on both ways where it fails.
fn failure(mut command: Command) -> [String; 2] {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap())
}

/// How many calls each replica has answered, by what the client says at its end.
fn tally(told: &str) -> BTreeMap<String, u32> {
    let counted = told.lines().filter_map(|line| {
        let (count, who) = line.trim_start().split_once("  ")?;
        Some((who.to_owned(), count.parse().ok()?))
    });
    counted.collect()
}

/// Who has answered each of `count` calls, in their order.
fn who_answers(keys: &Path, replicas: &[Replica], count: u32) -> Vec<String> {
    let flags = ["Ada", "--pause-ms=1", &format!("--count={count}")];
    let told = output(call(keys, replicas, &flags));
    let names = told.lines().filter_map(|line| {
        line.strip_prefix("Hello, Ada! (")?.strip_suffix(", for ada)").map(str::to_owned)
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), count as usize, "{told}");
    names
}

/// The first call by which each of `count` has answered one.
fn all_have_answered(names: &[String], count: usize) -> Option<usize> {
    let mut met = BTreeSet::new();
    names.iter().position(|name| {
        met.insert(name);
        met.len() == count
    })
}

#[test]
fn calls_go_to_all_replicas_by_turns() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let replicas = replicas(keys, 3);
    // Until all three are connected, those that are take all calls: how long that is, is the
    // machine's affair. From then on each third call is the same one's.
    let turns = (0..20).find_map(|_| {
        let names = who_answers(keys, &replicas, 300);
        let all = all_have_answered(&names, 3)?;
        (all < 200).then(|| names[all..].to_vec())
    });
    let turns = turns.expect("never did all three answer one client");
    let first: BTreeSet<_> = turns[..3].iter().collect();
    assert_eq!(first.len(), 3, "{turns:?}");
    assert!(turns.windows(4).all(|four| four[0] == four[3]), "{turns:?}");
}

/// A channel to a replica with TLS, and without a token.
fn open_channel(keys: &Path, replica: &Replica) -> ChannelBuilder {
    let roots = Roots::from_pem_file(keys.join("authority.pem")).unwrap();
    let tls = ClientTls::builder().roots(roots).build().unwrap();
    Channel::builder(replica.calls.to_string()).authority("greeter").tls(tls)
}

fn request(name: &str) -> GreetRequest {
    GreetRequest { name: name.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn calls_are_answered_with_a_good_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let replicas = replicas(keys, 1);
    let client = GreeterClient::new(open_channel(keys, &replicas[0]).build().unwrap());
    let status = client.greet(request("Ada")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "this takes a bearer token")
    );
    let [told, error] = failure(call(keys, &replicas, &["--count=2", "--token=ben.token"]));
    assert_eq!(tally(&told)["failed: PERMISSION_DENIED"], 2, "{told}");
    assert_eq!(error.trim(), "greeter: 2 of 2 calls failed");
    // One that was issued later.
    let mut issue = greeter(&["token", "carl", "--lifetime=60", "--keys"]);
    issue.arg(keys);
    assert!(output(issue).contains("carl.token: a token that is good for 60 s"));
    let told = output(call(keys, &replicas, &["--count=1", "--token=carl.token"]));
    assert!(told.contains("(replica-1, for carl)"), "{told}");
    // Refusals are counted, and told once a second.
    let [replica] = <[Replica; 1]>::try_from(replicas).ok().unwrap();
    replica.terminate();
    let told = replica.ended();
    assert!(told.contains("replica-1: 3 calls were refused in all"), "{told}");
    assert!(told.contains("replica-1: refused 127.0.0.1:"), "{told}");
    assert!(told.contains(": there is no token"), "{told}");
}

#[test]
fn files_that_cannot_be_used_are_told_of_and_calls_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, errors) = (folder.path(), folder.path().join("errors"));
    assert!(greeter(&["keys"]).arg(keys).status().unwrap().success());
    let stderr = std::fs::File::create(&errors).unwrap();
    let replica = Replica::spawn(keys, "replica-1", &["--follow=1"], stderr.into());
    for name in ["jwks.json", "server.pem"] {
        std::fs::write(keys.join(name), "half a fi").unwrap();
    }
    let replicas = [replica];
    let told = |what: &str| std::fs::read_to_string(&errors).unwrap().contains(what);
    let lines = ["keys for tokens stay what they are: ", "certificate stays what it is: "];
    // They are looked after when somebody calls.
    let all_told = (0..2_000).any(|_| {
        output(call(keys, &replicas, &["--count=2", "--quiet"]));
        lines.iter().all(|line| told(&format!("replica-1: the {line}")))
    });
    assert!(all_told, "{:?}", std::fs::read_to_string(&errors));
    assert!(told("jwks.json") && told("server.pem"), "{:?}", std::fs::read_to_string(&errors));
}

/// How many calls of clients this replica has answered well, by its metrics.
fn answered(replica: &Replica) -> u32 {
    let labels = r#"{grpc_method="greeter.Greeter/Greet",grpc_status="OK","#;
    let start = format!("grpc_server_call_duration_seconds_count{labels}");
    let text = metrics(replica);
    let line = text.lines().find(|line| line.starts_with(&start));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn metrics(replica: &Replica) -> String {
    let mut stream = std::net::TcpStream::connect(replica.metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: greeter\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_replica_that_is_told_to_end_loses_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let mut replicas = replicas(keys, 3);
    let calling = call(keys, &replicas, &["--count=3000", "--pause-ms=1", "--quiet"]);
    let calling = std::thread::spawn(move || output(calling));
    let ending = replicas.remove(1);
    while answered(&ending) < 20 {
        assert!(!calling.is_finished(), "the replica was not called");
        std::thread::sleep(Duration::from_millis(1));
    }
    ending.terminate();
    assert!(!calling.is_finished(), "no call was made when the replica began to end");
    let told = ending.ended();
    assert!(told.contains("draining") && told.contains("all calls are finished"), "{told}");
    let told = calling.join().unwrap();
    let tally = tally(&told);
    // None failed, and each has answered some.
    let names: Vec<_> = tally.keys().map(String::as_str).collect();
    assert_eq!(names, ["replica-1", "replica-2", "replica-3"], "{told}");
    assert_eq!(tally.values().sum::<u32>(), 3_000, "{told}");
    let ended = tally["replica-2"];
    assert!(ended >= 20 && ended < tally["replica-1"] && ended < tally["replica-3"], "{told}");
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
    let greeted = GreeterClient::new(channel.clone()).greet(request("Ada")).await;
    assert_eq!(greeted.unwrap_err().code(), Code::Unimplemented);
    for version in [&v1::SERVER_REFLECTION, &v1alpha::SERVER_REFLECTION] {
        let opened =
            channel.bidi_streaming::<Buffa, v1::ServerReflectionRequest, _>(&version.methods[0]);
        let status = match opened.await {
            Ok((_, mut answers)) => {
                let answer: Result<Option<v1::ServerReflectionResponse>, _> = answers.next().await;
                answer.unwrap_err()
            }
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::Unimplemented, "{}", version.name);
    }
}

#[tokio::test]
async fn probes_are_told_of_the_end_while_calls_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let mut replicas = replicas(keys, 1);
    let replica = replicas.remove(0);
    let token = TokenFile::new(keys.join("ada.token"));
    let channel = open_channel(keys, &replica).credentials(token).build().unwrap();
    let (mut requests, mut greetings) = GreeterClient::new(channel).greet_all().await.unwrap();
    requests.send(request("Ada")).await.unwrap();
    assert_eq!(greetings.next().await.unwrap().unwrap().text, "Hello, Ada!");

    let probes = Channel::new(replica.probes.to_string()).unwrap();
    let asked = HealthCheckRequest { service: "greeter.Greeter".to_owned(), ..Default::default() };
    let watch =
        probes.server_streaming::<Buffa, _, HealthCheckResponse>(&HEALTH.methods[2], asked.clone());
    let mut watch = watch.await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().status, ServingStatus::SERVING);
    replica.terminate();
    assert_eq!(watch.next().await.unwrap().unwrap().status, ServingStatus::NOT_SERVING);
    let check = &HEALTH.methods[0];
    let health: HealthCheckResponse = probes.unary::<Buffa, _, _>(check, asked).await.unwrap();
    assert_eq!(health.status, ServingStatus::NOT_SERVING);

    // The call that was there goes on, and its end is the replica's.
    requests.send(request("Ben")).await.unwrap();
    assert_eq!(greetings.next().await.unwrap().unwrap().text, "Hello, Ben!");
    requests.finish();
    assert!(greetings.next().await.unwrap().is_none());
    let told = tokio::task::spawn_blocking(move || replica.ended()).await.unwrap();
    assert!(told.contains("all calls are finished"), "{told}");
}

#[test]
fn prometheus_gets_what_was_counted() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = replicas(folder.path(), 1);
    output(call(folder.path(), &replicas, &["--count=7"]));
    failure(call(folder.path(), &replicas, &["--count=2", "--token=ben.token"]));
    let text = metrics(&replicas[0]);
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
