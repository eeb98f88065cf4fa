//! `gannet-load`: makes calls as fast as a server answers them, and prints what it measured.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gannet_load::{Length, Options, Scenario, Sizes, Trust};

/// Makes calls over some connections, and prints one JSON object: calls, messages, times, bytes,
/// latencies.
///
/// With `idle` and `open-streams` it opens everything, prints `ready`, and keeps it open until its
/// input ends.
#[derive(Parser)]
struct Args {
    /// The server
    #[arg(long, default_value = "127.0.0.1:50051")]
    addr: String,
    /// unary, echo, server-stream, bidi, large-stream, idle, open-streams, rest or rest-connect
    #[arg(long, default_value = "unary")]
    scenario: Scenario,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Calls in flight on each connection [default: 100 for unary, 8 for echo, else 1]
    #[arg(long)]
    in_flight: Option<usize>,
    /// Measures exactly so many calls
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "seconds")]
    calls: u64,
    /// Measures for so long
    #[arg(long)]
    seconds: Option<f64>,
    /// A payload's bytes [default: 16; 1 MiB for echo and large-stream]
    #[arg(long)]
    bytes: Option<u32>,
    /// Messages of a stream [default: 1000; 16 for large-stream]
    #[arg(long)]
    messages: Option<u32>,
    /// Messages of a stream that may be without their echo [default: 32; 4 for large-stream]
    #[arg(long)]
    outstanding: Option<u32>,
    /// Waits for all replies before it sends the next requests: what a server reads at once, and
    /// so what it costs, then depends on no clock
    #[arg(long)]
    lockstep: bool,
    /// Calls over TLS, to `localhost`, trusting the certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Sends this token with every call
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    #[arg(long, default_value_t = 0.0)]
    warm_up_seconds: f64,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let in_flight = args.in_flight.unwrap_or(match args.scenario {
        Scenario::Unary => 100,
        Scenario::Echo => 8,
        _ => 1,
    });
    let options = Options {
        addr: args.addr,
        tls: args.tls_ca.as_deref().map(trust).transpose()?,
        bearer: args.bearer,
        scenario: args.scenario,
        connections: args.connections,
        in_flight,
        sizes: Sizes { bytes: args.bytes, messages: args.messages, outstanding: args.outstanding },
        lockstep: args.lockstep,
        warm_up: Duration::try_from_secs_f64(args.warm_up_seconds)?,
        length: match args.seconds {
            Some(seconds) => Length::Time(Duration::try_from_secs_f64(seconds)?),
            None => Length::Calls(args.calls),
        },
    };
    if options.scenario.holds() {
        let ready = || {
            println!("ready");
            std::io::stdout().flush()
        };
        gannet_load::hold(&options, ready, || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        })?;
    } else {
        println!("{}", gannet_load::measure(&options)?.json());
    }
    Ok(())
}

fn trust(file: &Path) -> Result<Trust, String> {
    let told = |error| format!("{}: {error}", file.display());
    Trust::from_pem(&std::fs::read(file).map_err(told)?).map_err(told)
}
