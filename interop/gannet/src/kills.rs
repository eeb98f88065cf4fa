//! Servers that die, or fall silent, behind one channel with round_robin.
//!
//! What must hold: only calls in flight on the connection that died fail, each with UNAVAILABLE and
//! the address, and of each caller one at most; none waits for ever for a server that is dead; as
//! long as nothing happens turns are even within 1 %; and who was started again gets calls again,
//! without anybody's doing. Nothing is judged by the clock; limits of time only end what hangs.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gannet::client::balance::RoundRobin;
use gannet::{Call, Channel, Code, Result, Status};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::proto::grpctest::{Grpctest, GrpctestClient, Message, MessageResponse};

type Made<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVERS: u8 = 10;
/// What ends a run that hangs, and no call should come near to.
const HANGS: Duration = Duration::from_secs(60);
/// Calls go on so long beside a dead server, at least.
const CALLS_BESIDE: usize = 500;
/// How far from even turns may be, as a part.
const UNEVEN_MAX: f64 = 0.01;

/// Says who it is.
#[derive(Debug)]
pub struct Named(pub String);

impl Grpctest for Named {
    async fn get_server_response(&self, _: &mut Call, _: Message) -> Result<MessageResponse> {
        Ok(MessageResponse { message: self.0.clone(), received: true, ..Default::default() })
    }
}

/// What is done.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// The program that is one server where it is told `serve --addr`.
    pub program: PathBuf,
    /// Servers that are killed, one after the other.
    pub rounds: usize,
    /// Calls between two kills.
    pub calls: usize,
    /// Calls at the same time.
    pub callers: usize,
    /// Servers fall silent instead of dying.
    pub stall: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Calls that were answered.
    pub answered: usize,
    /// Calls that failed, as they may.
    pub failed: usize,
}

/// One server's process; killed when it is dropped.
struct Process {
    addr: SocketAddr,
    child: Child,
    input: ChildStdin,
}

impl Process {
    fn start(program: &Path, addr: &str) -> Made<Process> {
        let mut command = Command::new(program);
        command.args(["serve", "--addr", addr]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line.trim_end().strip_prefix("listening on ").ok_or("it does not listen")?;
        Ok(Process { addr: addr.parse()?, child, input })
    }

    fn tell(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.input, "{word}")
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}

/// Callers that go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    callers: JoinSet<Vec<Status>>,
}

/// Who has answered how often.
struct Tally {
    answers: BTreeMap<String, AtomicUsize>,
    failures: AtomicUsize,
}

impl Tally {
    fn new(servers: &[Process]) -> Tally {
        let names = servers.iter().map(|server| server.addr.to_string());
        Tally {
            answers: names.map(|name| (name, AtomicUsize::new(0))).collect(),
            failures: AtomicUsize::new(0),
        }
    }

    fn count(&self, name: &str) {
        if let Some(count) = self.answers.get(name) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, name: &str) -> usize {
        self.answers.get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn all(&self) -> usize {
        self.answers.values().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

async fn call(client: &GrpctestClient) -> Result<String> {
    let request = Message { message: "who".into(), ..Default::default() };
    Ok(client.get_server_response(request).timeout(HANGS).await?.message)
}

impl Load {
    fn start(channel: &Channel, callers: usize, servers: &[Process]) -> Load {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::new(servers)));
        let mut load = Load { stop, tally, callers: JoinSet::new() };
        for _ in 0..callers {
            let (client, stop) = (GrpctestClient::new(channel.clone()), Arc::clone(&load.stop));
            let tally = Arc::clone(&load.tally);
            load.callers.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match call(&client).await {
                        Ok(name) => tally.count(&name),
                        Err(status) => {
                            tally.failures.fetch_add(1, Ordering::Relaxed);
                            failures.push(status);
                        }
                    }
                }
                failures
            });
        }
        load
    }

    /// Waits until this is so; `what` it is.
    async fn until(&self, what: &str, is: impl Fn(&Tally) -> bool) -> Made<()> {
        let waits = async {
            while !is(&self.tally) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(HANGS, waits).await.map_err(|_| format!("{what} does not come").into())
    }

    /// The failures of each caller.
    async fn finish(self) -> Vec<Vec<Status>> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await
    }
}

impl Rounds {
    /// All of it.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn run(&self) -> Made<Figures> {
        let mut servers = Vec::new();
        for n in 1..=SERVERS {
            servers.push(Process::start(&self.program, &format!("127.0.0.{n}:0"))?);
        }
        let list: Vec<String> = servers.iter().map(|server| server.addr.to_string()).collect();
        let mut builder = Channel::builder(format!("ipv4:{}", list.join(",")));
        if self.stall {
            builder = builder
                .keepalive_time(Duration::from_secs(10))
                .keepalive_timeout(Duration::from_secs(1));
        }
        let channel = builder.balance(RoundRobin::new).build()?;
        let mut figures = Figures::default();
        let load = Load::start(&channel, self.callers, &servers);
        load.until("an answer of each", |tally| list.iter().all(|name| tally.of(name) > 0)).await?;
        figures.answered += load.tally.all();
        no_failures(&load.finish().await)?;
        for round in 0..self.rounds {
            figures.answered += self.take_turns(&channel, &list).await?;
            let victim = (round * 7 + 3) % servers.len();
            match self.stall {
                false => self.kill(&channel, &mut servers, victim, &mut figures).await?,
                true => self.silence(&channel, &mut servers, victim, &mut figures).await?,
            }
        }
        figures.answered += self.take_turns(&channel, &list).await?;
        Ok(figures)
    }

    /// As long as nothing happens: how many calls were answered, by these servers and no others.
    async fn take_turns(&self, channel: &Channel, names: &[String]) -> Made<usize> {
        let mut callers = JoinSet::new();
        let each = self.calls / self.callers;
        for _ in 0..self.callers {
            let client = GrpctestClient::new(channel.clone());
            callers.spawn(async move {
                let mut counts = BTreeMap::<String, usize>::new();
                for _ in 0..each {
                    *counts.entry(call(&client).await?).or_default() += 1;
                }
                Ok::<_, Status>(counts)
            });
        }
        let mut counts = BTreeMap::<String, usize>::new();
        for outcome in callers.join_all().await {
            for (name, count) in outcome? {
                *counts.entry(name).or_default() += count;
            }
        }
        let all = each * self.callers;
        let even = all as f64 / names.len() as f64;
        let is_even = |count: &usize| (*count as f64 - even).abs() <= even * UNEVEN_MAX;
        if counts.len() != names.len() || !counts.values().all(is_even) {
            return Err(format!("turns are not even: {counts:?}").into());
        }
        Ok(all)
    }

    /// One dies under load, and is started again.
    async fn kill(
        &self,
        channel: &Channel,
        servers: &mut [Process],
        victim: usize,
        figures: &mut Figures,
    ) -> Made<()> {
        let load = Load::start(channel, self.callers, servers);
        load.until("load", |tally| tally.all() > CALLS_BESIDE).await?;
        servers[victim].kill()?;
        let before = load.tally.all();
        load.until("an answer of others", |tally| tally.all() > before + CALLS_BESIDE).await?;
        let addr = servers[victim].addr.to_string();
        // What it has answered is counted by now.
        let dead = load.tally.of(&addr);
        servers[victim] = Process::start(&self.program, &addr)?;
        load.until("its return", |tally| tally.of(&addr) > dead).await?;
        figures.answered += load.tally.all();
        figures.failed += failures_of(&addr, &load.finish().await, &[])?;
        Ok(())
    }

    /// One falls silent under load: keepalive finds it. Later it speaks again.
    async fn silence(
        &self,
        channel: &Channel,
        servers: &mut [Process],
        victim: usize,
        figures: &mut Figures,
    ) -> Made<()> {
        let addr = servers[victim].addr.to_string();
        let load = Load::start(channel, self.callers, servers);
        load.until("load", |tally| tally.all() > CALLS_BESIDE).await?;
        servers[victim].tell("silence")?;
        // In time all callers have a call there, which ends when keepalive has found it.
        let is_found = |tally: &Tally| tally.failures.load(Ordering::Relaxed) > 0;
        load.until("what keepalive finds", is_found).await?;
        figures.answered += load.tally.all();
        let failures = load.finish().await;
        figures.failed += failures_of(&addr, &failures, &["keepalive"])?;
        // From then on no call goes there, although it still accepts connections.
        let others: Vec<String> = servers.iter().map(|server| server.addr.to_string()).collect();
        let others: Vec<String> = others.into_iter().filter(|name| *name != addr).collect();
        figures.answered += self.take_turns(channel, &others).await?;
        servers[victim].tell("speak")?;
        let load = Load::start(channel, self.callers, servers);
        load.until("its return", |tally| tally.of(&addr) > 0).await?;
        figures.answered += load.tally.all();
        no_failures(&load.finish().await)
    }
}

fn no_failures(failures: &[Vec<Status>]) -> Made<()> {
    match failures.iter().flatten().next() {
        None => Ok(()),
        Some(status) => Err(format!("a call failed for no reason: {status}").into()),
    }
}

/// How many calls have failed, each as it may: on the connection to `addr`, with these words.
fn failures_of(addr: &str, failures: &[Vec<Status>], words: &[&str]) -> Made<usize> {
    for of_one in failures {
        if of_one.len() > 1 {
            return Err(format!("one caller met a dead server more than once: {of_one:?}").into());
        }
    }
    for status in failures.iter().flatten() {
        let told = status.message();
        let is_named = told.starts_with(&format!("{addr}: "));
        if status.code() != Code::Unavailable
            || !is_named
            || !words.iter().all(|w| told.contains(w))
        {
            return Err(format!("{addr} died, and a call failed with {status}").into());
        }
    }
    Ok(failures.iter().map(Vec::len).sum())
}
