//! A server program of the benchmark: it says `listening on ADDR`, and ends when its input does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::exec::{self, Result};

/// What a server may take to start; under callgrind it is slow.
const START_MAX: Duration = Duration::from_secs(30);
/// What it may take to end.
const END_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A server that runs; killed where this value is dropped before [`Serving::end`].
#[derive(Debug)]
pub(super) struct Serving {
    child: Child,
    stdin: Option<ChildStdin>,
    addr: String,
}

impl Serving {
    /// Starts it, and waits until it says where it listens.
    pub(super) fn start(command: Command) -> Result<Serving> {
        Serving::start_saying(command, "listening on ")
    }

    /// As `start`, of a program whose first line begins otherwise.
    pub(super) fn start_saying(mut command: Command, greeting: &str) -> Result<Serving> {
        let shown = exec::show(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
        let stdin = child.stdin.take();
        let lines = child.stdout.take().map(lines_of);
        let mut serving = Serving { child, stdin, addr: String::new() };
        let line = lines.and_then(|lines| lines.recv_timeout(START_MAX).ok()).unwrap_or_default();
        match line.trim_end().strip_prefix(greeting) {
            Some(addr) => serving.addr = addr.to_owned(),
            None => return Err(format!("`{shown}` did not start: it said {line:?}")),
        }
        Ok(serving)
    }

    /// Where it listens: what it said after its greeting.
    pub(super) fn addr(&self) -> &str {
        &self.addr
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its input, and waits until it has ended.
    pub(super) fn end(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        let last = Instant::now() + END_MAX;
        while Instant::now() < last {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(POLL),
                Ok(Some(status)) => return Ok(status),
                Err(error) => return Err(format!("cannot wait: {error}")),
            }
        }
        Err("a server did not end with its input".into())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself: either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line, when it comes; what follows is read and forgotten, so that nothing blocks.
fn lines_of(output: ChildStdout) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        if output.read_line(&mut line).is_ok() {
            let _ = tell.send(line);
        }
        let _ = output.read_to_end(&mut Vec::new());
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::shell;

    #[test]
    fn a_server_says_where_it_listens_and_ends_with_its_input() {
        let serving = Serving::start(shell("echo listening on 127.0.0.1:5; cat")).unwrap();
        assert_eq!(serving.addr(), "127.0.0.1:5");
        assert!(serving.pid() > 0);
        assert!(serving.end().unwrap().success());
        let serving = Serving::start(shell("echo listening on x; cat; exit 3")).unwrap();
        assert_eq!(serving.end().unwrap().code(), Some(3));
    }

    #[test]
    fn a_server_that_says_something_else_did_not_start() {
        let error = Serving::start(shell("echo no port is free")).unwrap_err();
        assert!(error.contains("no port is free"), "{error}");
        assert!(Serving::start(shell("exit 3")).is_err());
    }
}
