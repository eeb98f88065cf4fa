//! `cargo xtask fuzz [TARGET] [--seconds N]`: libFuzzer through cargo-fuzz.
//!
//! The targets live in `fuzz/`, a workspace of its own. cargo-fuzz needs nightly flags; the
//! pinned stable compiler takes them with `RUSTC_BOOTSTRAP=1`.

use std::path::Path;

use crate::exec::{self, Result};

/// Flags of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target to run; all of them, one after the other, when absent.
    target: Option<String>,
    /// How long each target runs, in seconds.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Only print the targets' names.
    #[arg(long)]
    list: bool,
}

/// Runs one target or all of them; a crash is an error, and its input stays in `fuzz/artifacts`.
pub(crate) fn run(args: &Args) -> Result {
    let targets = targets(&exec::root().join("fuzz"))?;
    if args.list {
        println!("{}", targets.join("\n"));
        return Ok(());
    }
    let chosen = choose(&targets, args.target.as_deref())?;
    install()?;
    for target in chosen {
        println!("\n=== fuzz {target}: {} s ===", args.seconds);
        let mut command = exec::cargo(["fuzz", "run", target, "--"]);
        command.arg(format!("-max_total_time={}", args.seconds)).env("RUSTC_BOOTSTRAP", "1");
        exec::run(&mut command)?;
    }
    Ok(())
}

/// The `[[bin]]` names of the fuzz crate.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let manifest = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| format!("cannot read {}: {error}", manifest.display()))?;
    let table: toml::Table = text.parse().map_err(|error| format!("fuzz/Cargo.toml: {error}"))?;
    let bins = table.get("bin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let name = |bin: &toml::Value| bin.get("name").and_then(|name| name.as_str()).map(String::from);
    Ok(bins.iter().filter_map(name).collect())
}

fn choose<'a>(targets: &'a [String], wanted: Option<&str>) -> Result<Vec<&'a str>> {
    let matches = |target: &&str| wanted.is_none_or(|name| name == *target);
    let chosen: Vec<&str> = targets.iter().map(String::as_str).filter(matches).collect();
    if chosen.is_empty() {
        return Err(format!("no such fuzz target; there are: {}", targets.join(", ")));
    }
    Ok(chosen)
}

/// Installs cargo-fuzz where it is absent.
fn install() -> Result {
    if exec::output(&mut exec::cargo(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    println!("installing cargo-fuzz");
    exec::run(&mut exec::cargo(["install", "--locked", "cargo-fuzz"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_bins_of_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"a\"\n[[bin]]\nname = \"b\"\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        assert_eq!(targets(folder.path()).unwrap(), ["a", "b"]);
        assert!(targets(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn an_unknown_target_is_an_error() {
        let targets = ["a".to_string(), "b".to_string()];
        assert_eq!(choose(&targets, Some("b")).unwrap(), ["b"]);
        assert_eq!(choose(&targets, None).unwrap(), ["a", "b"]);
        assert!(choose(&targets, Some("c")).is_err());
    }
}
