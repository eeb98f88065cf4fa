//! One server's process.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::{Behaviour, Made};

/// Killed when it is dropped.
pub(super) struct Process {
    pub(super) addr: SocketAddr,
    child: Child,
    input: ChildStdin,
}

impl Process {
    pub(super) fn start(program: &Path, addr: &str, behaviour: Behaviour) -> Made<Process> {
        let mut command = Command::new(program);
        command.args(["serve", "--addr", addr, "--behaviour", behaviour.name()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line.trim_end().strip_prefix("listening on ").ok_or("it does not listen")?;
        Ok(Process { addr: addr.parse()?, child, input })
    }

    pub(super) fn tell(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.input, "{word}")
    }

    /// By SIGKILL.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}
