//! Connection churn for as long as one likes: see [`gannet_interop::churn`]. Between rounds all
//! comes to rest; then there must be no task and no descriptor more than before the first
//! connection, and no more bytes held, as the allocator counts, than after the first round.
//!
//! Ends with its report after its time, or at SIGINT or SIGTERM.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gannet_interop::check::{Outcome, exit_code};
use gannet_interop::churn::{Certificate, Churn, Outcomes};
use gannet_interop::process::Usage;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Parser)]
struct Args {
    /// How long, in minutes
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What is chosen by chance follows from it; printed
    #[arg(long)]
    seed: Option<u64>,
    /// Channels that are made each second
    #[arg(long, default_value_t = 40)]
    rate: u32,
    /// Seconds until all must come to rest, again and again
    #[arg(long, default_value_t = 20)]
    round: u32,
    /// How many bytes more may be held than after the first round: three threads keep up to four
    /// buffers for reading, of up to 256 KiB
    #[arg(long, default_value_t = 3 << 20)]
    growth_bytes_max: usize,
    /// With server1.pem, server1.key and ca.pem of gRPC's interop programs: TLS, too
    #[arg(long)]
    certificates: Option<PathBuf>,
}

/// Channels at a time.
const AT_ONCE: usize = 64;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    exit_code("churn", &run(Args::parse()).await)
}

async fn run(args: Args) -> Outcome {
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}, for {} minutes", args.minutes);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let certificate = args.certificates.map(|folder| certificate(&folder)).transpose()?;
    let mut churn = Churn::start(seed, certificate.as_ref()).await?;
    let pause = Duration::from_secs(1) / args.rate.max(1);
    let channels = u64::from(args.rate.max(1) * args.round.max(1));
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(args.minutes * 60.0);
    let (mut all, mut faults, mut first) = (Outcomes::default(), Vec::new(), None);
    while Instant::now() < end {
        // A signal ends it after the round.
        let outcomes = churn.run(channels, AT_ONCE, pause).await;
        let rest = churn.rest().await?;
        let held = held_bytes();
        let usage = Usage::of(std::process::id())?;
        println!(
            "{:>5} s  {} channels, {} cut; {held} bytes held, {rest:?}, {} KiB resident",
            began.elapsed().as_secs(),
            all.channels + outcomes.channels,
            churn.cuts(),
            usage.rss_kib
        );
        all.merge(outcomes);
        if !rest.is_clean() {
            faults.push(format!("left behind: {rest:?}"));
        }
        let first = *first.get_or_insert(held);
        if held > first + args.growth_bytes_max {
            faults.push(format!("{held} bytes are held, {first} after the first round"));
        }
        let now = Duration::ZERO;
        if tokio::time::timeout(now, interrupt.recv()).await.is_ok()
            || tokio::time::timeout(now, terminate.recv()).await.is_ok()
        {
            break;
        }
    }
    println!("ran for {:.1} minutes; calls: {:?}", began.elapsed().as_secs_f64() / 60.0, all.calls);
    faults.extend(all.faults);
    if !faults.is_empty() {
        return Err(faults.join("\n").into());
    }
    println!("passed");
    Ok(())
}

fn certificate(folder: &std::path::Path) -> std::io::Result<Certificate> {
    let read = |name| std::fs::read_to_string(folder.join(name));
    Ok(Certificate {
        chain: read("server1.pem")?,
        key: read("server1.key")?,
        roots: read("ca.pem")?,
        name: "foo.test.google.fr".to_owned(),
    })
}

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
