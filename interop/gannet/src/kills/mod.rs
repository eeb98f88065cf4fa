//! Servers that die, or fall silent, behind one channel with round_robin and client-side health
//! checking (gRFC A17).
//!
//! What must hold: only calls in flight on the connection that died fail, each with UNAVAILABLE and
//! the address, and of each caller one at most for each death; no call is placed where the channel
//! knows that nobody answers, and none waits for a connection while others are there; as long as
//! nothing happens turns are even within 1 %; and who is well again gets calls again, without
//! anybody's doing. Where calls go is seen by a policy around round_robin (`spy`). Nothing is
//! judged by the clock; limits of time only end what hangs.

mod load;
mod process;
mod spy;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gannet::client::balance::RoundRobin;
use gannet::{Call, Channel, Code, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::load::{Load, OfOne};
use self::process::Process;
use self::spy::{Evenness, Seen, Spy};
use crate::proto::grpctest::{Grpctest, Message, MessageResponse};

type Made<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVERS: u8 = 10;
/// What ends a run that hangs, and no call should come near to.
const HANGS: Duration = Duration::from_secs(60);
/// How far from even turns may be, as a part.
const UNEVEN_MAX: f64 = 0.01;
/// How far from even turns may be, in calls, besides one for each thread that calls: those take
/// turns of their own.
const UNEVEN_CALLS_MAX: usize = 1;
/// How long an attempt to connect may take, as long as its first backoff.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Says who it is; not while it feels unwell.
#[derive(Debug)]
pub struct Named {
    /// What it says.
    pub name: String,
    /// Whether it feels well.
    pub is_well: watch::Receiver<bool>,
}

impl Grpctest for Named {
    async fn get_server_response(&self, _: &mut Call, _: Message) -> Result<MessageResponse> {
        // Who would tell of a change has gone only where the process ends.
        let _ = self.is_well.clone().wait_for(|is_well| *is_well).await;
        Ok(MessageResponse { message: self.name.clone(), received: true, ..Default::default() })
    }
}

/// What a server does with those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It serves them.
    Serves,
    /// It accepts connections, and sends nothing.
    SaysNothing,
    /// It serves them, but says nothing of its health to those who watch.
    HidesHealth,
}

impl Behaviour {
    const ALL: [Behaviour; 3] = [Behaviour::Serves, Behaviour::SaysNothing, Behaviour::HidesHealth];

    /// As programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Behaviour::Serves => "serves",
            Behaviour::SaysNothing => "says-nothing",
            Behaviour::HidesHealth => "hides-health",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Behaviour> {
        Behaviour::ALL.into_iter().find(|behaviour| behaviour.name() == name)
    }
}

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed by SIGKILL.
    Killed,
    /// Its process stands still, and the system goes on accepting connections for it: keepalive
    /// finds it.
    Silent,
    /// It is killed, and what comes in its place accepts connections and never sends its SETTINGS:
    /// the limit on attempts finds it.
    NoSettings,
    /// It answers PING, and no calls, and says NOT_SERVING: health checking finds it.
    NotServing,
    /// It is killed, and what comes in its place never says how it feels: it gets no calls.
    NoHealth,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] =
        [Fault::Killed, Fault::Silent, Fault::NoSettings, Fault::NotServing, Fault::NoHealth];

    /// As programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Killed => "killed",
            Fault::Silent => "silent",
            Fault::NoSettings => "no-settings",
            Fault::NotServing => "not-serving",
            Fault::NoHealth => "no-health",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// What all calls say that fail by it, besides the address; `None`: no call fails.
    fn told(self) -> Option<&'static str> {
        match self {
            Fault::Silent => Some("keepalive"),
            Fault::NotServing => None,
            _ => Some(""),
        }
    }
}

/// When what happens.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// One server after the other, each when so many calls have been answered since the one before
    /// was well again.
    Calls(usize),
    /// One server each time that so much time has passed; it is started again half of it later.
    Clock(Duration),
}

/// What is done.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// The program that is one server where it is told `serve --addr`.
    pub program: PathBuf,
    /// Servers to which something happens, one after the other.
    pub rounds: usize,
    /// When.
    pub pace: Pace,
    /// Calls at the same time.
    pub callers: usize,
    /// Threads on which they are made.
    pub workers: usize,
    /// What happens. By the clock servers are killed, whatever this says.
    pub fault: Fault,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Calls that were answered.
    pub answered: usize,
    /// Calls that failed, as they may.
    pub failed: usize,
    /// Times in which nothing happened.
    pub intervals: usize,
    /// Of these so many with a thousand calls to each server, at least.
    pub judged: usize,
    /// How far turns were from even in the worst of those, in per cent.
    pub uneven_percent: f64,
    /// How far turns were from even in any of them all, in calls.
    pub uneven_calls: f64,
    /// How long it took to be answered: half of all calls, all but one in a hundred, all; µs.
    pub took: [u32; 3],
}

/// The servers, the channel, and calls on it that go on all the time.
struct Stage<'a> {
    rounds: &'a Rounds,
    servers: Vec<Process>,
    names: Vec<String>,
    channel: Channel,
    seen: Seen,
    load: Load,
    /// How often each server was hit.
    hits: BTreeMap<String, usize>,
    figures: Figures,
}

impl Rounds {
    /// All of it.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn run(&self) -> Made<Figures> {
        let mut stage = self.stage()?;
        stage.until("ten healthy servers", |seen| seen.there() == all_of(SERVERS)).await?;
        stage.seen.complete();
        let mut next = Instant::now();
        for round in 0..self.rounds {
            let victim = (round * 7 + 3) % stage.servers.len();
            match self.pace {
                Pace::Calls(calls) => {
                    stage.answers(calls).await?;
                    stage.strike(victim, calls).await?;
                }
                Pace::Clock(time) => {
                    next += time;
                    stage.by_clock(victim, next, time / 2).await?;
                }
            }
        }
        stage.until("all servers again", |seen| seen.there() == all_of(SERVERS)).await?;
        if let Pace::Calls(calls) = self.pace {
            stage.answers(calls).await?;
        }
        stage.judge().await
    }

    fn stage(&self) -> Made<Stage<'_>> {
        let mut servers = Vec::new();
        for n in 1..=SERVERS {
            let addr = format!("127.0.0.{n}:0");
            servers.push(Process::start(&self.program, &addr, Behaviour::Serves)?);
        }
        let names: Vec<String> = servers.iter().map(|server| server.addr.to_string()).collect();
        let seen = Seen::default();
        let spied = seen.clone();
        let mut builder = Channel::builder(format!("ipv4:{}", names.join(",")))
            .connect_timeout(CONNECT_TIMEOUT)
            .health_check("");
        if self.fault == Fault::Silent {
            let builder_with = builder.keepalive_time(Duration::from_secs(10));
            builder = builder_with.keepalive_timeout(Duration::from_secs(1));
        }
        let channel = builder.balance(move || Spy::new(RoundRobin::new(), &spied)).build()?;
        let load = Load::start(&channel, self.callers, &names);
        let (hits, figures) = (BTreeMap::new(), Figures::default());
        Ok(Stage { rounds: self, servers, names, channel, seen, load, hits, figures })
    }
}

impl Stage<'_> {
    async fn until(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Made<()> {
        self.load.until(what, |_| is(&self.seen)).await
    }

    /// So many calls are answered.
    async fn answers(&self, calls: usize) -> Made<()> {
        let end = self.load.tally.all() + calls;
        self.load.until("answers", |tally| tally.all() >= end).await
    }

    /// Has what is served at an address be another process.
    fn replace(&mut self, victim: usize, behaviour: Behaviour) -> Made<()> {
        self.servers[victim].kill()?;
        let addr = &self.names[victim];
        self.servers[victim] = Process::start(&self.rounds.program, addr, behaviour)?;
        Ok(())
    }

    /// One is killed at `at`, and started again a while later, whatever else there is.
    async fn by_clock(&mut self, victim: usize, at: Instant, after: Duration) -> Made<()> {
        let addr = self.names[victim].clone();
        sleep_until(at).await;
        self.servers[victim].kill()?;
        *self.hits.entry(addr.clone()).or_default() += 1;
        sleep_until(at + after).await;
        self.servers[victim] = Process::start(&self.rounds.program, &addr, Behaviour::Serves)?;
        Ok(())
    }

    /// Something happens to one, which is found; the others answer; and it is well again.
    async fn strike(&mut self, victim: usize, calls: usize) -> Made<()> {
        let addr = self.names[victim].clone();
        *self.hits.entry(addr.clone()).or_default() += 1;
        let (there, heard) = (usize::from(SERVERS), self.seen.failures().len());
        match self.rounds.fault {
            Fault::Killed => self.servers[victim].kill()?,
            Fault::Silent => self.servers[victim].tell("silence")?,
            Fault::NotServing => self.servers[victim].tell("sick")?,
            Fault::NoSettings => self.replace(victim, Behaviour::SaysNothing)?,
            Fault::NoHealth => self.replace(victim, Behaviour::HidesHealth)?,
        }
        let fault = self.rounds.fault;
        self.until("what finds it", |seen| match fault {
            Fault::Killed => seen.there().1 == there - 1,
            // And what happens to those who connect.
            Fault::Silent | Fault::NoSettings => seen.failures()[heard..]
                .iter()
                .any(|told| told.starts_with(&format!("{addr}: no answer within "))),
            Fault::NotServing | Fault::NoHealth => seen.there() == (there, there - 1),
        })
        .await?;
        self.others_answer(&addr, calls).await?;
        let before = self.load.tally.of(&addr);
        match fault {
            Fault::Killed => {
                self.servers[victim] =
                    Process::start(&self.rounds.program, &addr, Behaviour::Serves)?;
            }
            Fault::Silent => self.servers[victim].tell("speak")?,
            Fault::NotServing => self.servers[victim].tell("well")?,
            Fault::NoSettings | Fault::NoHealth => self.replace(victim, Behaviour::Serves)?,
        }
        self.until("its return", |seen| seen.there() == all_of(SERVERS)).await?;
        self.load.until("its answers", |tally| tally.of(&addr) > before).await
    }

    /// Calls that are made while it is known that one does not answer are answered by others, each
    /// of them. Those who called before may be waiting there.
    async fn others_answer(&mut self, addr: &str, calls: usize) -> Made<()> {
        let load = Load::start(&self.channel, self.rounds.callers, &self.names);
        load.until("answers of others", |tally| tally.all() >= calls).await?;
        let (failures, strays) = (load.tally.failures(), load.tally.of(addr));
        if failures > 0 || strays > 0 {
            return Err(format!("beside {addr}: {failures} fail, {strays} go there").into());
        }
        self.figures.answered += load.tally.all();
        load.finish().await;
        Ok(())
    }

    /// Whether all of it was as it must be.
    async fn judge(self) -> Made<Figures> {
        let Stage { seen, load, hits, mut figures, rounds, .. } = self;
        figures.answered += load.tally.all();
        let callers = load.finish().await;
        figures.failed = failures_of(&hits, &callers, rounds.fault.told())?;
        let (strays, waits) = (seen.strays(), seen.waits());
        if strays > 0 || waits > 0 {
            return Err(format!("{strays} calls placed on the dead, {waits} waited").into());
        }
        let Evenness { intervals, judged, worst, worst_picks } = seen.evenness();
        let uneven_calls_max = (UNEVEN_CALLS_MAX + rounds.workers) as f64;
        if worst > UNEVEN_MAX || worst_picks > uneven_calls_max {
            return Err(format!("turns are not even: by {worst_picks} calls, {worst}").into());
        }
        (figures.intervals, figures.judged) = (intervals, judged);
        (figures.uneven_percent, figures.uneven_calls) = (100.0 * worst, worst_picks);
        let mut took: Vec<u32> = callers.into_iter().flat_map(|one| one.took).collect();
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).or(took.last());
        figures.took = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or_default());
        Ok(figures)
    }
}

fn all_of(servers: u8) -> (usize, usize) {
    (servers.into(), servers.into())
}

/// How many calls have failed, each as it may: on the connection to a server that was hit, with
/// these words, and no more of one caller than it was hit.
fn failures_of(
    hits: &BTreeMap<String, usize>,
    callers: &[OfOne],
    words: Option<&str>,
) -> Made<usize> {
    for one in callers {
        let mut of_one = BTreeMap::<&str, usize>::new();
        for status in &one.failures {
            let told = status.message();
            let hit = hits.keys().find(|addr| told.starts_with(&format!("{addr}: ")));
            let (Some(addr), Some(words)) = (hit, words) else {
                return Err(format!("a call failed for no reason: {status}").into());
            };
            if status.code() != Code::Unavailable || !told.contains(words) {
                return Err(format!("{addr} was hit, and a call failed with {status}").into());
            }
            let count = of_one.entry(addr).or_default();
            *count += 1;
            if *count > hits[addr] {
                return Err(format!("one caller met a dead server too often: {status}").into());
            }
        }
    }
    Ok(callers.iter().map(|one| one.failures.len()).sum())
}
