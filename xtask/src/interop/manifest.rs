//! What `examples/greeter` tells Kubernetes: its manifest against Kubernetes' own schemas, against
//! itself and the README beside it, and against the program, which is started with the manifest's
//! arguments and probed as Kubernetes would. A client's manifest likewise: it calls that replica.
//!
//! Each run also shows that it can fail: a field that Kubernetes does not know must be refused,
//! and a port that does not answer probes be found.

mod judge;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Note;
use super::peers;
use super::process::{self, Ready, Server};
use super::setup::Tools;
use crate::exec::{self, Result};
use crate::install::create;
use judge::{Client, Told};

const MANIFEST: &str = "examples/greeter/kubernetes/greeter.yaml";
const CLIENT: &str = "examples/greeter/kubernetes/client.yaml";
const README: &str = "examples/greeter/README.md";
/// Of Kubernetes; the schemas come with the tool.
const VERSION: &str = "1.37";
/// A field of the manifest's, and one that no version of Kubernetes has.
const WRONG: [&str; 2] = ["periodSeconds:", "periodSecond:"];
/// Documents of YAML as one array of JSON.
const TO_JSON: &str = "import json, sys, yaml; \
     json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";

/// `limit` is for each step.
pub(super) fn run(tools: &Tools, limit: Duration) -> Result<Note> {
    let read = |file: &str| {
        let file = exec::root().join(file);
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let (manifest, readme) = (read(MANIFEST)?, read(README)?);
    for file in [MANIFEST, CLIENT] {
        validate(tools, &exec::root().join(file), limit)?.success()?;
    }
    refuses_what_is_wrong(tools, &manifest, limit)?;
    let server = documents(tools, MANIFEST, limit)?;
    let told = judge::judge(&server, &readme)?;
    let client = judge::judge_client(&documents(tools, CLIENT, limit)?, &server, &readme)?;
    let replica = start(tools, &told, limit)?;
    let probes = peers::greeter_address(&replica, "probes", limit)?;
    for service in &told.probed {
        probe(tools, &probes, service, limit)?.success()?;
    }
    let calls = peers::greeter_address(&replica, "calls", limit)?;
    if probe(tools, &calls, &told.probed[0], limit)?.status.success() {
        return Err("the port for calls answers probes without TLS, too".to_owned());
    }
    let counted = call(tools, &client, &calls, limit)?;
    replica.end(limit)?;
    Ok(format!("Kubernetes {VERSION}, {} probes, {counted} calls", told.probed.len()))
}

fn validate(tools: &Tools, file: &Path, limit: Duration) -> Result<process::Ended> {
    let mut command = Command::new(tools.python().with_file_name("kubernetes-validate"));
    command.args(["--strict", "--kubernetes-version", VERSION]).arg(file);
    process::run(command, limit)
}

fn refuses_what_is_wrong(tools: &Tools, manifest: &str, limit: Duration) -> Result {
    let [right, wrong] = WRONG;
    let file = tools.scratch("wrong-manifest.yaml");
    let text = manifest.replacen(right, wrong, 1);
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let ended = validate(tools, &file, limit)?;
    let named = ended.output.contains(wrong.trim_end_matches(':'));
    match !ended.status.success() && named {
        true => Ok(()),
        false => Err(format!("`{wrong}` was not refused: {}\n{}", ended.status, ended.output)),
    }
}

/// A manifest, read by the YAML library that the validator has.
fn documents(tools: &Tools, file: &str, limit: Duration) -> Result<Vec<Value>> {
    let mut command = Command::new(tools.python());
    command.args(["-c", TO_JSON]).arg(exec::root().join(file));
    let json = process::run(command, limit)?.success()?;
    serde_json::from_str(&json).map_err(|error| format!("{file} as JSON: {error}"))
}

/// The program with the container's arguments: on ports that are free, and with nothing in its
/// folder of keys but what the README puts into the secret.
fn start(tools: &Tools, told: &Told, limit: Duration) -> Result<Server> {
    let keys = keys(tools, "manifest-keys", &told.files)?;
    let mut command = Command::new(tools.greeter());
    for argument in &told.arguments {
        let flag = argument.split('=').next().unwrap_or_default();
        match flag {
            "--listen" | "--probes" | "--metrics" => command.arg(format!("{flag}=127.0.0.1:0")),
            "--keys" => command.arg(flag).arg(&keys),
            _ => command.arg(argument),
        };
    }
    Server::start(|_| command, Ready::Says, limit)
}

/// The client with its container's arguments, but for the name, which only a cluster has; how many
/// calls it made, of which each was answered.
fn call(tools: &Tools, client: &Client, address: &str, limit: Duration) -> Result<u32> {
    let keys = keys(tools, "manifest-client-keys", &client.files)?;
    let mut command = Command::new(tools.greeter());
    for argument in &client.arguments {
        match argument.split('=').next().unwrap_or_default() {
            "--target" => command.arg(format!("--target={address}")),
            "--keys" => command.arg("--keys").arg(&keys),
            _ => command.arg(argument),
        };
    }
    let told = process::run(command, limit)?.success()?;
    let count = told.split_whitespace().next().and_then(|count| count.parse().ok());
    count.filter(|count| *count > 0).ok_or_else(|| format!("no call was counted:\n{told}"))
}

fn keys(tools: &Tools, name: &str, files: &[String]) -> Result<PathBuf> {
    let folder = tools.scratch(name);
    // What an earlier run has left must not help this one.
    if folder.exists() {
        let removed = std::fs::remove_dir_all(&folder);
        removed.map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    create(&folder)?;
    for file in files {
        let name = Path::new(file).file_name().ok_or(format!("`{file}` is no file"))?;
        let from = tools.greeter_keys().join(name);
        std::fs::copy(&from, folder.join(name))
            .map_err(|error| format!("{}: {error}", from.display()))?;
    }
    Ok(folder)
}

fn probe(tools: &Tools, address: &str, service: &str, limit: Duration) -> Result<process::Ended> {
    let mut command = Command::new(tools.bin().join("grpc-health-probe"));
    command.args(["-addr", address, "-service", service]);
    process::run(command, limit)
}
