//! The peers' official interop programs. Those in C++ and Python come with the sources of Debian's
//! package grpc, whose versions of the programs the C core's authors wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Tools;
use crate::exec::{self, Result};
use crate::install::{self, copy_anew, create, with_path};

const GO_PROGRAMS: &[&str] = &[
    "google.golang.org/grpc/interop/client@v1.85.0",
    "google.golang.org/grpc/interop/server@v1.85.0",
];
/// Whose test certificates everybody's programs carry.
const GO_MODULE: &str = "google.golang.org/grpc@v1.85.0";
const JAVA: &str = "io.grpc:grpc-interop-testing:1.79.0";
/// What the official programs in Python need.
pub(super) const PYTHON_PACKAGES: &[&str] = &["google-auth==2.62.2", "requests==2.34.2"];

/// grpc-go's programs, and the certificates.
pub(super) fn go(tools: &Tools) -> Result {
    create(&tools.official_go())?;
    GO_PROGRAMS.iter().try_for_each(|program| install::go_install(&tools.official_go(), program))
}

/// The authority, server certificate and key of gRPC's interop programs.
pub(super) fn certificates(tools: &Tools) -> Result {
    exec::once(&tools.home.join(".certificates"), GO_MODULE, || {
        let mut download = install::go()?;
        let told = exec::output(download.args(["mod", "download", "-json", GO_MODULE]))?;
        let field = told.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \""));
        let folder = field.and_then(|rest| rest.split('"').next());
        let folder = folder.ok_or_else(|| format!("`go mod download` tells no folder: {told}"))?;
        create(&tools.certificates())?;
        for name in ["ca.pem", "server1.pem", "server1.key"] {
            let (from, to) =
                (Path::new(folder).join("testdata").join(name), tools.certificates().join(name));
            let contents = std::fs::read(&from)
                .map_err(|error| format!("cannot read {}: {error}", from.display()))?;
            write(&to, contents)?;
        }
        Ok(())
    })
}

/// grpc-java's programs and all that they need.
pub(super) fn java(tools: &Tools) -> Result {
    exec::debian(&[("java", "default-jre-headless"), ("mvn", "maven")])?;
    exec::once(&tools.home.join(".java"), JAVA, || {
        let project = tools.home.join("java-project");
        create(&project)?;
        let parts: Vec<&str> = JAVA.split(':').collect();
        let [group, artifact, version] = parts[..] else {
            return Err(format!("{JAVA} is not group:artifact:version"));
        };
        write(
            &project.join("pom.xml"),
            format!(
                "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n\
             <modelVersion>4.0.0</modelVersion>\n\
             <groupId>gannet</groupId><artifactId>interop</artifactId><version>1</version>\n\
             <dependencies><dependency><groupId>{group}</groupId>\
             <artifactId>{artifact}</artifactId><version>{version}</version>\
             </dependency></dependencies>\n</project>\n"
            ),
        )?;
        let mut maven = Command::new("mvn");
        maven.current_dir(&project).args([
            "--quiet",
            "--batch-mode",
            "dependency:copy-dependencies",
        ]);
        maven.arg(with_path("-DoutputDirectory=", &tools.official_java()));
        exec::run(&mut maven)
    })
}

/// Our programs for grpc-js, with the packages of their lock file: its own are in its repository
/// and not in the package. Ours have the same cases but for cloud accounts, and more, on the
/// library as it is published.
pub(super) fn node(tools: &Tools) -> Result {
    let (sources, folder) = (exec::root().join("interop/node"), tools.official_node());
    create(&folder)?;
    let lock = std::fs::read_to_string(sources.join("package-lock.json"))
        .map_err(|error| format!("cannot read the lock file of interop/node: {error}"))?;
    // Debian's own is too old for some, but runs these programs.
    exec::debian(&[("node", "nodejs"), ("npm", "npm")])?;
    install::copy(&sources, &folder)?;
    install::copy(&exec::root().join("interop/gannet/proto"), &folder.join("proto"))?;
    // The lock file's text stands for all versions.
    let marker = folder.join(".installed");
    if std::fs::read_to_string(&marker).is_ok_and(|done| done == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    exec::run(npm.current_dir(&folder).args(["ci", "--silent", "--no-audit", "--no-fund"]))?;
    write(&marker, lock)
}

/// The C core's programs in Python, beside the generated code that they import.
pub(super) fn python(tools: &Tools) -> Result {
    let source = super::source::fetch(tools)?;
    let folder = tools.official_python();
    exec::once(&tools.home.join(".official-python"), super::source::VERSION, || {
        let tests = source.join("src/python/grpcio_tests/tests");
        copy_anew(&tests.join("interop"), &folder.join("tests/interop"))?;
        create(&folder.join("tests/unit"))?;
        for name in ["__init__.py", "unit/__init__.py", "unit/test_common.py"] {
            let text = match name {
                "__init__.py" => Vec::new(),
                name => std::fs::read(tests.join(name))
                    .map_err(|error| format!("cannot read {name}: {error}"))?,
            };
            write(&folder.join("tests").join(name), text)?;
        }
        let mut protoc = Command::new(tools.python());
        protoc.args(["-m", "grpc_tools.protoc"]).arg("-I").arg(&source);
        protoc.arg(with_path("--python_out=", &folder));
        protoc.arg(with_path("--grpc_python_out=", &folder));
        exec::run(protoc.current_dir(&source).args(super::source::PROTOS))
    })
}

pub(super) fn write(file: &PathBuf, contents: impl AsRef<[u8]>) -> Result {
    std::fs::write(file, contents)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}
