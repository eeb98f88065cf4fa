//! Ten server processes on loopback addresses behind one channel with round_robin. Round by round
//! one of them is killed with SIGKILL while calls go on, and started again; or, with `--stall`, it
//! falls silent: it accepts connections and never answers. See [`gannet_interop::kills`] for what
//! must hold.
//!
//! `kills run` is the whole; `kills serve` is one of the servers.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;

use clap::{Parser, Subcommand};
use gannet::{Listener, Server};
use gannet_interop::check::{Outcome, exit_code};
use gannet_interop::kills::{Figures, Named, Rounds};
use gannet_interop::plain;
use gannet_interop::proto::grpctest::GrpctestServer;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Kills servers, and looks what becomes of calls
    Run(Run),
    /// Serves until it is killed, or its input ends
    Serve {
        /// Where
        #[arg(long)]
        addr: String,
    },
}

#[derive(clap::Args)]
struct Run {
    /// How many servers are killed, one after the other
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Calls between two kills, by which is judged whether turns are even
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// Calls at the same time
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// Servers fall silent instead of dying
    #[arg(long)]
    stall: bool,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().role {
        Role::Run(run) => start(&run),
        Role::Serve { addr } => serve(&addr),
    };
    exit_code("kills", &outcome)
}

fn start(run: &Run) -> Outcome {
    let Run { rounds, calls, callers, stall } = *run;
    let program = std::env::current_exe()?;
    let rounds = Rounds { program, rounds, calls, callers, stall };
    let figures = plain::runtime(1)?.block_on(rounds.run())?;
    let Figures { answered, failed, .. } = figures;
    println!(
        "{rounds} servers, {answered} calls answered, {failed} failed",
        rounds = rounds.rounds
    );
    Ok(())
}

/// Falls silent when it is told to, as a process does that hangs: the system goes on accepting
/// connections for it.
fn serve(addr: &str) -> Outcome {
    let (tell, told) = mpsc::channel::<()>();
    let (silence, mut silenced) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("silence") => drop(silence.send(())),
                Ok("speak") => drop(tell.send(())),
                _ => break,
            }
        }
        // Its input has ended: so has whoever started it.
        std::process::exit(0);
    });
    plain::runtime(0)?.block_on(async {
        let listener = Listener::tcp(addr)?;
        let addr = listener.local_addr().ok_or("no address")?;
        println!("listening on {addr}");
        std::io::stdout().flush()?;
        tokio::spawn(async move {
            while silenced.recv().await.is_some() {
                // The one thread of this runtime waits here.
                if told.recv().is_err() {
                    return;
                }
            }
        });
        Server::new().add(GrpctestServer::new(Named(addr.to_string()))).serve(listener).await?;
        Ok(())
    })
}
