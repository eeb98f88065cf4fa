//! Connection churn: our client calls our server through a proxy that cuts each connection at a
//! random byte, on either way, by FIN, by RST, or on one side first. What happens follows from a
//! seed, but for what the system's timing does to it.
//!
//! A call that is cut must end at once with a status that says so, and everything that a connection
//! had must be gone afterwards: see [`Churn::rest`].

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet::compression::{Compressors, Encoding};
use gannet::tls::{ClientTls, Identity, Roots, ServerTls};
use gannet::{Channel, Code, Listener, Server, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::check;
use crate::echo::Echo;
use crate::pattern;
use crate::process::Usage;
use crate::proto::gannet::interop::v1::{EchoClient, EchoRequest, EchoServer};

/// A call that takes longer hangs: nothing here does.
const CALL_MAX: Duration = Duration::from_secs(20);
/// How long all may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(20);
/// How long one side of a connection may outlive the other.
const ONE_SIDED: Duration = Duration::from_millis(20);

/// How the calls on one channel ended, and what was wrong with those that did not end as they may.
type Ends = Vec<Result<String, String>>;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A server, two proxies before it, and a client. Must be made on a runtime on which nothing else
/// runs: [`rest`](Self::rest) counts its tasks.
#[derive(Debug)]
pub struct Churn {
    chance: fastrand::Rng,
    echo: Echo,
    plain: SocketAddr,
    /// The same with TLS, and the name in the certificate.
    tls: Option<(SocketAddr, ClientTls, String)>,
    cuts: Arc<AtomicU64>,
    /// Tasks and descriptors before the first connection.
    before: (usize, u64),
}

/// A certificate, all in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// Who vouches for it.
    pub roots: String,
    /// The name in it.
    pub name: String,
}

/// What became of calls.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// Connections that were begun by the client.
    pub channels: u64,
    /// Calls by their end: a code, or `dropped`.
    pub calls: BTreeMap<String, u64>,
    /// Calls that did not end as they may.
    pub faults: Vec<String>,
}

/// What is there when no connection is.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Tasks more than before the first connection.
    pub tasks: usize,
    /// File descriptors more than before the first connection.
    pub fds: u64,
    /// Handlers that run.
    pub handlers: u64,
}

impl Rest {
    /// Whether everything is gone.
    pub fn is_clean(&self) -> bool {
        (self.tasks, self.fds, self.handlers) == (0, 0, 0)
    }
}

impl Churn {
    /// Starts the server and the proxies; with a certificate, some connections have TLS.
    ///
    /// # Errors
    /// Where one of them cannot listen, or the certificate is none.
    pub async fn start(seed: u64, certificate: Option<&Certificate>) -> Result<Churn, Error> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let echo = Echo::default();
        let cuts = Arc::new(AtomicU64::new(0));
        let mut server =
            Server::new().compressors(Compressors::built_in()).add(EchoServer::new(echo.clone()));
        let listener = Listener::tcp("127.0.0.1:0")?;
        let plain = proxy(&listener, chance.fork(), &cuts).await?;
        let mut tls = None;
        if let Some(Certificate { chain, key, roots, name }) = certificate {
            let listener = Listener::tcp("127.0.0.1:0")?;
            let proxy = proxy(&listener, chance.fork(), &cuts).await?;
            let trust = ClientTls::builder().roots(Roots::from_pem(roots)?).server_name(name);
            tls = Some((proxy, trust.build()?, name.clone()));
            let identity = Identity::from_pem(chain, key)?;
            server = server.listen(listener.tls(ServerTls::new(identity)?));
        }
        tokio::spawn(async move { server.serve(listener).await });
        // So that the server has begun to accept, and its tasks are there.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = (tasks(), Usage::of(std::process::id())?.fds);
        Ok(Churn { chance, echo, plain, tls, cuts, before })
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Makes so many channels, `at_once` of them at a time and a `pause` between their beginnings,
    /// and some calls on each.
    pub async fn run(&mut self, channels: u64, at_once: usize, pause: Duration) -> Outcomes {
        let mut outcomes = Outcomes { channels, ..Outcomes::default() };
        let mut under_way = JoinSet::new();
        for _ in 0..channels {
            if under_way.len() >= at_once {
                outcomes.add(under_way.join_next().await);
            }
            under_way.spawn(self.visit());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        while let Some(ended) = under_way.join_next().await {
            outcomes.add(Some(ended));
        }
        outcomes
    }

    /// Waits until no connection is left; what there still is then, or at the end of patience.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub async fn rest(&self) -> io::Result<Rest> {
        let end = Instant::now() + REST_MAX;
        loop {
            let fds = Usage::of(std::process::id())?.fds;
            let rest = Rest {
                tasks: tasks().saturating_sub(self.before.0),
                fds: fds.saturating_sub(self.before.1),
                handlers: self.echo.calls().running(),
            };
            if rest.is_clean() || Instant::now() >= end {
                return Ok(rest);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One channel, and the calls on it.
    fn visit(&mut self) -> impl Future<Output = Ends> + Send + use<> {
        let mut chance = self.chance.fork();
        let builder = match &self.tls {
            Some((addr, tls, name)) if chance.u8(..).is_multiple_of(4) => {
                Channel::builder(addr.to_string()).tls(tls.clone()).authority(name)
            }
            _ => Channel::builder(self.plain.to_string()),
        };
        let channel = builder.compressors(Compressors::built_in()).build();
        async move {
            let channel = match channel {
                Ok(channel) => channel,
                Err(error) => return vec![Err(error.to_string())],
            };
            let client = EchoClient::new(channel.clone());
            let mut ends = Vec::new();
            for _ in 0..chance.u8(1..=4) {
                ends.push(judged(&client, &mut chance).await);
            }
            if chance.bool() {
                channel.close();
            }
            ends
        }
    }
}

impl Outcomes {
    fn add(&mut self, ended: Option<Result<Ends, tokio::task::JoinError>>) {
        match ended {
            None => {}
            Some(Err(error)) => self.faults.push(error.to_string()),
            Some(Ok(ends)) => {
                for end in ends {
                    match end {
                        Ok(code) => *self.calls.entry(code).or_default() += 1,
                        Err(fault) => self.faults.push(fault),
                    }
                }
            }
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Outcomes) {
        self.channels += other.channels;
        self.faults.extend(other.faults);
        for (code, calls) in other.calls {
            *self.calls.entry(code).or_default() += calls;
        }
    }
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Makes a call; how it ended, where it may end so.
async fn judged(client: &EchoClient, chance: &mut fastrand::Rng) -> Result<String, String> {
    let patience = match chance.u8(..) % 8 {
        0 => Duration::from_micros(chance.u64(..20_000)),
        _ => 2 * CALL_MAX,
    };
    let kind = chance.u8(..) % 5;
    match tokio::time::timeout(patience, call(client, kind, chance.fork())).await {
        Err(_) => Ok("dropped".to_owned()),
        Ok(Ok(())) => Ok("OK".to_owned()),
        Ok(Err(error)) => match error.downcast_ref::<Status>() {
            Some(status) if status.code() == Code::Unavailable => Ok(status.code().to_string()),
            _ => Err(format!("call of kind {kind}: {error}")),
        },
    }
}

/// One call of each kind, and a compressed one; checks what comes back.
async fn call(client: &EchoClient, kind: u8, mut chance: fastrand::Rng) -> Result<(), Error> {
    let request = |seed: usize, length: usize| EchoRequest {
        payload: pattern(length, seed).into(),
        replies: 1,
        ..Default::default()
    };
    let length = chance.usize(..5_000);
    match kind {
        0 => {
            let reply = client.unary(request(1, length)).timeout(CALL_MAX).await?;
            check("payload", reply.payload, pattern(length, 1))?;
        }
        1 => {
            let call = client.unary(request(2, 20 * length)).timeout(CALL_MAX);
            let reply = call.compress(Encoding::GZIP).await?;
            check("payload", reply.payload, pattern(20 * length, 2))?;
        }
        2 => {
            let (mut requests, reply) = client.client_stream().timeout(CALL_MAX).await?;
            for _ in 0..10 {
                requests.send(request(3, length)).await?;
            }
            requests.finish();
            check("payload", reply.await?.payload, pattern(length, 3).repeat(10))?;
        }
        3 => {
            let many = EchoRequest { replies: 20, ..request(4, length) };
            let mut replies = client.server_stream(many).timeout(CALL_MAX).await?;
            let mut came = 0;
            while let Some(reply) = replies.next().await? {
                check("payload", reply.payload, pattern(length, 4))?;
                came += 1;
            }
            check("replies", came, 20)?;
        }
        _ => {
            let (mut requests, mut replies) = client.bidi().timeout(CALL_MAX).await?;
            for seed in 0..5 {
                requests.send(request(seed, length)).await?;
                let reply = replies.next().await?.ok_or("the stream ended early")?;
                check("payload", reply.payload, pattern(length, seed))?;
            }
            requests.finish();
            check("replies after the end", replies.next().await?, None)?;
        }
    }
    Ok(())
}

/// A proxy before `listener`, and where it listens.
async fn proxy(
    listener: &Listener,
    mut chance: fastrand::Rng,
    cuts: &Arc<AtomicU64>,
) -> Result<SocketAddr, Error> {
    let to = listener.local_addr().ok_or("no address")?;
    let accepting = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = accepting.local_addr()?;
    let cuts = Arc::clone(cuts);
    tokio::spawn(async move {
        loop {
            // A connection that was cut while it waited to be accepted is none.
            let Ok((down, _)) = accepting.accept().await else { continue };
            let (plan, cuts) = (Plan::new(&mut chance), Arc::clone(&cuts));
            tokio::spawn(async move {
                if let Ok(up) = TcpStream::connect(to).await {
                    plan.carry_out(down, up, &cuts).await;
                }
            });
        }
    });
    Ok(addr)
}

/// What becomes of one connection.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// After so many bytes up, or down, it is cut.
    bytes: [u64; 2],
    how: Cut,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Fin,
    Reset,
    /// The client's side first.
    Client,
    /// The server's side first.
    Server,
}

impl Plan {
    fn new(chance: &mut fastrand::Rng) -> Plan {
        // As often in the first bytes as in the tens of thousands after them; some never.
        let most = 1 << chance.u8(1..=18);
        let bytes = chance.u64(1..=most);
        let bytes = match chance.u8(..) % 8 {
            0 => [u64::MAX; 2],
            1..=4 => [bytes, u64::MAX],
            _ => [u64::MAX, bytes],
        };
        let how = [Cut::Fin, Cut::Reset, Cut::Client, Cut::Server][chance.usize(..4)];
        Plan { bytes, how }
    }

    async fn carry_out(self, mut down: TcpStream, mut up: TcpStream, cuts: &AtomicU64) {
        let (down_read, down_write) = down.split();
        let (up_read, up_write) = up.split();
        let [up_bytes, down_bytes] = self.bytes;
        let relayed = tokio::try_join!(
            relay(down_read, up_write, up_bytes),
            relay(up_read, down_write, down_bytes)
        );
        if relayed.is_ok() {
            return;
        }
        cuts.fetch_add(1, Ordering::Relaxed);
        match self.how {
            Cut::Fin => {}
            Cut::Reset => {
                for socket in [&down, &up] {
                    // Where that fails it is a FIN.
                    let _ = socket.set_zero_linger();
                }
            }
            Cut::Client => {
                drop(down);
                tokio::time::sleep(ONE_SIDED).await;
            }
            Cut::Server => {
                drop(up);
                tokio::time::sleep(ONE_SIDED).await;
            }
        }
    }
}

/// Passes on at most so many bytes; an error where there are more, or a side is gone.
async fn relay(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut bytes: u64) -> io::Result<()> {
    let mut buffer = [0; 4_096];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let passed = read.min(usize::try_from(bytes).unwrap_or(usize::MAX));
        to.write_all(&buffer[..passed]).await?;
        bytes -= u64::try_from(passed).unwrap_or(0);
        if bytes == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}
