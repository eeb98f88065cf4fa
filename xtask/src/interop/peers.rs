//! How each peer's programs are called: `--addr HOST:PORT`, and `--case NAME` for clients.
//!
//! Every server prints `listening on ADDR` when it is ready; every client's exit code is its
//! verdict.

use std::path::PathBuf;
use std::process::Command;

use super::plan::{Peer, Program};
use super::setup::Tools;
use crate::exec;

/// A peer's server; its address is added when it is started.
pub(super) fn server(tools: &Tools, peer: Peer, program: Program) -> Command {
    match (peer, program) {
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-server")),
        (Peer::Python, Program::Hello) => python(tools, "hello_server.py"),
        (Peer::Python, Program::Echo) => python(tools, "echo_server.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_server")),
        (Peer::Go, Program::Echo) => Command::new(tools.go_programs().join("echo_server")),
    }
}

/// A peer's client for one case.
pub(super) fn client(
    tools: &Tools,
    peer: Peer,
    program: Program,
    addr: &str,
    case: &str,
) -> Command {
    let mut command = match (peer, program) {
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-client")),
        (Peer::Python, Program::Hello) => python(tools, "hello_client.py"),
        (Peer::Python, Program::Echo) => python(tools, "echo_client.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_client")),
        (Peer::Go, Program::Echo) => Command::new(tools.go_programs().join("echo_client")),
    };
    command.args(["--addr", addr]);
    // The others' hello worlds are programs of their own, with nothing to choose.
    if peer == Peer::Gannet || program == Program::Echo {
        command.args(["--case", case]);
    }
    command
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
        let shown = exec::show(&client(&tools, Peer::Gannet, Program::Hello, "h:1", "hello"));
        assert!(shown.ends_with("interop-client --addr h:1 --case hello"), "{shown}");
        let shown = exec::show(&client(&tools, Peer::Go, Program::Hello, "h:1", "hello"));
        assert!(shown.ends_with("hello_client --addr h:1"), "{shown}");
        let shown = exec::show(&client(&tools, Peer::Python, Program::Echo, "h:1", "bidi"));
        assert!(shown.ends_with("echo_client.py --addr h:1 --case bidi"), "{shown}");
    }
}
