//! What the harness needs, installed where it is missing: all under `target/interop`, apart from
//! Debian's packages.
//!
//! Versions are pinned here. Only what the planned checks use is prepared; what cannot be had is
//! an error that says how to get it by hand.

mod cpp;
mod official;
mod source;

use std::path::PathBuf;
use std::process::Command;

use super::plan::{Group, Peer, Program, What};
use super::services::Tool;
use super::suites::Suite;
use super::telemetry::Telemetry;
use super::tls;
use crate::exec::{self, Result};
use crate::install::{self, create, with_path};

const PYTHON_PACKAGES: &[&str] = &[
    "grpcio==1.85.1",
    "grpcio-tools==1.85.1",
    "grpcio-status==1.85.1",
    "hpack==4.2.0",
    "PyJWT==2.15.1",
    "cryptography==50.0.2",
];
/// What asks for health and reflection.
const SERVICE_PACKAGES: &[&str] =
    &["grpcio-health-checking==1.85.1", "grpcio-reflection==1.85.1", "buf-bin==1.75.0"];
/// What reads manifests, with the YAML library by which we read them, too.
const MANIFEST_PACKAGES: &[&str] = &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"];
/// What traces, and what sends traces.
const TELEMETRY_PACKAGES: &[&str] = &[
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    "opentelemetry-instrumentation-grpc==0.66b2",
];
const GRPCURL: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4";
/// Its version is in `interop/grpcui/go.mod`.
const GRPCUI: &str = "github.com/fullstorydev/grpcui/cmd/grpcui";
const HEALTH_PROBE: &str = "github.com/grpc-ecosystem/grpc-health-probe@v0.4.61";
const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
const HTTPWG: &str = "httpwg-cli@0.2.5";
/// Where those of Python's stubs are, besides ours.
const GREETER_PROTOS: &str = "examples/greeter/proto";
const PROTOS: &[&str] = &["gannet_interop.proto", "grpctest.proto"];
const GO_MODULE: &str = "gannet.invalid/interop";

/// Where everything is.
#[derive(Debug)]
pub(super) struct Tools {
    /// `target/interop`.
    home: PathBuf,
    /// Gannet's own programs.
    pub(super) gannet: PathBuf,
}

impl Tools {
    /// Paths at which nothing is, for tests.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self { home: "no/such/folder".into(), gannet: "no/such/folder".into() }
    }

    /// Tools that were installed here.
    pub(super) fn bin(&self) -> PathBuf {
        self.home.join("bin")
    }

    pub(super) fn go_programs(&self) -> PathBuf {
        self.home.join("go-programs")
    }

    /// grpc-go's official interop programs.
    pub(super) fn official_go(&self) -> PathBuf {
        self.home.join("official-go")
    }

    /// The C core's official interop programs in Python, as packages.
    pub(super) fn official_python(&self) -> PathBuf {
        self.home.join("official-python")
    }

    /// The archives of grpc-java's official interop programs and what they need.
    pub(super) fn official_java(&self) -> PathBuf {
        self.home.join("official-java")
    }

    /// The interop programs for grpc-js: ours.
    pub(super) fn official_node(&self) -> PathBuf {
        self.home.join("official-node")
    }

    /// gRPC C++'s official interop programs.
    pub(super) fn official_cpp(&self) -> PathBuf {
        self.home.join("official-cpp")
    }

    /// `ca.pem`, `server1.pem` and `server1.key` of all interop programs.
    pub(super) fn certificates(&self) -> PathBuf {
        self.home.join("certificates")
    }

    /// Certificates that [`super::tls::files`] has made.
    pub(super) fn tls(&self) -> PathBuf {
        self.home.join("tls")
    }

    pub(super) fn python(&self) -> PathBuf {
        self.home.join("venv/bin/python")
    }

    pub(super) fn python_stubs(&self) -> PathBuf {
        self.home.join("python-stubs")
    }

    /// The program of `examples/greeter`.
    pub(super) fn greeter(&self) -> PathBuf {
        self.gannet.join("greeter")
    }

    /// What `greeter keys` has made.
    pub(super) fn greeter_keys(&self) -> PathBuf {
        self.home.join("greeter-keys")
    }

    /// Files that a check writes and reads back.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.home.join("scratch").join(name)
    }
}

/// Prepares what `groups` need.
pub(super) fn prepare(groups: &[Group]) -> Result<Tools> {
    let target = exec::target();
    let tools = Tools { home: target.join("interop"), gannet: target.join("release") };
    for folder in [tools.bin(), tools.python_stubs(), tools.scratch("")] {
        create(&folder)?;
    }
    let needs = Needs::of(groups);
    if needs.gannet {
        gannet()?;
    }
    if needs.greeter {
        greeter(&tools)?;
    }
    // Go's code generators run under the protoc that comes with Python's.
    if needs.python || needs.go || needs.official.contains(&Peer::Python) {
        python(&tools)?;
    }
    if needs.go {
        go(&tools)?;
    }
    for peer in &needs.official {
        official(&tools, *peer)?;
    }
    if needs.certificates {
        official::certificates(&tools)?;
    }
    if needs.own_certificates {
        create(&tools.tls())?;
        tls::files::make(&tools.tls())?;
    }
    if needs.grpcurl {
        install::go_install(&tools.bin(), GRPCURL)?;
    }
    if needs.restarts {
        let program = ["--features", "long", "--bin", "restarted-server"];
        let build = ["build", "--release", "-p", "gannet-interop"];
        exec::run(exec::cargo(build).args(program))?;
    }
    if needs.grpcui {
        grpcui(&tools)?;
    }
    if needs.prometheus {
        exec::debian(&[("prometheus", "prometheus"), ("curl", "curl")])?;
    }
    if needs.health_probe {
        install::go_install(&tools.bin(), HEALTH_PROBE)?;
    }
    if needs.h2spec {
        install::go_install(&tools.bin(), H2SPEC)?;
    }
    if needs.httpwg {
        httpwg(&tools)?;
    }
    if needs.http {
        exec::debian(&[
            ("h2load", "nghttp2-client"),
            ("nghttp", "nghttp2-client"),
            ("curl", "curl"),
            ("openssl", "openssl"),
        ])?;
    }
    Ok(tools)
}

/// What a plan uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    gannet: bool,
    greeter: bool,
    python: bool,
    go: bool,
    /// Whose official programs.
    official: Vec<Peer>,
    certificates: bool,
    own_certificates: bool,
    grpcurl: bool,
    grpcui: bool,
    prometheus: bool,
    restarts: bool,
    health_probe: bool,
    h2spec: bool,
    httpwg: bool,
    http: bool,
}

impl Needs {
    fn of(groups: &[Group]) -> Self {
        let mut needs = Self::default();
        for group in groups {
            needs.peer(group.server, group.program);
            match group.program {
                Program::Official => needs.certificates |= group.tls.is_on(),
                _ => needs.own_certificates |= group.tls.is_on(),
            }
            for check in &group.checks {
                match &check.what {
                    What::Client { peer, program, .. } => needs.peer(*peer, *program),
                    What::Suite { suite: Suite::H2spec, .. } => needs.h2spec = true,
                    What::Suite { suite: Suite::Httpwg, .. } => {
                        needs.httpwg = true;
                        // Among its programs is the one that does httpwg's TLS.
                        needs.go |= group.tls.is_on();
                    }
                    What::Http(_) => needs.http = true,
                    What::Service(_, asked) => match asked.tool {
                        Tool::Grpcurl => needs.grpcurl = true,
                        Tool::Grpcui => needs.grpcui = true,
                        Tool::HealthProbe => needs.health_probe = true,
                        Tool::Buf | Tool::Python => needs.python = true,
                    },
                    What::Restarts(client) => {
                        needs.peer(*client, Program::Echo);
                        needs.restarts = true;
                    }
                    What::Manifest => {
                        needs.python = true;
                        needs.health_probe = true;
                    }
                    What::Telemetry(Telemetry::Trace) => needs.python = true,
                    What::Telemetry(Telemetry::Prometheus) => needs.prometheus = true,
                    What::Tls(scene) => {
                        needs.own_certificates = true;
                        match scene.client.program() {
                            Some(peer) => needs.peer(peer, Program::Echo),
                            None => needs.http = true,
                        }
                    }
                }
            }
        }
        needs
    }

    fn peer(&mut self, peer: Peer, program: Program) {
        match (peer, program) {
            (_, Program::Greeter) => self.greeter = true,
            (Peer::Gannet, _) => self.gannet = true,
            (_, Program::Official) if !self.official.contains(&peer) => self.official.push(peer),
            (Peer::Python, Program::Hello | Program::Echo | Program::Aging) => self.python = true,
            (Peer::Go, Program::Hello | Program::Echo | Program::Aging) => self.go = true,
            _ => {}
        }
    }
}

fn official(tools: &Tools, peer: Peer) -> Result {
    match peer {
        Peer::Gannet => Ok(()),
        Peer::Go => official::go(tools),
        Peer::Python => official::python(tools),
        Peer::Java => official::java(tools),
        Peer::Node => official::node(tools),
        Peer::Cpp => cpp::build(tools),
    }
}

fn gannet() -> Result {
    let manifest = exec::root().join("interop/gannet/Cargo.toml");
    if !manifest.is_file() {
        return Err("interop/gannet is not there: only --peers-only can run".into());
    }
    exec::run(&mut exec::cargo(["build", "--release", "-p", "gannet-interop"]))
}

/// The example, and keys for it.
fn greeter(tools: &Tools) -> Result {
    exec::run(&mut exec::cargo(["build", "--release", "-p", "greeter"]))?;
    exec::run(Command::new(tools.greeter()).arg("keys").arg(tools.greeter_keys()))
}

/// The virtual environment, and the stubs of the protos.
fn python(tools: &Tools) -> Result {
    let packages = [
        PYTHON_PACKAGES,
        SERVICE_PACKAGES,
        MANIFEST_PACKAGES,
        TELEMETRY_PACKAGES,
        official::PYTHON_PACKAGES,
    ]
    .concat();
    exec::python_packages(&tools.home.join("venv"), &packages)?;
    let stubs = tools.python_stubs();
    let mut protoc = protoc(tools);
    protoc.arg(with_path("--python_out=", &stubs)).arg(with_path("--grpc_python_out=", &stubs));
    protoc.arg("-I").arg(exec::root().join(GREETER_PROTOS)).arg("greeter.proto");
    exec::run(protoc.args(PROTOS))
}

/// The Go module with its generated stubs, copied out of the source tree and built.
fn go(tools: &Tools) -> Result {
    install::go_generators(&tools.bin())?;
    let module = tools.home.join("go-module");
    install::copy_anew(&exec::root().join("interop/go"), &module)?;
    let mut protoc = protoc(tools);
    protoc.env("PATH", install::path_with(&tools.bin())?);
    for plugin in ["go", "go-grpc"] {
        protoc.arg(with_path(&format!("--{plugin}_out="), &module));
        protoc.arg(format!("--{plugin}_opt=module={GO_MODULE}"));
    }
    exec::run(protoc.args(PROTOS))?;
    create(&tools.go_programs())?;
    let mut build = install::go()?;
    build.current_dir(&module).args(["build", "-mod=readonly", "-o"]).arg(tools.go_programs());
    exec::run(build.arg("./..."))
}

/// grpcui from a module that names it: to be installed by its version alone, the list of its
/// versions would have to be had, which not every module proxy gives.
fn grpcui(tools: &Tools) -> Result {
    exec::debian(&[("curl", "curl")])?;
    let mut build = install::go()?;
    build.current_dir(exec::root().join("interop/grpcui"));
    build.args(["build", "-mod=readonly", "-o"]).arg(tools.bin().join("grpcui"));
    exec::run(build.arg(GRPCUI))
}

fn protoc(tools: &Tools) -> Command {
    let mut command = Command::new(tools.python());
    let protos = exec::root().join("interop/proto");
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(protos);
    command
}

fn httpwg(tools: &Tools) -> Result {
    exec::once(&tools.bin().join(".httpwg"), HTTPWG, || {
        // Without its own lock file it does not build.
        let mut install = exec::cargo(["install", "--quiet", "--locked", "--force"]);
        install.arg("--root").arg(&tools.home).arg(HTTPWG);
        // A place of its own: our target folder and lints are not its business.
        exec::run(install.current_dir(std::env::temp_dir()).env_remove("CARGO_TARGET_DIR"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::{self, Extent};
    use super::*;

    #[test]
    fn a_plan_needs_only_what_it_uses() {
        let needs = Needs::of(&plan::plan(true, Extent::Usual, Some("python->python/hello")));
        assert_eq!(needs, Needs { python: true, ..Needs::default() });
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("nghttp->")));
        let own_certificates = true;
        assert_eq!(needs, Needs { gannet: true, http: true, own_certificates, ..Needs::default() });
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("grpcurl->gannet/services")));
        assert_eq!(needs, Needs { gannet: true, grpcurl: true, ..Needs::default() });
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("gannet->python/mutual")));
        let python = true;
        assert_eq!(needs, Needs { gannet: true, python, own_certificates, ..Needs::default() });
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("/telemetry")));
        assert_eq!(needs, Needs { greeter: true, python, ..Needs::default() });
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("prometheus->")));
        assert_eq!(needs, Needs { greeter: true, prometheus: true, ..Needs::default() });
        let needs =
            Needs::of(&plan::plan(false, Extent::All, Some("cpp->gannet/official-tls/ping_pong")));
        let official = vec![Peer::Cpp];
        let expected = Needs { gannet: true, official, certificates: true, ..Needs::default() };
        assert_eq!(needs, expected);
        let needs = Needs::of(&plan::plan(false, Extent::Quick, Some("/official")));
        assert_eq!(needs.official, [Peer::Go]);
    }
}
