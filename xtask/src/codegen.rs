//! `cargo xtask codegen [--check]`: the generated modules that are checked in.
//!
//! Only says which modules those are; the `gannet` command writes and compares them.

use std::process::Command;

use crate::exec::{self, Result};

/// Flags of `cargo xtask codegen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when a generated file is not what would be written now.
    #[arg(long)]
    check: bool,
}

/// Arguments of `gannet gen` for each set of generated modules in the repository. What programs and
/// examples generate is written by their build scripts.
const CHECKED_IN: &[&[&str]] = &[
    &[
        "--proto_path=crates/gannet/proto",
        "--rust_out=crates/gannet/src/generated",
        "google/rpc/error_details.proto",
    ],
    &[
        "--proto_path=crates/gannet-services/proto",
        "--rust_out=crates/gannet-services/src/health/generated",
        "--no-client",
        "grpc/health/v1/health.proto",
    ],
    &[
        "--proto_path=crates/gannet-services/proto",
        "--rust_out=crates/gannet-services/src/reflection/generated",
        "--no-client",
        "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto",
    ],
];

/// Writes the generated modules, or compares them.
pub(crate) fn run(args: &Args) -> Result {
    CHECKED_IN.iter().try_for_each(|set| exec::run(&mut command(set, args.check)))
}

/// The step of `cargo xtask ci`.
pub(crate) fn check() -> Result {
    run(&Args { check: true })
}

fn command(set: &[&str], check: bool) -> Command {
    let mut command = exec::cargo(["run", "--quiet", "-p", "gannet-cli", "--", "gen"]);
    command.args(set);
    if check {
        command.arg("--check");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_is_passed_on() {
        assert!(exec::show(&command(&["--out", "x"], true)).ends_with("gen --out x --check"));
        assert!(exec::show(&command(&["--out", "x"], false)).ends_with("gen --out x"));
    }
}
