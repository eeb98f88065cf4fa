//! Ten server processes on loopback addresses behind one channel with round_robin and client-side
//! health checking. Each second one of them is killed with SIGKILL while calls go on, and started
//! again; or, with `--fault`, one after the other accepts and never answers, in one of several
//! ways. See [`gannet_interop::kills`] for what must hold.
//!
//! `kills run` is the whole; `kills serve` is one of the servers.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use gannet::server::{Handled, Incoming, Next};
use gannet::services::health::Health;
use gannet::{Listener, Server};
use gannet_interop::check::{Outcome, exit_code};
use gannet_interop::kills::{Behaviour, Fault, Figures, Named, Pace, Rounds};
use gannet_interop::plain;
use gannet_interop::proto::grpctest::GrpctestServer;
use tokio::sync::{mpsc as words, watch};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Has something happen to servers, and looks what becomes of calls
    Run(Run),
    /// Serves until it is killed, or its input ends
    Serve {
        /// Where
        #[arg(long)]
        addr: String,
        /// What it does with those who come
        #[arg(long, value_parser = behaviour, default_value = "serves")]
        behaviour: Behaviour,
    },
}

#[derive(clap::Args)]
struct Run {
    /// One server is killed each second, for so long
    #[arg(long, default_value_t = 30, conflicts_with_all = ["fault", "rounds", "calls"])]
    seconds: usize,
    /// Not by the clock: what happens to one server after the other (killed, silent, no-settings,
    /// not-serving, no-health)
    #[arg(long, value_parser = fault)]
    fault: Option<Fault>,
    /// To how many servers
    #[arg(long, default_value_t = 3, requires = "fault")]
    rounds: usize,
    /// How many calls are answered before, during and after
    #[arg(long, default_value_t = 100_000, requires = "fault")]
    calls: usize,
    /// Calls at the same time
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// Threads on which they are made
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn behaviour(name: &str) -> Result<Behaviour, String> {
    Behaviour::named(name).ok_or_else(|| format!("{name:?} is none"))
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.map(Fault::name).join(", ");
    Fault::named(name).ok_or_else(|| format!("it is one of: {}", names()))
}

fn main() -> ExitCode {
    let outcome = match Args::parse().role {
        Role::Run(run) => start(&run),
        Role::Serve { addr, behaviour: Behaviour::SaysNothing } => say_nothing(&addr),
        Role::Serve { addr, behaviour } => serve(&addr, behaviour),
    };
    exit_code("kills", &outcome)
}

fn start(run: &Run) -> Outcome {
    let program = std::env::current_exe()?;
    let (pace, rounds) = match run.fault {
        Some(_) => (Pace::Calls(run.calls), run.rounds),
        None => (Pace::Clock(Duration::from_secs(1)), run.seconds),
    };
    let fault = run.fault.unwrap_or(Fault::Killed);
    let workers = run.workers.max(1);
    let rounds = Rounds { program, rounds, pace, callers: run.callers, workers, fault };
    let Figures { answered, failed, intervals, judged, uneven_percent, uneven_calls, took } =
        plain::runtime(workers)?.block_on(rounds.run())?;
    println!("{}: {} hits, one server of ten after the other", fault.name(), rounds.rounds);
    println!("  {answered} calls answered; {failed} failed, each in flight on what was hit");
    println!("  none was placed on what was known not to answer, none waited for a connection");
    println!("  {intervals} times without an event: turns even but for {uneven_calls:.1} calls,");
    println!("  {uneven_percent:.3} % in the worst of {judged} with 1000 calls a server and more");
    let [half, most, all] = took;
    println!("  answered within {half} us (p50), {most} us (p99), {all} us (all)");
    Ok(())
}

/// Accepts connections, as the system does for whoever listens, and nothing else.
fn say_nothing(addr: &str) -> Outcome {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let stdin = std::io::stdin();
    // Until whoever started it ends.
    stdin.lock().lines().for_each(drop);
    Ok(())
}

/// What it is told by whoever started it.
struct Told {
    /// Whether to feel well.
    is_well: watch::Sender<bool>,
    health: Health,
    silence: words::UnboundedReceiver<()>,
    /// Ends a silence.
    speak: mpsc::Receiver<()>,
}

impl Told {
    fn start(health: &Health) -> Told {
        let (tell, speak) = mpsc::channel::<()>();
        let (hush, silence) = words::unbounded_channel();
        let (is_well, _) = watch::channel(true);
        let told = Told { is_well: is_well.clone(), health: health.clone(), silence, speak };
        let health = health.clone();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                match line.as_deref() {
                    Ok("silence") => drop(hush.send(())),
                    Ok("speak") => drop(tell.send(())),
                    Ok("sick") => {
                        health.set_not_serving("");
                        is_well.send_replace(false);
                    }
                    Ok("well") => {
                        is_well.send_replace(true);
                        health.set_serving("");
                    }
                    _ => break,
                }
            }
            // Its input has ended: so has whoever started it.
            std::process::exit(0);
        });
        told
    }
}

fn serve(addr: &str, behaviour: Behaviour) -> Outcome {
    let Told { is_well, health, mut silence, speak } = Told::start(&Health::new());
    plain::runtime(0)?.block_on(async {
        let listener = Listener::tcp(addr)?;
        let addr = listener.local_addr().ok_or("no address")?;
        println!("listening on {addr}");
        std::io::stdout().flush()?;
        tokio::spawn(async move {
            while silence.recv().await.is_some() {
                // The one thread of this runtime waits here, as a process does that hangs: the
                // system goes on accepting connections for it.
                if speak.recv().is_err() {
                    return;
                }
            }
        });
        let named = Named { name: addr.to_string(), is_well: is_well.subscribe() };
        let server = Server::new().add(GrpctestServer::new(named)).add(health.server());
        let server = match behaviour {
            Behaviour::HidesHealth => server.intercept(hide_health),
            _ => server,
        };
        server.serve(listener).await?;
        Ok(())
    })
}

/// Questions for health are never answered.
async fn hide_health(call: Incoming, next: Next) -> gannet::Result<Handled> {
    if call.method().path.starts_with("/grpc.health.v1.Health/") {
        std::future::pending::<()>().await;
    }
    next.run(call).await
}
