//! A mixed soak: for as long as one likes, our client calls our server and others', and others'
//! clients call ours, in every way that there is, at a modest rate, while connections end for their
//! age. Meanwhile it prints what was called and what both processes use; at its end it checks that
//! nothing failed that should not, and that memory, descriptors and tasks have not grown.
//!
//! `cargo xtask soak` builds and starts it with the others' programs. Ends with its report after
//! its time, or at SIGINT or SIGTERM. It needs Linux's `/proc`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `operations` | what is called, and how often |
//! | `driver` | our client: the pace, and what becomes of each operation |
//! | `server` | our server, a process of its own |
//! | `others` | servers and clients of others |
//! | `tally` | what was called and what failed |
//! | `trend` | what was measured, and whether it grew |

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

mod driver;
mod operations;
mod others;
mod server;
mod tally;
mod trend;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use gannet_interop::check::{Outcome, exit_code};
use gannet_interop::process::Usage;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use driver::Driver;
use server::Ours;
use tally::Tally;
use trend::{Sample, Trend};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
enum Args {
    /// Runs the soak.
    Run(RunArgs),
    /// Our server, as the soak starts it.
    Serve(server::ServeArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct RunArgs {
    /// How long, in minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Operations that our client begins each second, of one or many calls
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// What is chosen by chance follows from it; printed
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds between two lines of figures
    #[arg(long, default_value_t = 60)]
    every: u64,
    /// How long a connection to our server is used, in milliseconds
    #[arg(long, default_value_t = 3_000)]
    max_connection_age_ms: u64,
    /// How much resident memory may grow between the first quarter and the last, in KiB
    #[arg(long, default_value_t = 4_096)]
    growth_kib_max: u64,
    /// With server1.pem, server1.key and ca.pem of gRPC's interop programs: TLS, too
    #[arg(long)]
    certificates: Option<PathBuf>,
    /// NAME=COMMAND of another server of gannet_interop.proto, `{port}` being its port; words are
    /// split at spaces
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    servers: Vec<others::Program>,
    /// NAME=COMMAND of another client, run again and again: `{port}` and `{tls}` are the ports of
    /// our server, `{case}` is a case of interop/README.md, another one each time
    #[arg(long = "client", value_name = "NAME=COMMAND")]
    clients: Vec<others::Program>,
    /// Seconds between two runs of another client
    #[arg(long, default_value_t = 10)]
    client_pause: u64,
}

/// How often the processes are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// How long all may take to come to rest.
const REST_SECONDS_MAX: u64 = 40;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match Args::parse() {
        Args::Run(args) => exit_code("soak", &run(args).await),
        Args::Serve(args) => exit_code("soak serve", &server::serve(args).await),
    }
}

async fn run(args: RunArgs) -> Outcome {
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}, for {} minutes", args.minutes);
    let ours = Ours::start(&args).await?;
    let mut others = Vec::new();
    for program in &args.servers {
        others.push(others::Server::start(program).await?);
    }
    let tally = Arc::new(Tally::default());
    let (stop, stopped) = watch::channel(false);
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    // What there is before the first call.
    let before = Sample::take(Duration::ZERO, &ours).await?;
    println!("{before}");
    let driver = Driver::new(&args, seed, &ours, &others, Arc::clone(&tally))?;
    let driving = tokio::spawn(driver.drive(stopped.clone()));
    let calling: Vec<_> = args
        .clients
        .iter()
        .map(|program| {
            let client = others::Client::new(program.clone(), &args, &ours, Arc::clone(&tally));
            tokio::spawn(client.call(stopped.clone()))
        })
        .collect();

    let began = Instant::now();
    let mut trend = watch_over(&args, &mut signals, (&ours, &others), &tally).await?;
    let took = began.elapsed();
    stop.send(true)?;
    driving.await?;
    for client in calling {
        client.await?;
    }
    drop(others);
    trend.rest = Some(rest(&ours, &before).await?);
    println!("{tally}\nran for {:.1} minutes", took.as_secs_f64() / 60.0);
    let handlers = ours.measure().await?;
    println!("our server: {} handlers started, {} run", handlers.started, handlers.running);
    ours.stop().await?;
    let mut faults = trend.faults(&before, args.growth_kib_max);
    faults.extend(tally.faults());
    if handlers.running > 0 {
        faults.push(format!("{} handlers still run", handlers.running));
    }
    println!("{}", trend.summary());
    if !faults.is_empty() {
        return Err(faults.join("\n").into());
    }
    println!("passed");
    Ok(())
}

/// Takes samples and prints figures until the time is over or a signal comes.
async fn watch_over(
    args: &RunArgs,
    [interrupt, terminate]: &mut [Signal; 2],
    (ours, others): (&Ours, &[others::Server]),
    tally: &Tally,
) -> Result<Trend, Error> {
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(args.minutes * 60.0);
    let mut ticks = tokio::time::interval_at(began + SAMPLE_EVERY, SAMPLE_EVERY);
    let mut trend = Trend::default();
    let mut told = began;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep_until(end) => break,
            _ = ticks.tick() => {}
        }
        let sample = Sample::take(began.elapsed(), ours).await?;
        trend.samples.push(sample);
        if told.elapsed() + SAMPLE_EVERY / 2 >= Duration::from_secs(args.every) {
            told = Instant::now();
            println!("{sample}; {}", tally.line());
            for other in others {
                let Usage { rss_kib, fds, threads, .. } = other.usage()?;
                println!("    {}: {rss_kib} KiB, {fds} fds, {threads} threads", other.name());
            }
        }
    }
    Ok(trend)
}

/// Waits until connections and tasks are gone, as before; what there is then, or at the end of
/// patience.
async fn rest(ours: &Ours, before: &Sample) -> Result<Sample, Error> {
    let patience = Instant::now() + Duration::from_secs(REST_SECONDS_MAX);
    loop {
        let sample = Sample::take(Duration::ZERO, ours).await?;
        if sample.is_at_rest(before) || Instant::now() >= patience {
            return Ok(sample);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
