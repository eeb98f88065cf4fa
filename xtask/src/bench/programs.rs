//! The programs that are measured, and how each is built. One that cannot be built is named with
//! the reason.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::peers;
use crate::exec::{self, Result};

/// What a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
    /// A server of `POST /hello`.
    Rest,
}

/// How a program takes its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `--addr`, `--threads`.
    Ordinary,
    /// As `Ordinary`, always with `--threads 0`.
    CurrentThread,
    /// The load generator's canned server: no threads, and what to reply.
    Canned,
    /// Raw TCP: it brings its own client.
    Raw,
}

/// A program that is ready to run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) style: Style,
    /// Callgrind can look into it.
    pub(super) is_native: bool,
    /// It knows `--tls-cert` and `--tls-key`.
    pub(super) speaks_tls: bool,
    words: Vec<OsString>,
}

impl Program {
    /// Its first words; flags are added to them.
    pub(super) fn words(&self) -> &[OsString] {
        &self.words
    }
}

/// The name of a program that could not be built, and why.
pub(super) type Missing = (String, String);

/// Programs in Rust: name, role, package of bench/rust, binary, style.
const RUST: &[(&str, Role, &str, &str, Style)] = &[
    ("gannet", Role::Server, "bench-gannet", "gannet-server", Style::Ordinary),
    ("tonic", Role::Server, "bench-tonic", "tonic-server", Style::Ordinary),
    ("tonic-one-thread", Role::Server, "bench-tonic", "tonic-server", Style::CurrentThread),
    ("connectrpc", Role::Server, "bench-connectrpc", "connectrpc-server", Style::Ordinary),
    ("volo", Role::Server, "bench-volo", "volo-server", Style::Ordinary),
    ("hyper-canned", Role::Server, "bench-hyper", "hyper-server", Style::Ordinary),
    ("h2-canned", Role::Server, "bench-h2", "h2-server", Style::Ordinary),
    ("raw-tcp", Role::Server, "bench-raw", "raw-tcp", Style::Raw),
    ("axum", Role::Rest, "bench-axum", "axum-server", Style::Ordinary),
    ("gannet", Role::Client, "bench-gannet", "gannet-client", Style::Ordinary),
    ("tonic", Role::Client, "bench-tonic", "tonic-client", Style::Ordinary),
    ("connectrpc", Role::Client, "bench-connectrpc", "connectrpc-client", Style::Ordinary),
];

/// Servers that speak TLS.
const SPEAK_TLS: [&str; 7] =
    ["gannet", "tonic", "tonic-one-thread", "grpc-cpp", "grpc-go", "grpcio", "grpc-js"];

/// Whether a program has flags for TLS.
pub(super) fn speaks_tls(name: &str, role: Role) -> bool {
    role == Role::Server && SPEAK_TLS.contains(&name)
}

/// The name of the load generator's canned server among the programs.
pub(super) const FLOOR: &str = "canned-floor";

/// Builds the programs of `roles` that `wanted` names (all, where it is empty); those of others
/// that cannot be built are in the second list, with the reason.
///
/// # Errors
/// Where one of our own cannot be built.
pub(super) fn build(roles: &[Role], wanted: &[String]) -> Result<(Vec<Program>, Vec<Missing>)> {
    let is_wanted =
        |name: &str, role| roles.contains(&role) && (wanted.is_empty() || names(wanted, name));
    exec::run(&mut exec::cargo(["build", "--release", "--quiet", "-p", "gannet-load"]))?;
    let mut built = Vec::new();
    let mut missing = Vec::new();
    if is_wanted(FLOOR, Role::Server) {
        let words = vec![release("canned-server").into()];
        built.push(Program {
            name: FLOOR.to_owned(),
            role: Role::Server,
            style: Style::Canned,
            is_native: true,
            speaks_tls: false,
            words,
        });
    }
    // Together, so that they are the same programs whichever are measured; alone, where one of them
    // cannot be built.
    let are_built = rust(&["--workspace"]).is_ok();
    for &(name, role, package, binary, style) in RUST {
        if !is_wanted(name, role) {
            continue;
        }
        match if are_built { Ok(()) } else { rust(&["-p", package]) } {
            Ok(()) => {
                let words = vec![exec::root().join("target/bench/release").join(binary).into()];
                let name = name.to_owned();
                let speaks_tls = speaks_tls(&name, role);
                built.push(Program { name, role, style, is_native: true, speaks_tls, words });
            }
            // What the others are compared with: without it there is nothing to measure.
            Err(error) if name == "gannet" => return Err(format!("{binary}: {error}")),
            Err(error) => missing.push((format!("{name} ({role:?})"), error)),
        }
    }
    for peer in peers::peers() {
        let role = match peer.kind {
            peers::Kind::Server => Role::Server,
            peers::Kind::Client => Role::Client,
            peers::Kind::RestServer => Role::Rest,
        };
        let name = peer.name.trim_end_matches("-client").to_owned();
        if !is_wanted(&name, role) {
            continue;
        }
        let (style, is_native) = (Style::Ordinary, peer.language == "C++");
        match (peer.build)() {
            Ok(words) => {
                let speaks_tls = speaks_tls(&name, role);
                built.push(Program { name, role, style, is_native, speaks_tls, words });
            }
            Err(error) => missing.push((format!("{name} ({role:?})"), error)),
        }
    }
    Ok((built, missing))
}

/// Whether one of the words names it.
fn names(wanted: &[String], name: &str) -> bool {
    wanted.iter().any(|word| word == name)
}

/// A program of the main workspace's release build.
pub(super) fn release(name: &str) -> PathBuf {
    exec::root().join("target/release").join(name)
}

/// Builds packages of bench/.
fn rust(which: &[&str]) -> Result {
    let mut cargo = bench_cargo();
    exec::output(cargo.args(["build", "--release", "--quiet", "--locked"]).args(which)).map(drop)
}

/// `cargo` in bench/, whose target folder is told by its own configuration.
pub(super) fn bench_cargo() -> Command {
    let mut cargo = exec::cargo::<_, &str>([]);
    cargo.current_dir(exec::root().join("bench"));
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_role_are_one_program() {
        for (at, (name, role, ..)) in RUST.iter().enumerate() {
            assert!(RUST[..at].iter().all(|other| (other.0, other.1) != (*name, *role)), "{name}");
        }
    }

    #[test]
    fn names_are_whole() {
        let wanted = ["tonic".to_owned(), "volo".to_owned()];
        assert!(names(&wanted, "tonic") && !names(&wanted, "tonic-one-thread"));
    }
}
