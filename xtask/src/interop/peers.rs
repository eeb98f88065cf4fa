//! How each peer's programs are called: `--addr HOST:PORT`, and `--case NAME` for clients; the
//! official programs have flags of their own.
//!
//! Every server prints `listening on ADDR` when it is ready, but for the official ones, which say
//! what they like; every client's exit code is its verdict.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use super::plan::{Peer, Program};
use super::process::Ready;
use super::setup::Tools;
use crate::exec;

/// A peer's server that listens on this port of the loopback address.
pub(super) fn server(tools: &Tools, peer: Peer, program: Program, port: u16) -> Command {
    if program == Program::Official {
        let mut command = official(tools, peer, "server");
        command.arg(format!("--port={port}"));
        return command;
    }
    let mut command = match (peer, program) {
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-server")),
        (Peer::Python, Program::Hello) => python(tools, "hello_server.py"),
        (Peer::Python, _) => python(tools, "echo_server.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_server")),
        (Peer::Go, _) => Command::new(tools.go_programs().join("echo_server")),
    };
    command.args(["--addr", &format!("{}:{port}", Ipv4Addr::LOCALHOST)]);
    command
}

/// When a server is ready.
pub(super) fn readiness(program: Program) -> Ready {
    match program {
        Program::Hello | Program::Echo => Ready::Says,
        Program::Official => Ready::Accepts,
    }
}

/// A peer's client for one case.
pub(super) fn client(
    tools: &Tools,
    peer: Peer,
    program: Program,
    (host, port): (&str, u16),
    case: &str,
) -> Command {
    if program == Program::Official {
        let mut command = official(tools, peer, "client");
        command.arg(format!("--server_host={host}")).arg(format!("--server_port={port}"));
        command.arg(format!("--test_case={case}"));
        return command;
    }
    let mut command = match (peer, program) {
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-client")),
        (Peer::Python, Program::Hello) => python(tools, "hello_client.py"),
        (Peer::Python, _) => python(tools, "echo_client.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_client")),
        (Peer::Go, _) => Command::new(tools.go_programs().join("echo_client")),
    };
    command.args(["--addr", &format!("{host}:{port}")]);
    // The others' hello worlds are programs of their own, with nothing to choose.
    if peer == Peer::Gannet || program == Program::Echo {
        command.args(["--case", case]);
    }
    command
}

fn official(tools: &Tools, peer: Peer, program: &str) -> Command {
    match peer {
        Peer::Gannet => Command::new(tools.gannet.join(format!("official-{program}"))),
        Peer::Go => Command::new(tools.official_go().join(program)),
        Peer::Python => unreachable!("the plan has no official programs in Python"),
    }
}

fn python(tools: &Tools, script: &str) -> Command {
    let file: PathBuf = exec::root().join("interop/python").join(script);
    let mut command = Command::new(tools.python());
    command.arg(file).env("PYTHONPATH", tools.python_stubs()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_their_address_and_case() {
        let tools = Tools::nowhere();
        let shown = exec::show(&client(&tools, Peer::Gannet, Program::Hello, ("h", 1), "hello"));
        assert!(shown.ends_with("interop-client --addr h:1 --case hello"), "{shown}");
        let shown = exec::show(&client(&tools, Peer::Go, Program::Hello, ("h", 1), "hello"));
        assert!(shown.ends_with("hello_client --addr h:1"), "{shown}");
        let shown = exec::show(&client(&tools, Peer::Python, Program::Echo, ("h", 1), "bidi"));
        assert!(shown.ends_with("echo_client.py --addr h:1 --case bidi"), "{shown}");
        let shown = exec::show(&client(&tools, Peer::Go, Program::Official, ("h", 1), "soak"));
        let flags = "client --server_host=h --server_port=1 --test_case=soak";
        assert!(shown.ends_with(flags), "{shown}");
    }
}
