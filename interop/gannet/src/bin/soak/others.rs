//! Servers and clients of others: processes of their own, whose programs `cargo xtask soak` knows.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use gannet_interop::check::Outcome;
use gannet_interop::process::Usage;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::server::Ours;
use crate::tally::Tally;
use crate::{Error, RunArgs};

/// What is started, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    name: String,
    command: String,
}

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a client may take for its case.
const CASE_MAX: Duration = Duration::from_secs(120);

/// Cases of `interop/README.md` that others' clients run here: not those that expect to be alone
/// with the server.
const CASES: &[&str] = &[
    "hello",
    "empty_unary",
    "unary",
    "large_unary",
    "client_stream",
    "empty_stream",
    "server_stream",
    "large_stream",
    "bidi",
    "metadata",
    "metadata_on_error",
    "early_headers",
    "status_codes",
    "status_message",
    "status_details",
    "status_on_streams",
    "unimplemented",
    "oversized",
    "concurrent",
    "many_at_once",
    "gzip",
];

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Program, String> {
        let (name, command) = text.split_once('=').ok_or("NAME=COMMAND is wanted")?;
        if command.trim().is_empty() {
            return Err("there is no command".to_owned());
        }
        Ok(Program { name: name.to_owned(), command: command.to_owned() })
    }
}

impl Program {
    /// Its words, with what stands for something replaced.
    fn words(&self, replace: &[(&str, &str)]) -> Vec<String> {
        let replaced = |word: &str| {
            replace.iter().fold(word.to_owned(), |word, (what, by)| word.replace(what, by))
        };
        self.command.split_whitespace().map(replaced).collect()
    }
}

/// A process in a group of its own: what interrupts the soak is not for it.
fn command(words: &[String]) -> Result<Command, Error> {
    let (program, args) = words.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Another server, killed when this value is dropped.
pub(crate) struct Server {
    name: String,
    pid: u32,
    pub(crate) port: u16,
    _child: Child,
}

impl Server {
    pub(crate) async fn start(program: &Program) -> Result<Server, Error> {
        // A port that was free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let words = program.words(&[("{port}", &port.to_string())]);
        let mut child =
            command(&words)?.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let pid = child.id().ok_or_else(|| format!("{} has ended", program.name))?;
        let end = Instant::now() + START_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if Instant::now() > end || child.try_wait()?.is_some() {
                return Err(format!("{} does not accept connections", program.name).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Server { name: program.name.clone(), pid, port, _child: child })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn usage(&self) -> std::io::Result<Usage> {
        Usage::of(self.pid)
    }
}

/// Another client, run again and again.
pub(crate) struct Client {
    program: Program,
    pause: Duration,
    port: String,
    tls_port: String,
    tally: Arc<Tally>,
}

impl Client {
    pub(crate) fn new(program: Program, args: &RunArgs, ours: &Ours, tally: Arc<Tally>) -> Client {
        Client {
            program,
            pause: Duration::from_secs(args.client_pause),
            port: ours.port.to_string(),
            tls_port: ours.tls_port.map(|port| port.to_string()).unwrap_or_default(),
            tally,
        }
    }

    /// Runs it until it is told to stop; what has begun then is ended in good order.
    pub(crate) async fn call(self, mut stopped: watch::Receiver<bool>) {
        for case in CASES.iter().cycle() {
            if timeout(self.pause, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return;
            }
            let outcome = self.run(case).await;
            let Program { name, command } = &self.program;
            let what = if command.contains("{case}") { case } else { "its own" };
            self.tally.add(&format!("{name}->gannet: {what}"), &outcome);
        }
    }

    async fn run(&self, case: &str) -> Outcome {
        let replace = [("{port}", &*self.port), ("{tls}", &self.tls_port), ("{case}", case)];
        let mut command = command(&self.program.words(&replace))?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = timeout(CASE_MAX, command.output()).await??;
        if output.status.success() {
            return Ok(());
        }
        let told = [output.stdout, output.stderr].concat();
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&told)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_their_ports_and_cases() {
        let program: Program = "go=a/client --addr=h:{port}  --case {case}".parse().unwrap();
        let words = program.words(&[("{port}", "7"), ("{case}", "bidi")]);
        assert_eq!(words, ["a/client", "--addr=h:7", "--case", "bidi"]);
        assert!("go".parse::<Program>().is_err() && "go= ".parse::<Program>().is_err());
    }
}
