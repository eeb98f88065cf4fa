//! The frame of a client program.
//!
//! `PROGRAM --addr A --in-flight N --seconds S --threads T --mode M` calls over one channel from N
//! tasks, checks each reply, and prints one JSON object. Modes: `unary` (the hello world),
//! `server-stream` and `bidi` (`--messages` of `--bytes` in each call), `large` (the echo of 1
//! MiB, or `--bytes`). `--work N` has each task compute so many rounds before each call, each a
//! nanosecond or two. `--warm-up-seconds` pass before anything is counted; `--calls` instead of
//! `--seconds` makes so many calls and counts them all.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::task::JoinSet;

use crate::flags::Flags;
use crate::histogram::Histogram;
use crate::{Error, Result, greeting, runtime};

/// One stack's client. Clones share one channel, which is one connection.
///
/// Each method makes one call and checks what comes back with the functions of this module.
pub trait Client: Clone + Send + 'static {
    /// Opens the channel.
    fn connect(addr: String) -> impl Future<Output = Result<Self>> + Send;
    /// Greets; see [`expect_greeting`].
    fn hello(&mut self, message: String) -> impl Future<Output = Result<()>> + Send;
    /// Sends a body to be returned; see [`expect_body`].
    fn echo(&mut self, body: Vec<u8>) -> impl Future<Output = Result<()>> + Send;
    /// Wants so many payloads of so many bytes, and says how many came.
    fn server_stream(
        &mut self,
        messages: u32,
        bytes: u32,
    ) -> impl Future<Output = Result<u32>> + Send;
    /// Sends so many payloads of so many bytes without waiting for any to return, and says how
    /// many did.
    fn bidi(&mut self, messages: u32, bytes: u32) -> impl Future<Output = Result<u32>> + Send;
}

/// Fails where a reply is not the one to [`Client::hello`]'s message.
pub fn expect_greeting(message: &str, received: bool) -> Result<()> {
    // The whole text is compared; `greeting` is not called, which would be work of ours per call.
    if received && message == REPLY {
        return Ok(());
    }
    Err(format!("a wrong reply: {message:?}, {received}").into())
}

/// Fails where a body is not what was sent or wanted.
pub fn expect_body(body: &[u8], bytes: usize) -> Result<()> {
    let (first, last) = (body.first(), body.last());
    if body.len() == bytes && first == last && first.is_none_or(|byte| *byte == b'x') {
        return Ok(());
    }
    Err(format!("a wrong body of {} bytes instead of {bytes}", body.len()).into())
}

/// What is said to the hello world, and what it answers.
const MESSAGE: &str = "hello";
const REPLY: &str = "Hello I am up and running received \"hello\" message from you";

const FLAGS: &[&str] = &[
    "addr",
    "in-flight",
    "seconds",
    "calls",
    "threads",
    "mode",
    "messages",
    "bytes",
    "warm-up-seconds",
    "work",
];

#[derive(Clone, Copy, Debug)]
enum Mode {
    Unary,
    ServerStream,
    Bidi,
    Large,
}

/// What each task does again and again.
#[derive(Clone, Copy, Debug)]
struct Job {
    mode: Mode,
    messages: u32,
    bytes: u32,
    /// Rounds of a computation before each call.
    work: u32,
}

#[derive(Debug)]
struct Args {
    addr: String,
    in_flight: usize,
    job: Job,
    warm_up: Duration,
    measured: Duration,
    /// Instead of the times.
    calls: Option<u64>,
}

/// What all tasks look at, to know whether their calls count and when to end.
struct Phase {
    now: AtomicU8,
    calls_left: AtomicU64,
}

const WARMING_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// What one task did while it was measured.
struct Tally {
    latencies: Histogram,
    messages: u64,
}

/// A client program.
pub fn run<C: Client>() -> ExitCode {
    match try_run::<C>() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn try_run<C: Client>() -> Result<String> {
    let flags = Flags::parse(FLAGS)?;
    let args = Args::read(&flags)?;
    let runtime = runtime(flags.value("threads", 1)?)?;
    let report = runtime.block_on(async { tokio::spawn(measure::<C>(args)).await? });
    runtime.shutdown_background();
    report
}

impl Args {
    fn read(flags: &Flags) -> Result<Args> {
        let mode = match flags.text("mode").unwrap_or("unary") {
            "unary" => Mode::Unary,
            "server-stream" => Mode::ServerStream,
            "bidi" => Mode::Bidi,
            "large" => Mode::Large,
            other => return Err(format!("--mode {other}: not a mode").into()),
        };
        let bytes = if matches!(mode, Mode::Large) { 1 << 20 } else { 16 };
        let calls = flags.text("calls").map(str::parse).transpose()?;
        let seconds = |name, default| -> Result<Duration> {
            Ok(Duration::try_from_secs_f64(flags.value(name, default)?)?)
        };
        Ok(Args {
            addr: flags.text("addr").ok_or("--addr is missing")?.to_owned(),
            in_flight: flags.value("in-flight", 1)?,
            job: Job {
                mode,
                messages: flags.value("messages", 1_000)?,
                bytes: flags.value("bytes", bytes)?,
                work: flags.value("work", 0)?,
            },
            warm_up: seconds("warm-up-seconds", 0.5)?,
            measured: seconds("seconds", 5.0)?,
            calls,
        })
    }
}

async fn measure<C: Client>(args: Args) -> Result<String> {
    assert_eq!(greeting(MESSAGE), REPLY, "the text that is expected is the one that is sent");
    let mut client = C::connect(args.addr.clone()).await?;
    // The first call opens the connection, and shows that the server is the right one.
    args.job.call(&mut client).await?;
    let phase = Arc::new(Phase {
        now: AtomicU8::new(if args.calls.is_some() { MEASURED } else { WARMING_UP }),
        calls_left: AtomicU64::new(args.calls.unwrap_or(u64::MAX)),
    });
    let mut began = (Instant::now(), cpu()?);
    let mut tasks = JoinSet::new();
    for _ in 0..args.in_flight.max(1) {
        tasks.spawn(work(client.clone(), args.job, Arc::clone(&phase)));
    }
    let mut done = Vec::new();
    let mut ended = None;
    if args.calls.is_none() {
        wait(&mut tasks, args.warm_up).await?;
        began = (Instant::now(), cpu()?);
        phase.now.store(MEASURED, Ordering::Relaxed);
        wait(&mut tasks, args.measured).await?;
        phase.now.store(OVER, Ordering::Relaxed);
        ended = Some((Instant::now(), cpu()?));
    }
    while let Some(tally) = tasks.join_next().await {
        done.push(tally??);
    }
    let ended = ended.map_or_else(|| Ok::<_, Error>((Instant::now(), cpu()?)), Ok)?;
    Ok(report(&done, ended.0 - began.0, ended.1.saturating_sub(began.1)))
}

/// Lets the tasks work; fails as soon as one does.
async fn wait(tasks: &mut JoinSet<Result<Tally>>, time: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(ended) => Err(ended?.err().unwrap_or_else(|| "a task ended early".into())),
            None => Err("no task".into()),
        },
    }
}

async fn work<C: Client>(mut client: C, job: Job, phase: Arc<Phase>) -> Result<Tally> {
    let mut tally = Tally { latencies: Histogram::new(), messages: 0 };
    while phase.another() {
        job.compute();
        let began = Instant::now();
        let messages = job.call(&mut client).await?;
        // What ends in the time that is measured counts, wherever it began.
        if phase.now.load(Ordering::Relaxed) == MEASURED {
            tally.latencies.record(began.elapsed());
            tally.messages += u64::from(messages);
        }
    }
    Ok(tally)
}

impl Phase {
    /// Whether there is another call to make.
    fn another(&self) -> bool {
        if self.calls_left.load(Ordering::Relaxed) == u64::MAX {
            return self.now.load(Ordering::Relaxed) != OVER;
        }
        let less = |left: u64| left.checked_sub(1);
        self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Job {
    /// What a task does besides calling: each round needs the one before.
    fn compute(&self) {
        let round = |value: u64, _| (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        black_box((0..self.work).fold(black_box(1), round));
    }

    /// One call, and how many messages it brought.
    async fn call<C: Client>(&self, client: &mut C) -> Result<u32> {
        let messages = match self.mode {
            Mode::Unary => {
                client.hello(MESSAGE.to_owned()).await?;
                return Ok(1);
            }
            Mode::Large => {
                client.echo(crate::body(self.bytes)).await?;
                return Ok(1);
            }
            Mode::ServerStream => client.server_stream(self.messages, self.bytes).await?,
            Mode::Bidi => client.bidi(self.messages, self.bytes).await?,
        };
        if messages != self.messages {
            return Err(format!("{messages} messages came instead of {}", self.messages).into());
        }
        Ok(messages)
    }
}

/// The time that this process has had of the processors, its own and the kernel's.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(us.unsigned_abs()))
}

fn report(done: &[Tally], elapsed: Duration, cpu: Duration) -> String {
    let mut all = Histogram::new();
    for tally in done {
        all.add(&tally.latencies);
    }
    let messages: u64 = done.iter().map(|tally| tally.messages).sum();
    format!(
        "{{\"calls\":{},\"messages\":{messages},\"elapsed_s\":{:.6},\"cpu_s\":{:.6},\
         \"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1}}}",
        all.total(),
        elapsed.as_secs_f64(),
        cpu.as_secs_f64(),
        all.quantile_us(0.5),
        all.quantile_us(0.99),
        all.quantile_us(0.999),
    )
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
