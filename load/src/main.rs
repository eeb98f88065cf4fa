//! `gannet-load`: calls the hello world as fast as one connection can.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use clap::Parser;
use gannet_load::{Connection, Load};

/// Calls the hello world (examples/grpctest) over one connection and tells how long it took.
#[derive(Parser)]
struct Args {
    /// The server
    #[arg(long, default_value = "127.0.0.1:50051")]
    addr: String,
    /// Calls in all
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// Calls in flight
    #[arg(long, default_value_t = 100)]
    in_flight: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let reply = "Hello I am up and running received \"hello\" message from you";
    let load = Load {
        path: "/grpctest.Grpctest/GetServerResponse".to_owned(),
        request: b"\x0a\x05hello".to_vec(),
        reply: [b"\x0a\x3b", reply.as_bytes(), b"\x10\x01"].concat(),
        in_flight: args.in_flight.max(1),
        calls: args.calls,
    };
    let report = Connection::open(&args.addr)?.run(&load)?;
    let seconds = report.elapsed.as_secs_f64();
    println!(
        "{} calls, {} in flight, {seconds:.3} s, {:.0} calls/s, {:.1} bytes received a call",
        report.calls,
        args.in_flight,
        report.calls as f64 / seconds,
        report.bytes as f64 / report.calls as f64,
    );
    Ok(())
}
