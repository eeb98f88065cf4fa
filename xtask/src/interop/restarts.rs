//! Our server, replaced twenty times under the load of another language's client, each time by the
//! next process on its port: SIGTERM drains it, and no call that it has accepted is lost. Both
//! sides count.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Note;
use super::peers;
use super::plan::Peer;
use super::process::{self, Ready, Server};
use super::setup::Tools;
use crate::exec::{self, Result};

const RESTARTS: usize = 20;
/// How long each server serves alone.
const REIGN: Duration = Duration::from_millis(200);
/// Calls that make a load.
const CALLS_MIN: u64 = 2_000;

/// What became of a server's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    started: u64,
    finished: u64,
    cut_short: u64,
}

/// Replaces the servers; `limit` is for each step.
pub(super) fn run(tools: &Tools, client: Peer, limit: Duration) -> Result<Note> {
    let mut reigning = Server::start(|port| server(tools, port), Ready::Says, limit)?;
    let port = reigning.port();
    let mut load = Load::start(tools, client, port)?;
    let mut calls = Calls::default();
    for _ in 0..RESTARTS {
        thread::sleep(REIGN);
        let next = Server::start(|_| server(tools, port), Ready::Says, limit)?;
        let old = std::mem::replace(&mut reigning, next);
        calls.add(drain(old, limit)?);
    }
    thread::sleep(REIGN);
    let answered = load.finish(limit)?;
    calls.add(drain(reigning, limit)?);
    let all = Calls { started: answered, finished: answered, cut_short: 0 };
    match (calls == all, answered >= CALLS_MIN) {
        (true, true) => Ok(format!("{answered} calls")),
        (true, false) => Err(format!("{answered} calls are no load")),
        (false, _) => Err(format!("the client had {answered} answers, the servers {calls:?}")),
    }
}

fn server(tools: &Tools, port: u16) -> Command {
    let mut command = Command::new(tools.gannet.join("restarted-server"));
    command.arg("--addr").arg(format!("{}:{port}", Ipv4Addr::LOCALHOST));
    command
}

/// Ends it by SIGTERM; what became of its calls.
fn drain(mut server: Server, limit: Duration) -> Result<Calls> {
    let pid = server.pid().to_string();
    exec::run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]))?;
    let ended = server.wait(limit)?;
    let told = server.line("started ", limit)?;
    if !ended.success() {
        return Err(format!("the server ended with {ended}: {told}"));
    }
    let numbers = told.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
    let [started, finished, cut_short] = numbers[..] else {
        return Err(format!("the server told `{told}`"));
    };
    Ok(Calls { started, finished, cut_short })
}

impl Calls {
    fn add(&mut self, more: Calls) {
        self.started += more.started;
        self.finished += more.finished;
        self.cut_short += more.cut_short;
    }
}

/// The client, killed when this is dropped.
struct Load(Child);

impl Load {
    fn start(tools: &Tools, client: Peer, port: u16) -> Result<Load> {
        let mut command = match client {
            Peer::Go => Command::new(tools.go_programs().join("restarts_client")),
            _ => peers::python(tools, "restarts_client.py"),
        };
        command.arg("--addr").arg(format!("{}:{port}", Ipv4Addr::LOCALHOST));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = exec::show(&command);
        let child = command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
        Ok(Load(child))
    }

    /// Has it stop; how many calls were answered.
    fn finish(&mut self, limit: Duration) -> Result<u64> {
        // It goes on until its input ends. One that has ended by itself has told why.
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.flush();
        }
        let status = process::wait(&mut self.0, limit)?;
        let read = |pipe: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            // What was read before an error is still worth showing.
            let _ = pipe.map(|pipe| pipe.read_to_string(&mut text));
            text
        };
        let told = read(self.0.stdout.as_mut().map(|pipe| pipe as _));
        let failures = read(self.0.stderr.as_mut().map(|pipe| pipe as _));
        let answered = told.strip_prefix("answered ").and_then(|told| told.trim().parse().ok());
        match (status, answered) {
            (Some(status), Some(answered)) if status.success() => Ok(answered),
            (status, _) => Err(format!("the client ended with {status:?}: {told}{failures}")),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        process::kill(&mut self.0);
    }
}
