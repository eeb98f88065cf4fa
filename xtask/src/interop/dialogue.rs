//! A program that is talked to: what it prints is waited for, and then more is said.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::process::{Ended, POLL, kill, last_lines, wait};
use crate::exec::{self, Result};

/// The program, killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    shown: String,
}

impl Dialogue {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let shown = exec::show(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
        let output = Arc::default();
        let readers = vec![
            keep(child.stdout.take(), Arc::clone(&output)),
            keep(child.stderr.take(), Arc::clone(&output)),
        ];
        Ok(Self { input: child.stdin.take(), child, output, readers, shown })
    }

    /// Writes into the program's standard input.
    pub(super) fn say(&mut self, bytes: &[u8]) -> Result {
        let Some(input) = &mut self.input else { return Err("the input is closed".into()) };
        let said = input.write_all(bytes).and_then(|()| input.flush());
        said.map_err(|error| format!("`{}` does not listen: {error}\n{}", self.shown, self.told()))
    }

    /// Waits until the program has printed this, on either output.
    pub(super) fn hear(&mut self, text: &str, limit: Duration) -> Result {
        let end = Instant::now() + limit;
        while !self.told().contains(text) {
            // What it printed last may be read after its end is seen.
            let has_ended = self.readers.iter().all(JoinHandle::is_finished);
            if has_ended && !self.told().contains(text) || Instant::now() >= end {
                let told = last_lines(&self.told());
                return Err(format!("`{}` did not print `{text}`\n{told}", self.shown));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Closes the program's input, and waits for the end.
    pub(super) fn finish(mut self, limit: Duration) -> Result<Ended> {
        self.input = None;
        self.end(limit)
    }

    /// Waits until the program ends by itself, its input still open.
    pub(super) fn end(mut self, limit: Duration) -> Result<Ended> {
        let status = wait(&mut self.child, limit)?;
        for reader in self.readers.drain(..) {
            // It ends with the program and cannot panic.
            let _ = reader.join();
        }
        let output = self.told();
        let late = || {
            let told = last_lines(&output);
            format!("`{}` was not done after {} s\n{told}", self.shown, limit.as_secs())
        };
        Ok(Ended { status: status.ok_or_else(late)?, output })
    }

    fn told(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Keeps what is printed, to its end; these programs print little.
fn keep(pipe: Option<impl Read + Send + 'static>, output: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut piece = [0; 1 << 12];
        while let Ok(n @ 1..) = pipe.read(&mut piece) {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.extend_from_slice(&piece[..n]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Dialogue {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Dialogue::start(command).unwrap()
    }

    #[test]
    fn what_is_said_is_answered() {
        let mut cat = shell("echo ready >&2; exec cat");
        cat.hear("ready", LIMIT).unwrap();
        cat.say(b"one").unwrap();
        cat.hear("one", LIMIT).unwrap();
        cat.say(b"two").unwrap();
        let ended = cat.finish(LIMIT).unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.output, "ready\nonetwo");
    }

    #[test]
    fn what_is_never_printed_is_an_error_with_what_was() {
        let error = shell("echo other").hear("text", LIMIT).unwrap_err();
        assert!(error.contains("did not print `text`") && error.contains("other"), "{error}");
        let error = shell("echo begun; exec sleep 60").end(LIMIT / 50).unwrap_err();
        assert!(error.contains("was not done"), "{error}");
    }
}
