//! `cargo xtask interop`: proof by others.
//!
//! Programs in Python (grpcio, the C core) and Go (grpc-go), written as their users write them,
//! call Gannet and are called by it, and so do gRPC's official interop programs of five peers;
//! protocol suites and plain HTTP tools test its server, and all of them, with OpenSSL, its TLS.
//! interop/README.md says what each case does and how to add a language. Everything is installed
//! and built under `target/interop`; servers listen on 127.0.0.1 and are ended by their id.

mod dialogue;
mod http;
mod manifest;
mod matrix;
mod official;
mod peers;
mod plan;
mod process;
mod restarts;
mod services;
mod setup;
pub(crate) mod soak;
mod suites;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::exec::Result;
use plan::{Check, Extent, Group, Tls, What};
use process::Server;
use setup::Tools;

/// Flags of `cargo xtask interop`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only checks whose name (`client->server/case`) contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only the other languages among themselves: proves the harness, not Gannet. Suites run
    /// against Go, and only have to finish.
    #[arg(long)]
    peers_only: bool,
    /// Leaves out the other languages among themselves.
    #[arg(long, conflicts_with = "peers_only")]
    quick: bool,
    /// The official cases with grpc-java, grpc-js, gRPC C++ and Python, too; without --only and
    /// --peers-only it writes interop/MATRIX.md anew.
    #[arg(long, conflicts_with = "quick")]
    all: bool,
    /// Prints the names of the checks and runs nothing.
    #[arg(long)]
    list: bool,
}

/// How a check that passed went: most have nothing to add, suites have a score.
type Note = String;

/// Time for a server to start, in seconds.
const START_SECONDS_MAX: u64 = 20;

/// Installs what is missing, runs the checks, prints a table; any failure is an error.
pub(crate) fn run(args: &Args) -> Result {
    let extent = match (args.quick, args.all) {
        (true, _) => Extent::Quick,
        (false, false) => Extent::Usual,
        (false, true) => Extent::All,
    };
    let groups = plan::plan(args.peers_only, extent, args.only.as_deref());
    if groups.is_empty() {
        return Err("no check has such a name; see --list".into());
    }
    if args.list {
        let names = groups.iter().flat_map(|group| &group.checks).map(|check| &check.name);
        names.for_each(|name| println!("{name}"));
        return Ok(());
    }
    let tools = setup::prepare(&groups)?;
    let started = Instant::now();
    let mut tally = Tally::default();
    for group in &groups {
        run_group(group, &tools, &mut tally);
    }
    if args.all && !args.peers_only && args.only.is_none() {
        matrix::write(&tally.results)?;
    }
    tally.finish(started.elapsed())
}

/// The step of `cargo xtask ci`.
pub(crate) fn quick() -> Result {
    run(&Args { quick: true, ..Args::default() })
}

/// Starts the group's server and runs its checks against it, one after the other.
fn run_group(group: &Group, tools: &Tools, tally: &mut Tally) {
    let command = |port| peers::server(tools, group, port);
    let limit = Duration::from_secs(START_SECONDS_MAX);
    let mut server = match Server::start(command, peers::readiness(group.program), limit) {
        Ok(server) => server,
        Err(error) => {
            let missed = format!("the server did not start: {error}");
            for check in &group.checks {
                tally.add(&check.name, Duration::ZERO, Err(missed.clone()));
            }
            return;
        }
    };
    for check in &group.checks {
        let started = Instant::now();
        let mut result = run_check(check, group.tls, &server, tools);
        if let Some(ending) = server.ended() {
            result = Err(format!("the server ended: {ending}"));
        }
        if let Err(error) = &mut result {
            error.push_str(&server.recent_output());
        }
        tally.add(&check.name, started.elapsed(), result);
    }
}

fn run_check(check: &Check, tls: Tls, server: &Server, tools: &Tools) -> Result<Note> {
    match &check.what {
        What::Client { peer, program, case, host } => {
            let whose = (*peer, *program, tls.is_on());
            let command = peers::client(tools, whose, (host, server.port()), case);
            process::run(command, check.limit)?.success().map(|_| Note::new())
        }
        What::Suite { suite, strict } => {
            suites::run((*suite, *strict), tools, (server.port(), tls.is_on()), check.limit)
        }
        What::Http(request) => http::run(*request, tools, (server.port(), tls), check.limit),
        What::Service(whose, asked) => services::run((*whose, asked), tools, server, check.limit),
        What::Restarts(client) => restarts::run(tools, *client, check.limit),
        What::Manifest => manifest::run(tools, check.limit),
        What::Telemetry(what) => telemetry::run(*what, tools, server, check.limit),
        What::Tls(scene) => tls::run(scene, tools, server, check.limit).map(|()| Note::new()),
    }
}

/// Results so far, printed as they come.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    /// By name: whether it passed, and its note.
    results: BTreeMap<String, Option<Note>>,
}

impl Tally {
    fn add(&mut self, name: &str, time: Duration, result: Result<Note>) {
        let seconds = time.as_secs_f64();
        self.results.insert(name.to_string(), result.as_ref().ok().cloned());
        match result {
            Ok(note) => {
                let note = if note.is_empty() { note } else { format!("  {note}") };
                println!("ok      {seconds:>6.2} s  {name}{note}");
                self.passed += 1;
            }
            Err(error) => {
                println!("FAILED  {seconds:>6.2} s  {name}");
                error.lines().for_each(|line| println!("        | {line}"));
                self.failed.push(name.to_string());
            }
        }
    }

    fn finish(self, time: Duration) -> Result {
        let Self { passed, failed, .. } = self;
        let seconds = time.as_secs_f64();
        println!("interop: {passed} passed, {} failed in {seconds:.1} s", failed.len());
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_run() {
        let mut tally = Tally::default();
        tally.add("a->b/c", Duration::ZERO, Ok(Note::new()));
        tally.add("a->b/d", Duration::ZERO, Err("broken\ntwice".into()));
        assert_eq!(tally.finish(Duration::ZERO), Err("failed: a->b/d".into()));
    }

    #[test]
    fn a_server_that_does_not_start_fails_all_its_checks() {
        let groups = plan::plan(true, Extent::Usual, Some("python->python/hello"));
        let mut tally = Tally::default();
        let tools = Tools::nowhere();
        groups.iter().for_each(|group| run_group(group, &tools, &mut tally));
        let checks: usize = groups.iter().map(|group| group.checks.len()).sum();
        assert!(checks > 0);
        assert_eq!((tally.passed, tally.failed.len()), (0, checks));
    }
}
