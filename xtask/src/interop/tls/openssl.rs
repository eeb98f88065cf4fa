//! `openssl s_client` against a server: it shows what a handshake agreed on, and behind it says the
//! first words of HTTP/2 and waits for the answer.

use std::process::Command;
use std::time::Duration;

use super::{RELOAD, files, words};
use crate::exec::Result;
use crate::interop::dialogue::Dialogue;
use crate::interop::setup::Tools;

/// What is done by s_client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Talk {
    /// The server answers over HTTP/2.
    Answered,
    /// It ends the connection.
    Refused,
    /// It answers, and answers one who comes back with the session of before.
    Resumed,
    /// It answers, gets another certificate, shows that to the next, and still answers the first.
    Replaced,
}

/// The preface, and empty SETTINGS.
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Talks, and returns what s_client printed.
pub(super) fn run(
    talk: Talk,
    flags: &[&str],
    tools: &Tools,
    port: u16,
    limit: Duration,
) -> Result<String> {
    let start = |more: &[&str]| Dialogue::start(client(tools, port, flags, more));
    match talk {
        Talk::Answered => answered(start(&[])?, limit),
        Talk::Refused => {
            let ended = start(&[])?.end(limit)?;
            if ended.status.success() {
                return Err(format!("s_client found nothing wrong:\n{}", ended.output));
            }
            Ok(ended.output)
        }
        Talk::Resumed => {
            let session = tools.scratch("session.pem").display().to_string();
            let first = answered(start(&["-sess_out", &session])?, limit)?;
            if !first.contains("New, ") {
                return Err(format!("the first session is not new:\n{first}"));
            }
            answered(start(&["-sess_in", &session])?, limit)
        }
        Talk::Replaced => {
            let old = start(&[])?;
            let kept = files::read(tools, files::SERVER)?;
            let outcome = replaced(old, || start(&[]), tools, limit);
            files::write(tools, files::SERVER, &kept)?;
            outcome
        }
    }
}

fn replaced(
    mut old: Dialogue,
    start: impl Fn() -> Result<Dialogue>,
    tools: &Tools,
    limit: Duration,
) -> Result<String> {
    old.say(START)?;
    ping(&mut old, "before..", limit)?;
    files::write(tools, files::SERVER, &files::read(tools, files::SERVER_ANEW)?)?;
    // Then the server looks at its files again.
    std::thread::sleep(RELOAD * 10);
    let new = answered(start()?, limit)?;
    ping(&mut old, "after...", limit)?;
    let old = old.finish(limit)?.success()?;
    let subject = "subject=CN = server\n";
    if !old.contains(subject) || new.contains(subject) {
        return Err(format!("first:\n{old}\nthen:\n{new}"));
    }
    Ok(new)
}

/// Wants an answer to a PING over HTTP/2.
fn answered(mut client: Dialogue, limit: Duration) -> Result<String> {
    client.say(START)?;
    ping(&mut client, "how now?", limit)?;
    client.finish(limit)?.success()
}

/// The server sends the eight bytes of a PING back.
fn ping(client: &mut Dialogue, bytes: &str, limit: Duration) -> Result {
    client.say(&[b"\0\0\x08\x06\0\0\0\0\0", bytes.as_bytes()].concat())?;
    client.hear(bytes, limit)
}

fn client(tools: &Tools, port: u16, flags: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    command.args(["-servername", "svc.example", "-verify_return_error"]);
    command.args(["-verify_hostname", "svc.example", "-CAfile"]);
    command.arg(tools.tls().join(files::AUTHORITY)).args(more);
    words(&mut command, flags, tools, port);
    command
}
