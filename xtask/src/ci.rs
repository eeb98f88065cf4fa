//! `cargo xtask ci`: every check in order, each timed, the first failure last seen.
//!
//! All steps run even when one fails, so that one run shows everything that is wrong; the exit
//! code says whether anything was.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::exec::{self, Result};
use crate::{bench, codegen, corpus, deny, interop, tidy};

/// Flags of `cargo xtask ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the steps whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Stop at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
}

/// One check: its name, and what runs it.
struct Step {
    name: &'static str,
    run: fn() -> Result,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "tidy", run: tidy::run },
    Step { name: "locks", run: locks },
    Step { name: "deny", run: deny::run },
    Step { name: "clippy", run: clippy },
    Step { name: "codegen", run: codegen::check },
    Step { name: "test", run: || test(&[]).and_then(|()| without_bound_handles()) },
    Step { name: "ring", run: ring },
    Step { name: "differential", run: differential },
    Step { name: "corpus", run: corpus::run },
    Step { name: "doc", run: doc },
    Step { name: "examples", run: examples },
    Step { name: "gate", run: bench::gate::step },
    Step { name: "interop", run: interop::quick },
];

/// Runs the steps; prints a summary; any failure is an error.
pub(crate) fn run(args: &Args) -> Result {
    let mut outcomes = Vec::new();
    for step in STEPS {
        if args.only.as_deref().is_some_and(|text| !step.name.contains(text)) {
            continue;
        }
        println!("\n=== {} ===", step.name);
        let started = Instant::now();
        let result = (step.run)();
        if let Err(error) = &result {
            println!("{} failed: {error}", step.name);
        }
        let failed = result.is_err();
        outcomes.push((step.name, result, started.elapsed()));
        if failed && args.fail_fast {
            break;
        }
    }
    summary(&outcomes)
}

/// The project's test command: `cargo test --workspace`, TLS and all, with `args` behind `--`.
pub(crate) fn test(args: &[String]) -> Result {
    let mut command = exec::cargo(["test", "--workspace", "--all-features"]);
    if !args.is_empty() {
        command.arg("--").args(args);
    }
    exec::run(&mut command)
}

/// Metrics as applications count them unless they ask for handles that are bound: a feature, which
/// all features have.
fn without_bound_handles() -> Result {
    exec::run(&mut exec::cargo(["test", "--package=gannet-otel", "--features=prometheus"]))
}

/// TLS, and tokens, with ring's cryptography and no other: what is tested else has both.
fn ring() -> Result {
    exec::run(&mut exec::cargo([
        "test",
        "--package=gannet-auth",
        "--no-default-features",
        "--features=ring",
    ]))?;
    exec::run(&mut exec::cargo([
        "test",
        "--package=gannet-client",
        "--package=gannet-transport",
        "--features=gannet-client/tls-ring,gannet-transport/tls-ring",
        "--",
        "tls",
        "trust",
        "providers",
    ]))
}

/// The lock file of each workspace says what its manifests ask for, these crates' among them.
fn locks() -> Result {
    WORKSPACES.iter().try_for_each(|folder| {
        let mut check = exec::cargo(["update", "--workspace", "--locked", "--quiet"]);
        let manifest = exec::root().join(folder).join("Cargo.toml");
        exec::run(check.arg("--manifest-path").arg(manifest)).map_err(|error| {
            format!("{error}; `cargo update --workspace` in the folder {folder:?} mends it")
        })
    })
}

/// Folders of workspaces, each with a lock file.
const WORKSPACES: &[&str] = &["", "bench", "bench/hello/gannet", "bench/hello/tonic", "fuzz"];

fn fmt() -> Result {
    exec::run(&mut exec::cargo(["fmt", "--all", "--check"]))?;
    exec::run(in_fuzz(&mut exec::cargo(["fmt", "--all", "--check"])))
}

/// Our engine against another implementation's. It is outside the workspace, so that its
/// dependencies are.
fn differential() -> Result {
    let mut command = exec::cargo(["test", "--locked", "-p", "differential"]);
    exec::run(in_fuzz(&mut command).arg("--target-dir").arg(exec::target().join("fuzz")))
}

/// Lets `command` work on the workspace of the fuzz targets.
fn in_fuzz(command: &mut Command) -> &mut Command {
    command.arg("--manifest-path").arg(exec::root().join("fuzz/Cargo.toml"))
}

fn clippy() -> Result {
    exec::run(&mut exec::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    // As who asks for no feature has it, without TLS for one.
    exec::run(&mut exec::cargo(["clippy", "--package=gannet", "--", "-D", "warnings"]))
}

fn doc() -> Result {
    let mut command = exec::cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    exec::run(deny_rustdoc_warnings(&mut command))
}

fn deny_rustdoc_warnings(command: &mut Command) -> &mut Command {
    command.env("RUSTDOCFLAGS", "-D warnings")
}

fn examples() -> Result {
    exec::run(&mut exec::cargo(["run", "--release", "-p", "grpctest", "--", "--once"]))?;
    for example in ["weather", "chat", "auth", "balancer"] {
        exec::run(&mut exec::cargo(["run", "--release", "-p", example]))?;
    }
    Ok(())
}

fn summary(outcomes: &[(&str, Result, Duration)]) -> Result {
    println!("\n=== summary ===");
    for (name, result, time) in outcomes {
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{name:<12} {word:<7} {:>7.1} s", time.as_secs_f64());
    }
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, result, _)| result.is_err()).map(|(name, ..)| *name).collect();
    match (outcomes.is_empty(), failed.is_empty()) {
        (true, _) => Err("no step has such a name".into()),
        (false, true) => Ok(()),
        (false, false) => Err(format!("failed: {}", failed.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn summary_names_every_failed_step() {
        let second = Duration::from_secs(1);
        let outcomes = [
            ("fmt", Ok(()), second),
            ("test", Err("x".to_string()), second),
            ("doc", Err("y".to_string()), second),
        ];
        assert_eq!(summary(&outcomes), Err("failed: test, doc".to_string()));
        assert_eq!(summary(&outcomes[..1]), Ok(()));
    }

    /// Folders below `folder` with a manifest of a workspace.
    fn workspaces(folder: &Path, found: &mut Vec<PathBuf>) {
        if std::fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.contains("[workspace]"))
        {
            found.push(folder.to_path_buf());
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = !name.starts_with('.') && name != "target" && name != "node_modules";
            if entry.file_type().unwrap().is_dir() && is_ours {
                workspaces(&entry.path(), found);
            }
        }
    }

    #[test]
    fn the_lock_file_of_each_workspace_is_checked() {
        let mut found = Vec::new();
        workspaces(&exec::root(), &mut found);
        found.sort();
        let known: Vec<_> = WORKSPACES.iter().map(|folder| exec::root().join(folder)).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_an_error() {
        let args = Args { only: Some("no such step".into()), fail_fast: false };
        assert!(run(&args).is_err());
    }
}
