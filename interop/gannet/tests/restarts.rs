//! A server that is replaced twenty times under full load, each time by the next one on the same
//! port, loses no call that it has accepted: what its handlers have begun, clients have the answer
//! of.

#![allow(clippy::print_stdout, reason = "the figures of a run are worth a line")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gannet::client::BackoffConfig;
use gannet::server::TcpOptions;
use gannet::{Channel, Listener, Result, Server};
use gannet_interop::echo::Echo;
use gannet_interop::pattern;
use gannet_interop::proto::gannet::interop::v1::{EchoClient, EchoRequest, EchoServer};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

const RESTARTS: usize = 20;
/// How long each server serves.
const REIGN: Duration = Duration::from_millis(150);
/// Longer than any call: no drain ends by force.
const GRACE: Duration = Duration::from_secs(60);
const CHANNELS: usize = 4;
/// Callers on each channel, each one call after the other.
const CALLERS: usize = 24;
const TIMEOUT: Duration = Duration::from_secs(60);

/// How one server takes over from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Succession {
    /// Both listen for a moment, each with a socket of its own.
    Overlap,
    /// The new one listens when the old one has ceased to.
    Gap,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_call_is_lost_where_the_next_server_listens_before_the_old_one_drains() {
    check(Succession::Overlap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_call_is_lost_where_nobody_listens_in_between() {
    check(Succession::Gap).await;
}

async fn check(succession: Succession) {
    let echo = Echo::default();
    let mut reigning = Reign::begin(&echo, None);
    let stopped = Arc::new(AtomicBool::new(false));
    let load = Load::start(reigning.addr, &stopped);
    let began = Instant::now();
    let mut draining = JoinSet::new();
    for _ in 0..RESTARTS {
        tokio::time::sleep(REIGN).await;
        let addr = Some(reigning.addr);
        match succession {
            Succession::Overlap => {
                let next = Reign::begin(&echo, addr);
                draining.spawn(std::mem::replace(&mut reigning, next).end());
            }
            Succession::Gap => {
                reigning.end().await;
                reigning = Reign::begin(&echo, addr);
            }
        }
    }
    tokio::time::sleep(REIGN).await;
    stopped.store(true, Ordering::Relaxed);
    let answered = load.finish().await;
    draining.join_all().await;
    reigning.end().await;
    let calls = echo.calls();
    println!("{succession:?}: {answered} calls in {:.1} s", began.elapsed().as_secs_f64());
    // Both sides have counted.
    assert_eq!((calls.started(), calls.finished(), calls.cut_short()), (answered, answered, 0));
    assert!(answered > 50 * RESTARTS as u64, "{answered} calls are no load");
}

/// One server.
struct Reign {
    addr: SocketAddr,
    tell: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Reign {
    fn begin(echo: &Echo, addr: Option<SocketAddr>) -> Reign {
        let addr = addr.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = Listener::tcp_with(addr, TcpOptions::default().reuse_port(true)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, told) = oneshot::channel();
        let server = Server::new().add(EchoServer::new(echo.clone()));
        let serving = tokio::spawn(async move {
            server.serve(listener).shutdown_on(told, GRACE).await.unwrap();
        });
        Reign { addr, tell, serving }
    }

    /// Drains; ends when the last call has.
    async fn end(self) {
        let began = Instant::now();
        self.tell.send(()).unwrap();
        self.serving.await.unwrap();
        assert!(began.elapsed() < GRACE, "cut by force");
    }
}

/// Callers of all kinds, each one call after the other.
struct Load {
    callers: JoinSet<u64>,
}

impl Load {
    fn start(addr: SocketAddr, stopped: &Arc<AtomicBool>) -> Load {
        let mut callers = JoinSet::new();
        for _ in 0..CHANNELS {
            let mut backoff = BackoffConfig::default();
            backoff.initial = Duration::from_millis(10);
            backoff.max = Duration::from_millis(50);
            let builder = Channel::builder(addr.to_string()).wait_for_ready(true).backoff(backoff);
            let client = EchoClient::new(builder.build().unwrap());
            for kind in 0..CALLERS {
                let (client, stopped) = (client.clone(), Arc::clone(stopped));
                callers.spawn(async move {
                    let mut answered = 0;
                    while !stopped.load(Ordering::Relaxed) {
                        call(&client, kind).await.unwrap();
                        answered += 1;
                    }
                    answered
                });
            }
        }
        Load { callers }
    }

    /// How many calls were answered.
    async fn finish(self) -> u64 {
        self.callers.join_all().await.into_iter().sum()
    }
}

fn request(length: usize) -> EchoRequest {
    EchoRequest { payload: pattern(length, 0).into(), replies: 1, ..Default::default() }
}

async fn call(client: &EchoClient, kind: usize) -> Result<()> {
    match kind % 6 {
        0 => {
            let (mut requests, reply) = client.client_stream().timeout(TIMEOUT).await?;
            for _ in 0..5 {
                requests.send(request(500)).await?;
            }
            requests.finish();
            assert_eq!(reply.await?.payload.len(), 2_500);
        }
        1 => {
            let many = EchoRequest { replies: 20, delay_ms: 5, ..request(500) };
            let mut replies = client.server_stream(many).timeout(TIMEOUT).await?;
            let mut came = 0;
            while replies.next().await?.is_some() {
                came += 1;
            }
            assert_eq!(came, 20);
        }
        2 => {
            let (mut requests, mut replies) = client.bidi().timeout(TIMEOUT).await?;
            for _ in 0..5 {
                requests.send(EchoRequest { delay_ms: 10, ..request(500) }).await?;
                assert!(replies.next().await?.is_some());
            }
            requests.finish();
            assert!(replies.next().await?.is_none());
        }
        3 => {
            let slow = EchoRequest { delay_ms: 30, ..request(50_000) };
            assert_eq!(client.unary(slow).timeout(TIMEOUT).await?.payload.len(), 50_000);
        }
        _ => {
            assert_eq!(client.unary(request(100)).timeout(TIMEOUT).await?.payload.len(), 100);
        }
    }
    Ok(())
}
