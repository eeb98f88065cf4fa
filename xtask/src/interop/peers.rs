//! How each peer's programs are called: `--addr HOST:PORT`, and `--case NAME` for clients; the
//! official programs' flags are in [`super::official`].
//!
//! Every server prints `listening on ADDR` when it is ready, but for the official ones, which say
//! what they like; every client's exit code is its verdict.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::official;
use super::plan::{Group, Peer, Program, Tls};
use super::process::{Ready, Server};
use super::setup::Tools;
use super::tls;
use crate::exec::{self, Result};

/// The group's server, on this port of the loopback address.
pub(super) fn server(tools: &Tools, group: &Group, port: u16) -> Command {
    let mut command = match (group.server, group.program) {
        (peer, Program::Official) => return official::server(tools, peer, group.tls.is_on(), port),
        (_, Program::Greeter) => return greeter(tools, port),
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-server")),
        (Peer::Python, Program::Hello) => python(tools, "hello_server.py"),
        (Peer::Python, _) => python(tools, "echo_server.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_server")),
        (Peer::Go, _) => Command::new(tools.go_programs().join("echo_server")),
        (Peer::Java | Peer::Node | Peer::Cpp, _) => unreachable!("{ONLY_OFFICIAL}"),
    };
    command.args(["--addr", &format!("{}:{port}", Ipv4Addr::LOCALHOST)]);
    if group.program == Program::Aging {
        command.args(AGING_FLAGS);
    }
    if group.tls.is_on() {
        let (chain, key) = tls::files::SERVER;
        command.arg("--tls-cert-file").arg(tools.tls().join(chain));
        command.arg("--tls-key-file").arg(tools.tls().join(key));
    }
    if group.tls == Tls::Mutual {
        command.arg("--tls-client-ca-file").arg(tools.tls().join(tls::files::AUTHORITY));
    }
    // grpcio has neither.
    if group.server == Peer::Gannet && group.tls.is_on() {
        command.args(["--tls-reload-ms", &tls::RELOAD.as_millis().to_string()]);
        if group.tls == Tls::Mutual {
            command.arg("--tls-client-crl-file").arg(tools.tls().join(tls::files::REVOCATIONS));
        }
    }
    command
}

/// A replica of the greeter, with ports for probes and metrics that it tells.
pub(super) fn greeter(tools: &Tools, port: u16) -> Command {
    greeter_named("replica", tools, port)
}

pub(super) fn greeter_named(name: &str, tools: &Tools, port: u16) -> Command {
    let mut command = Command::new(tools.greeter());
    command.args(["serve", "--name", name, "--probes=127.0.0.1:0", "--metrics=127.0.0.1:0"]);
    command.arg(format!("--listen={}:{port}", Ipv4Addr::LOCALHOST));
    command.arg("--keys").arg(tools.greeter_keys());
    command
}

/// Where a replica listens for this.
pub(super) fn greeter_address(replica: &Server, what: &str, limit: Duration) -> Result<String> {
    let end = format!(" for {what}");
    replica.says(&end, limit)?;
    let lines = replica.lines("listening on ");
    let address =
        lines.iter().find_map(|line| line.strip_prefix("listening on ")?.strip_suffix(&end));
    address.map(str::to_owned).ok_or_else(|| format!("no address{end} in {lines:?}"))
}

/// So short that many connections end while one case runs; calls but one are over before the grace
/// is.
const AGING_FLAGS: &[&str] = &[
    "--max-connection-age-ms=200",
    "--max-connection-age-grace-ms=3000",
    "--max-connection-idle-ms=60",
];

const ONLY_OFFICIAL: &str = "the plan has only the official programs of this peer";

/// When a server is ready.
pub(super) fn readiness(program: Program) -> Ready {
    match program {
        Program::Hello | Program::Echo | Program::Aging | Program::Greeter => Ready::Says,
        Program::Official => Ready::Accepts,
    }
}

/// A peer's client for one case.
pub(super) fn client(
    tools: &Tools,
    (peer, program, tls): (Peer, Program, bool),
    (host, port): (&str, u16),
    case: &str,
) -> Command {
    let mut command = match (peer, program) {
        (_, Program::Official) => return official::client(tools, peer, tls, (host, port), case),
        (Peer::Gannet, _) => Command::new(tools.gannet.join("interop-client")),
        (Peer::Python, Program::Hello) => python(tools, "hello_client.py"),
        (Peer::Python, _) => python(tools, "echo_client.py"),
        (Peer::Go, Program::Hello) => Command::new(tools.go_programs().join("hello_client")),
        (Peer::Go, _) => Command::new(tools.go_programs().join("echo_client")),
        (Peer::Java | Peer::Node | Peer::Cpp, _) => unreachable!("{ONLY_OFFICIAL}"),
    };
    command.args(["--addr", &format!("{host}:{port}")]);
    // The others' hello worlds are programs of their own, with nothing to choose.
    if peer == Peer::Gannet || program == Program::Echo {
        command.args(["--case", case]);
    }
    command
}

pub(super) fn python(tools: &Tools, script: &str) -> Command {
    let file: PathBuf = exec::root().join("interop/python").join(script);
    let mut command = Command::new(tools.python());
    command.arg(file).env("PYTHONPATH", tools.python_stubs()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_whose_connections_end_soon_are_told_so() {
        let tools = Tools::nowhere();
        for peer in [Peer::Gannet, Peer::Go, Peer::Python] {
            for program in [Program::Echo, Program::Aging] {
                let group = Group { server: peer, program, tls: Tls::Off, checks: Vec::new() };
                let shown = exec::show(&server(&tools, &group, 1));
                assert_eq!(shown.contains("age-grace-ms"), program == Program::Aging, "{shown}");
            }
        }
    }

    #[test]
    fn clients_get_their_address_and_case() {
        let tools = Tools::nowhere();
        let client = |peer, program, case| {
            exec::show(&client(&tools, (peer, program, false), ("h", 1), case))
        };
        let shown = client(Peer::Gannet, Program::Hello, "hello");
        assert!(shown.ends_with("interop-client --addr h:1 --case hello"), "{shown}");
        let shown = client(Peer::Go, Program::Hello, "hello");
        assert!(shown.ends_with("hello_client --addr h:1"), "{shown}");
        let shown = client(Peer::Python, Program::Echo, "bidi");
        assert!(shown.ends_with("echo_client.py --addr h:1 --case bidi"), "{shown}");
        let shown = client(Peer::Go, Program::Official, "soak");
        assert!(shown.contains("client --server_host=h --server_port=1"), "{shown}");
    }
}
