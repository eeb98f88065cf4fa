//! TLS with the tools and libraries that users have: OpenSSL, curl, grpcio, and our own client.
//!
//! A scene is one meeting with a server that runs: who calls, and what both sides say of it. What
//! is said is compared, too, as it is what somebody has to mend the fault by.

pub(super) mod files;
mod openssl;
mod scenes;

use std::process::Command;
use std::time::Duration;

use super::peers;
use super::plan::{Peer, Program, Tls};
use super::process::{self, Server};
use super::setup::Tools;
use crate::exec::{self, Result};
use openssl::Talk;
pub(super) use scenes::SCENES;

/// How often a server under TLS looks at its files, if it can.
pub(super) const RELOAD: Duration = Duration::from_millis(1);

/// One meeting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) client: Client,
    /// What the client takes: see [`words`].
    flags: &'static [&'static str],
    /// What it prints.
    told: &'static [&'static str],
    /// What the server prints; nothing where this is empty.
    server_told: &'static str,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A peer's echo program, with this case.
    Program(Peer, &'static str),
    /// curl, which ends with this exit code.
    Curl(i32),
    Openssl(Talk),
}

impl Client {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Program(peer, _) => peer.name(),
            Self::Curl(_) => "curl",
            Self::Openssl(_) => "openssl",
        }
    }

    /// Whose echo program it is.
    pub(super) fn program(self) -> Option<Peer> {
        match self {
            Self::Program(peer, _) => Some(peer),
            Self::Curl(_) | Self::Openssl(_) => None,
        }
    }
}

/// Plays one scene.
pub(super) fn run(scene: &Scene, tools: &Tools, server: &Server, limit: Duration) -> Result {
    server.forget_output();
    let port = server.port();
    let output = match scene.client {
        Client::Openssl(talk) => openssl::run(talk, scene.flags, tools, port, limit)?,
        Client::Program(peer, case) => {
            let whose = (peer, Program::Echo, false);
            let mut command = peers::client(tools, whose, ("127.0.0.1", port), case);
            words(&mut command, scene.flags, tools, port);
            process::run(command, limit)?.success()?
        }
        Client::Curl(code) => {
            // That it is HTTP/2 is for the flags to say.
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error"]);
            words(&mut command, scene.flags, tools, port);
            let shown = exec::show(&command);
            let ended = process::run(command, limit)?;
            if ended.status.code() != Some(code) {
                return Err(format!("`{shown}`: {}\n{}", ended.status, ended.output));
            }
            ended.output
        }
    };
    for text in scene.told {
        if !output.contains(text) {
            return Err(format!("no `{text}` in:\n{output}"));
        }
    }
    server.says(scene.server_told, limit)
}

/// Gives `command` its words. `@NAME` is a file of certificates, `VARIABLE=@NAME` the same for the
/// environment, and `PORT` in a word the server's port.
fn words(command: &mut Command, words: &[&str], tools: &Tools, port: u16) {
    for word in words {
        match word.split_once('@').filter(|(before, _)| before.is_empty() || before.ends_with('='))
        {
            Some(("", file)) => command.arg(tools.tls().join(file)),
            Some((variable, file)) => {
                command.env(variable.trim_end_matches('='), tools.tls().join(file))
            }
            None => command.arg(word.replace("PORT", &port.to_string())),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_files_variables_and_the_port() {
        let mut command = Command::new("x");
        words(&mut command, &["--a", "@b.pem", "C=@d.pem", "h:PORT"], &Tools::nowhere(), 7);
        assert_eq!(exec::show(&command), "x --a no/such/folder/tls/b.pem h:7");
        let (name, value) = command.get_envs().next().unwrap();
        assert_eq!((name, value), ("C".as_ref(), Some("no/such/folder/tls/d.pem".as_ref())));
    }

    /// A scene that compares nothing could not fail.
    #[test]
    fn whoever_is_refused_is_told_so() {
        for scene in SCENES.iter().flat_map(|(_, _, scenes)| *scenes) {
            let is_judged = match scene.client {
                Client::Program(_, case) => case != "unavailable",
                Client::Curl(_) | Client::Openssl(_) => false,
            };
            assert!(is_judged || !scene.told.is_empty(), "{scene:?}");
        }
    }
}
