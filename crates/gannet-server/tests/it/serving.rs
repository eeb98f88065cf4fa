//! Listeners, runtimes, and the end of a server.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_http2::Reason;
use gannet_server::{ServeError, Server};
use gannet_transport::{Listener, PipeConnector, TcpOptions, connect_tcp, connect_unix, pipe};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::{Raw, serve_with};
use crate::service::Test;

const GRACE: Duration = Duration::from_secs(30);

/// A server on a pipe: what shuts it down, what connects to it, and its outcome.
fn serve_until_told(
    test: Test,
) -> (oneshot::Sender<()>, PipeConnector, JoinHandle<Result<(), ServeError>>) {
    let (signal, signalled) = oneshot::channel::<()>();
    let (connector, listener) = pipe();
    let serving = Server::new().add(test).serve(listener).shutdown_on(signalled, GRACE);
    (signal, connector, tokio::spawn(serving.into_future()))
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_calls_finish_and_takes_no_new_ones() {
    let test = Test::new();
    let world = test.world.clone();
    let (signal, connector, served) = serve_until_told(test);
    let mut raw = Raw::new(connector.connect().await.unwrap().0);
    let mut idle = Raw::new(connector.connect().await.unwrap().0);
    let key = raw.call("Wait", b"m");
    raw.flush().await;
    idle.unary("Echo", b"m").await.ok();
    world.settle(|world| world.started() == 1).await;
    signal.send(()).unwrap();
    raw.until(|raw| raw.goaways.len() == 2).await;
    let (first, last) = (raw.goaways[0], raw.goaways[1]);
    assert_eq!(first, (u32::MAX >> 1, Reason::NO_ERROR));
    assert_eq!(last, (1, Reason::NO_ERROR));
    assert!(connector.connect().await.is_err(), "the listener is closed");
    idle.until(|raw| raw.closed).await;
    assert!(idle.closed && !raw.closed && !served.is_finished());
    world.gate.add_permits(1);
    assert_eq!(raw.finished(key).await.ok(), b"m");
    raw.until(|raw| raw.closed).await;
    served.await.unwrap().unwrap();
}

/// SETTINGS wait for a client's preface; a server that goes waits for neither.
#[tokio::test]
async fn a_client_that_says_nothing_holds_no_server_up() {
    let (signal, signalled) = oneshot::channel::<()>();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::new().add(Test::new()).serve(listener).shutdown_on(signalled, GRACE);
    let served = tokio::spawn(serving.into_future());
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    // Who comes later is served: so the server knows this one.
    let mut other = Raw::new(connect_tcp(address).await.unwrap().0);
    other.unary("Echo", b"m").await.ok();
    signal.send(()).unwrap();
    let mut heard = Vec::new();
    silent.read_to_end(&mut heard).await.unwrap();
    other.until(|raw| raw.closed).await;
    tokio::time::timeout(GRACE / 2, served).await.expect("not by the grace").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_outlives_the_grace_period_is_cut_off() {
    let test = Test::new();
    let world = test.world.clone();
    let (signal, connector, served) = serve_until_told(test);
    let mut raw = Raw::new(connector.connect().await.unwrap().0);
    raw.call("Wait", b"m");
    raw.flush().await;
    world.settle(|world| world.started() == 1).await;
    let start = Instant::now();
    signal.send(()).unwrap();
    raw.until(|raw| raw.closed).await;
    let took = start.elapsed();
    assert!(took >= GRACE && took < GRACE + Duration::from_secs(1), "{took:?}");
    assert_eq!(world.gone(), 1);
    drop(raw);
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_in_process_ends_with_its_last_connector() {
    let (connector, listener) = pipe();
    let served = tokio::spawn(Server::new().add(Test::new()).serve(listener).into_future());
    let mut raw = Raw::new(connector.connect().await.unwrap().0);
    drop(connector);
    assert_eq!(raw.unary("Echo", b"still").await.ok(), b"still");
    assert!(!served.is_finished());
    drop(raw);
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_server_drops_its_connections() {
    let test = Test::new();
    let world = test.world.clone();
    let (connector, listener) = pipe();
    let served = tokio::spawn(Server::new().add(test).serve(listener).into_future());
    let mut raw = Raw::new(connector.connect().await.unwrap().0);
    raw.call("Wait", b"m");
    raw.flush().await;
    world.settle(|world| world.started() == 1).await;
    served.abort();
    raw.until(|raw| raw.closed).await;
    assert!(raw.closed);
    world.settle(|world| world.gone() == 1).await;
}

#[tokio::test]
async fn tcp_takes_both_families_on_one_socket() {
    let listener = Listener::tcp("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(Server::new().add(Test::new()).serve(listener).into_future());
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let mut raw = Raw::new(connect_tcp(address).await.unwrap().0);
        let reply = raw.unary("Meta", b"m").await;
        let told = reply.trailer("x-told").unwrap().to_owned();
        let told = told.rsplit_once(' ').unwrap().1.parse::<std::net::SocketAddr>().unwrap();
        assert_eq!(told.ip(), address.ip(), "peers have their own family");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = Server::new().serve(address.clone()).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains(&address) && told.contains("another process"), "{told}");
    assert!(matches!(error, ServeError::Listen(_)));
}

#[tokio::test]
async fn an_address_that_is_none_is_named_with_what_would_be_one() {
    let addresses = ["not an address", "", "localhost", ":50051", "127.0.0.1:", "::1", "[::]"];
    for address in addresses.into_iter().chain(["http://0.0.0.0:80", "a:b:5", "\0:5"]) {
        let error = Server::new().serve(address).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&format!("cannot listen on {address:?}: ")), "{told}");
        assert!(told.contains("for instance \"[::]:50051\""), "{told}");
    }
    let error = Server::new().serve("unix:").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on unix:");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the path of the socket is missing");
}

#[tokio::test]
async fn a_bad_port_and_a_name_without_addresses_are_told_apart() {
    let told = async |address: &str| {
        let error = Server::new().serve(address).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        (error.to_string(), cause)
    };
    for (address, port) in
        [("0.0.0.0:80000", "80000"), ("localhost:http", "http"), ("[::]:-1", "-1"), ("a:5 ", "5 ")]
    {
        let expected =
            format!("cannot listen on {address:?}: the port {port:?} is no number up to 65535");
        assert_eq!(told(address).await.0, expected);
    }
    let (said, cause) = told("nosuch.invalid:1").await;
    let expected =
        "cannot listen on \"nosuch.invalid:1\": the name \"nosuch.invalid\" does not resolve";
    assert_eq!(said, expected);
    assert!(cause.contains("lookup"), "{cause}");
}

#[tokio::test]
async fn two_services_of_one_name_are_refused() {
    let server = Server::new().add(Test::new()).add(Test::new());
    let error = server.serve("127.0.0.1:0").await.unwrap_err();
    assert!(matches!(&error, ServeError::NameOfTwo(name) if name == "test.Test"), "{error:?}");
    let told = "two services of the server are named \"test.Test\": one would never be called";
    assert_eq!(error.to_string(), told);
}

#[test]
fn a_server_outside_of_a_runtime_says_so() {
    for server in [Server::new(), Server::new().threads(2)] {
        let mut serving = server.add(Test::new()).serve("127.0.0.1:0").into_future();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(error)) = serving.as_mut().poll(&mut cx) else {
            panic!("it has no runtime to wait in");
        };
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("tokio runtime"), "{error}: {cause}");
    }
}

#[tokio::test]
async fn several_listeners_and_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.sock");
    // An abandoned socket file is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let tcp = Listener::tcp("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = Listener::unix(&path).unwrap();
    let connector = serve_with(Server::new().add(Test::new()).listen(tcp).listen(unix), |s| s);
    let streams = [
        connector.connect().await.unwrap().0,
        connect_tcp(address).await.unwrap().0,
        connect_unix(&path).await.unwrap().0,
    ];
    for stream in streams {
        let mut raw = Raw::new(stream);
        assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
    }
    assert!(Listener::unix(&path).is_err(), "a socket in use is not replaced");
}

#[tokio::test]
async fn threads_of_its_own_share_a_port() {
    let (signal, signalled) = oneshot::channel::<()>();
    let options = TcpOptions::default().reuse_port(true);
    let listener = Listener::tcp_with("127.0.0.1:0", options).unwrap();
    let address = listener.local_addr().unwrap();
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new().add(test).threads(3);
    let served = tokio::spawn(server.serve(listener).shutdown_on(signalled, GRACE).into_future());
    let mut threads = std::collections::HashSet::new();
    let mut raws = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::new(connect_tcp(address).await.unwrap().0);
        let told = String::from_utf8(raw.unary("Where", b"").await.ok()).unwrap();
        threads.insert(told.split_once(' ').unwrap().1.to_owned());
        raws.push(raw);
    }
    assert_eq!(threads.len(), 3, "the kernel spreads connections: {threads:?}");
    let key = raws[0].call("Wait", b"m");
    raws[0].flush().await;
    world.happens(|world| world.started() == 1).await;
    signal.send(()).unwrap();
    raws[0].until(|raw| raw.goaways.len() == 2).await;
    world.gate.add_permits(1);
    assert_eq!(raws[0].finished(key).await.ok(), b"m");
    for mut raw in raws {
        raw.until(|raw| raw.closed).await;
    }
    served.await.unwrap().unwrap();
    assert!(connect_tcp(address).await.is_err());
}

#[tokio::test]
async fn the_accept_loop_outlives_connections_that_die_at_once() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().add(Test::new()).serve(listener).into_future());
    for _ in 0..50 {
        let stream = std::net::TcpStream::connect(address).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    let mut raw = Raw::new(connect_tcp(address).await.unwrap().0);
    assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
}

/// The marker by which the test below knows that it runs in a process with few descriptors.
const FEW_DESCRIPTORS: &str = "GANNET_TEST_FEW_DESCRIPTORS";

/// Runs itself in a process of its own, as the limit is one of the process.
#[cfg(target_os = "linux")]
#[test]
fn the_accept_loop_outlives_the_want_of_descriptors() {
    if std::env::var_os(FEW_DESCRIPTORS).is_some() {
        return few_descriptors();
    }
    let name = "serving::the_accept_loop_outlives_the_want_of_descriptors";
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(FEW_DESCRIPTORS, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn few_descriptors() {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().add(Test::new()).serve(listener).into_future());
    let mut stat = std::fs::File::open("/proc/self/stat").unwrap();
    let mut held = Vec::new();
    // Each takes two of this process's descriptors once it is accepted.
    while let Ok(connected) = connect_tcp(address).await {
        held.push(connected.0);
        tokio::task::yield_now().await;
    }
    assert!(held.len() > 10, "{}", held.len());
    let before = cpu_ticks(&mut stat);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = cpu_ticks(&mut stat) - before;
    assert!(spent <= 10, "{spent} ticks of 10 ms spent on waiting");
    held.truncate(held.len() / 2);
    let mut raw = loop {
        match connect_tcp(address).await {
            Ok((stream, _)) => break Raw::new(stream),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
}

/// User and system time of this process in ticks of, everywhere by now, 10 ms.
#[cfg(target_os = "linux")]
fn cpu_ticks(file: &mut std::fs::File) -> u64 {
    use std::io::{Read, Seek};

    let mut stat = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut stat).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
