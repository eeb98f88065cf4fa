//! `cargo xtask corpus`: code generated for protos that others wrote, compiled, linted and
//! documented.
//!
//! Googleapis' common protos come from their Python package, grpc's own (health, reflection,
//! interop testing) as the descriptors that grpc-go carries. Nothing of them is kept in the
//! repository. What is read from files is compared with what protoc reads from them.

mod protoc;

use std::path::Path;

use crate::exec::{self, Result};

const GOOGLEAPIS: &str = "googleapis-common-protos==1.76.0";

/// Gets the protos, generates, compiles; anything that fails or warns is an error.
pub(crate) fn run() -> Result {
    let home = exec::root().join("target/corpus");
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let googleapis = googleapis(&home)?;
    protoc::compare(&home, &[&googleapis, &exec::root().join("bench/proto")])?;
    let grpc = grpc(&home)?;
    compile(&home.join("googleapis"), &[&format!("{}=google", googleapis.display())])?;
    compile(&home.join("grpc"), &["--descriptor_set", &grpc.display().to_string()])
}

/// Installs the Python package of googleapis' protos; returns the folder they are imported from.
fn googleapis(home: &Path) -> Result<std::path::PathBuf> {
    let packages = home.join("python");
    if !packages.join("google/api/annotations.proto").is_file() {
        pip(&packages, GOOGLEAPIS)?;
    }
    Ok(packages)
}

/// Installs a Python package into a folder.
fn pip(folder: &Path, package: &str) -> Result {
    let mut pip = std::process::Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--no-deps"]);
    exec::run(pip.arg("--target").arg(folder).arg(package))
}

/// Writes the descriptors of grpc-go's protos to a file.
fn grpc(home: &Path) -> Result<std::path::PathBuf> {
    let file = home.join("grpc.binpb");
    let mut go = std::process::Command::new("go");
    go.current_dir(exec::root().join("interop/go")).args(["run", "./descriptors"]);
    let out = go.output().map_err(|error| format!("cannot start `go`: {error}"))?;
    if !out.status.success() {
        return Err(format!("go run ./descriptors: {}", String::from_utf8_lossy(&out.stderr)));
    }
    std::fs::write(&file, out.stdout).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

fn compile(out: &Path, corpus: &[&str]) -> Result {
    let mut cargo = exec::cargo(["run", "--quiet", "-p", "gannet-codegen", "--example", "corpus"]);
    exec::run(cargo.arg("--").arg(out).args(corpus))
}
