//! Child processes: a program with a time limit, and a server that is ended with its value.
//!
//! Processes are ended by their own handle, never by name.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::exec::{self, Result};

/// How often a running program is looked at.
pub(super) const POLL: Duration = Duration::from_millis(5);
/// How much of a program's output a failure shows, in lines.
const SHOWN_LINES_MAX: usize = 30;
/// How much of a server's output is kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What a program that ended by itself left behind.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Standard output, then standard error.
    pub(super) output: String,
}

impl Ended {
    /// The output of a program that succeeded.
    pub(super) fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.output);
        }
        Err(format!("{}\n{}", self.status, last_lines(&self.output)))
    }
}

/// Runs `command` to its end; one that takes longer than `limit` is killed, an error.
pub(super) fn run(mut command: Command, limit: Duration) -> Result<Ended> {
    let shown = exec::show(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = wait(&mut child, limit);
    let output = [out, err].map(|thread| thread.join().unwrap_or_default()).concat();
    match status? {
        Some(status) => Ok(Ended { status, output }),
        None => Err(format!(
            "`{shown}` was not done after {} s\n{}",
            limit.as_secs(),
            last_lines(&output)
        )),
    }
}

/// Waits for the end; at the limit kills the child and returns `None`.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        let status = child.try_wait().map_err(|error| format!("cannot wait: {error}"))?;
        if status.is_some() {
            return Ok(status);
        }
        if Instant::now() >= end {
            kill(child);
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

pub(super) fn kill(child: &mut Child) {
    // It may have ended by itself in the meantime: either way it is reaped.
    let _ = child.kill();
    let _ = child.wait();
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
}

/// When a server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It says `listening on`.
    Says,
    /// It accepts connections.
    Accepts,
}

/// A server process, killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    port: u16,
    output: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the command for a free port, and waits until it is ready.
    pub(super) fn start(
        command: impl FnOnce(u16) -> Command,
        readiness: Ready,
        limit: Duration,
    ) -> Result<Self> {
        let port = free_port()?;
        let mut command = command(port);
        let shown = exec::show(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
        let output = Arc::new(Mutex::new(String::new()));
        let (ready, is_ready) = mpsc::channel();
        follow(child.stdout.take(), Arc::clone(&output), ready.clone());
        follow(child.stderr.take(), Arc::clone(&output), ready);
        let mut server = Self { child, port, output };
        let ready = match readiness {
            Ready::Says => server.wait_ready(&is_ready, limit),
            Ready::Accepts => server.wait_accepts(limit),
        };
        ready.map_err(|error| format!("`{shown}`: {error}"))?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which something else brings about.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = wait(&mut self.child, limit)?;
        ended.ok_or_else(|| format!("it did not end{}", self.recent_output()))
    }

    /// Ends it by SIGTERM; it must end in good order.
    pub(super) fn end(mut self, limit: Duration) -> Result {
        let pid = self.pid().to_string();
        exec::run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]))?;
        let ended = self.wait(limit)?;
        if ended.success() { Ok(()) } else { Err(format!("{ended}{}", self.recent_output())) }
    }

    /// The first line that begins so, once it was printed.
    pub(super) fn line(&self, start: &str, limit: Duration) -> Result<String> {
        self.says(start, limit)?;
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let line = output.lines().find(|line| line.starts_with(start));
        line.map(str::to_owned).ok_or_else(|| format!("no line begins with `{start}`"))
    }

    /// All lines so far that begin so, of what is kept.
    pub(super) fn lines(&self, start: &str) -> Vec<String> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    /// How the process ended, where it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What the server printed last, for the report of a failure.
    pub(super) fn recent_output(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        format!("\nthe server printed:\n{}", last_lines(&output))
    }

    /// Forgets what the server has printed so far.
    pub(super) fn forget_output(&self) {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until the server has printed this.
    pub(super) fn says(&self, text: &str, limit: Duration) -> Result {
        let end = Instant::now() + limit;
        loop {
            if self.output.lock().unwrap_or_else(PoisonError::into_inner).contains(text) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("the server did not print `{text}`"));
            }
            thread::sleep(POLL);
        }
    }

    fn wait_accepts(&mut self, limit: Duration) -> Result {
        let end = Instant::now() + limit;
        while Instant::now() < end && self.ended().is_none() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(format!("never accepted a connection{}", self.recent_output()))
    }

    fn wait_ready(&mut self, ready: &Receiver<()>, limit: Duration) -> Result {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            match ready.recv_timeout(POLL) {
                Ok(()) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Both pipes are closed: it is ending.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let ending = wait(&mut self.child, POLL)?;
        let how = ending.map_or("still running".to_string(), |status| status.to_string());
        Err(format!("never said `listening on`; {how}{}", self.recent_output()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Keeps what a server prints, and says when it is ready.
fn follow(pipe: Option<impl Read + Send + 'static>, output: Arc<Mutex<String>>, ready: Sender<()>) {
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line);
            keep(&output, &line);
            if line.starts_with("listening on ") {
                // Nobody waits any more once the server is up.
                let _ = ready.send(());
            }
        }
    });
}

/// Appends a line; what is kept stays bounded.
fn keep(output: &Mutex<String>, line: &str) {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    if output.len() > KEPT_BYTES_MAX {
        output.clear();
    }
    output.push_str(line);
    output.push('\n');
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::shell;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_program_that_fails_shows_what_it_printed() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), 20 * SECOND).unwrap();
        let error = ended.success().unwrap_err();
        assert!(error.contains("out") && error.contains("err") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_limit() {
        let started = Instant::now();
        let error = run(shell("echo begun; exec sleep 60"), SECOND / 5).unwrap_err();
        assert!(error.contains("begun"), "{error}");
        assert!(started.elapsed() < 20 * SECOND);
    }

    #[test]
    fn a_server_is_ready_when_it_says_so_and_ends_with_its_value() {
        let script = |port| format!("echo warming up; echo listening on {port}; exec sleep 60");
        let command = |port| shell(&script(port));
        let mut server = Server::start(command, Ready::Says, 20 * SECOND).unwrap();
        assert_eq!(server.ended(), None);
        assert!(server.recent_output().contains(&format!("listening on {}", server.port())));
        server.says("warming up", SECOND).unwrap();
        assert_eq!(server.lines("warm"), ["warming up"]);
        server.forget_output();
        assert!(server.says("warming up", SECOND / 50).is_err());
    }

    #[test]
    fn a_server_that_says_nothing_is_ready_when_it_accepts() {
        let mut listening = None;
        let command = |port| {
            listening = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
            shell("exec sleep 60")
        };
        let mut server = Server::start(command, Ready::Accepts, 20 * SECOND).unwrap();
        assert_eq!(server.ended(), None);
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_is_an_error() {
        for readiness in [Ready::Says, Ready::Accepts] {
            let command = |_| shell("echo no luck >&2; exit 7");
            let error = Server::start(command, readiness, 20 * SECOND).unwrap_err();
            assert!(error.contains("no luck"), "{error}");
        }
    }
}
