//! The peers in other languages: how each is built, under `target/bench-peers`, and checked.
//!
//! bench/PEERS.md says what they are. Building again does only what is new.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate;
use super::programs::{self, Role};
use super::serving::Serving;
use crate::exec::{self, Result};
use crate::install::{self, create, with_path};

const PROTOS: &[&str] = &["grpctest.proto", "echo.proto"];
const GO_MODULE: &str = "gannet.invalid/bench";

/// One program.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) language: &'static str,
    pub(crate) kind: Kind,
    /// Builds it; returns the words that start it, to which its flags are added.
    pub(crate) build: fn() -> Result<Vec<OsString>>,
}

/// What a program is, and so which flags it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Client,
    RestServer,
}

/// All of them.
pub(crate) fn peers() -> &'static [Peer] {
    PEERS
}

const fn peer(
    name: &'static str,
    language: &'static str,
    kind: Kind,
    build: fn() -> Result<Vec<OsString>>,
) -> Peer {
    Peer { name, language, kind, build }
}

const PEERS: &[Peer] = &[
    peer("grpc-cpp", "C++", Kind::Server, || cpp("cpp-server")),
    peer("grpc-go", "Go", Kind::Server, || go("go-server")),
    peer("grpcio", "Python", Kind::Server, || python("grpc_server.py")),
    peer("grpcio-aio", "Python", Kind::Server, || python("aio_server.py")),
    peer("grpc-js", "Node", Kind::Server, node),
    peer("fastapi", "Python", Kind::RestServer, || python("rest_server.py")),
    peer("grpc-cpp-client", "C++", Kind::Client, || cpp("cpp-client")),
    peer("grpc-go-client", "Go", Kind::Client, || go("go-client")),
];

/// Builds the peers whose name contains `only`, and checks each; clients call the first server.
pub(crate) fn build_and_check(only: Option<&str>) -> Result {
    let mut wrong = Vec::new();
    for peer in peers().iter().filter(|peer| only.is_none_or(|text| peer.name.contains(text))) {
        let Peer { name, language, .. } = peer;
        match check(peer) {
            Ok(()) => println!("ok      {name} ({language})"),
            Err(error) => {
                println!("FAILED  {name} ({language})\n{error}");
                wrong.push(*name);
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("not right: {}", wrong.join(", "))) }
}

/// Builds a peer and sees that it does what bench/python/check.py knows of its kind.
fn check(peer: &Peer) -> Result {
    let words = (peer.build)()?;
    let (kind, server, client) = match peer.kind {
        Kind::Server => ("grpc", words.clone(), Vec::new()),
        Kind::RestServer => ("rest", words.clone(), Vec::new()),
        Kind::Client => ("client", (PEERS[0].build)()?, words.clone()),
    };
    let checker = python("check.py")?;
    let mut server = command(&server);
    server.args(["--addr", "127.0.0.1:0", "--threads", "1"]);
    let server = Serving::start(server)?;
    exec::output(command(&checker).arg(kind).arg(server.addr()).args(client))?;
    ended(server)?;
    if peer.kind == Kind::Server && programs::speaks_tls(peer.name, Role::Server) {
        check_tls(&words, &checker).map_err(|error| format!("over TLS: {error}"))?;
    }
    Ok(())
}

/// As `check`, of a server over TLS.
fn check_tls(words: &[OsString], checker: &[OsString]) -> Result {
    certificate::make()?;
    let mut server = command(words);
    server.args(["--addr", "127.0.0.1:0", "--threads", "1"]);
    server.arg("--tls-cert").arg(certificate::file());
    server.arg("--tls-key").arg(certificate::key_file());
    let server = Serving::start(server)?;
    exec::output(command(checker).arg("grpc").arg(server.addr()).arg(certificate::file()))?;
    ended(server)
}

fn ended(server: Serving) -> Result {
    let status = server.end()?;
    if status.success() { Ok(()) } else { Err(format!("the server ended with {status}")) }
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn home() -> PathBuf {
    exec::root().join("target/bench-peers")
}

fn source(name: &str) -> PathBuf {
    exec::root().join("bench").join(name)
}

fn cpp(program: &str) -> Result<Vec<OsString>> {
    exec::debian(&[
        ("cmake", "cmake"),
        ("g++", "g++"),
        ("pkg-config", "pkg-config"),
        ("protoc", "protobuf-compiler"),
        ("grpc_cpp_plugin", "protobuf-compiler-grpc"),
    ])?;
    let mut library = Command::new("pkg-config");
    if exec::output(library.args(["--exists", "grpc++", "protobuf"])).is_err() {
        exec::debian_install(&["libgrpc++-dev", "libprotobuf-dev"])?;
    }
    let build = home().join("cpp");
    let mut cmake = Command::new("cmake");
    exec::output(cmake.arg("-S").arg(source("cpp")).arg("-B").arg(&build))?;
    let mut cmake = Command::new("cmake");
    exec::output(cmake.arg("--build").arg(&build).args(["--parallel", "2"]))?;
    Ok(vec![build.join(program).into()])
}

/// The scripts with their stubs beside them, and the environment that they run in.
fn python(script: &str) -> Result<Vec<OsString>> {
    let interpreter = python_environment()?;
    let folder = home().join("python");
    install::copy_anew(&source("python"), &folder)?;
    let mut protoc = protoc(&interpreter);
    protoc.arg(with_path("--python_out=", &folder)).arg(with_path("--grpc_python_out=", &folder));
    exec::run(protoc.args(PROTOS))?;
    Ok(vec![interpreter.into(), folder.join(script).into()])
}

fn python_environment() -> Result<PathBuf> {
    let pinned = read(&source("python/requirements.txt"))?;
    create(&home())?;
    let packages: Vec<&str> = pinned.lines().collect();
    Ok(exec::python_packages(&home().join("venv"), &packages)?.join("python"))
}

fn protoc(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(source("proto"));
    command
}

/// The Go module with its generated stubs, copied out of the source tree and built.
fn go(program: &str) -> Result<Vec<OsString>> {
    let (module, programs, bin) =
        (home().join("go"), home().join("go-programs"), home().join("bin"));
    create(&programs)?;
    create(&bin)?;
    install::go_generators(&bin)?;
    install::copy_anew(&source("go"), &module)?;
    let mut protoc = protoc(&python_environment()?);
    protoc.env("PATH", install::path_with(&bin)?);
    for plugin in ["go", "go-grpc"] {
        protoc.arg(with_path(&format!("--{plugin}_out="), &module));
        protoc.arg(format!("--{plugin}_opt=module={GO_MODULE}"));
        for proto in PROTOS {
            let package = proto.trim_end_matches(".proto");
            protoc.arg(format!("--{plugin}_opt=M{proto}={GO_MODULE}/gen/{package}"));
        }
    }
    exec::run(protoc.args(PROTOS))?;
    let mut build = install::go()?;
    build.current_dir(&module).args(["build", "-mod=readonly", "-o"]).arg(&programs);
    exec::run(build.arg("./..."))?;
    Ok(vec![programs.join(program).into()])
}

/// The script, the packages that its lock file names, and the protos, which it reads itself.
fn node() -> Result<Vec<OsString>> {
    let missing = "node and npm are needed on the search path: https://nodejs.org";
    let (node, npm) = (exec::find("node").ok_or(missing)?, exec::find("npm").ok_or(missing)?);
    let folder = home().join("node");
    install::copy_anew(&source("proto"), &home().join("proto"))?;
    install::copy(&source("node"), &folder)?;
    let lock = read(&folder.join("package-lock.json"))?;
    let marker = folder.join("node_modules/.installed");
    if std::fs::read_to_string(&marker).ok().as_ref() != Some(&lock) {
        let mut install = Command::new(npm);
        install.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        exec::output(&mut install)?;
        std::fs::write(&marker, lock).map_err(|error| format!("{}: {error}", marker.display()))?;
    }
    Ok(vec![node.into(), folder.join("server.js").into()])
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_clients_have_a_server_to_call() {
        let mut names: Vec<_> = peers().iter().map(|peer| peer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), peers().len());
        assert_eq!(PEERS[0].kind, Kind::Server);
    }
}
