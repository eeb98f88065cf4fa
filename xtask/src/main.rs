//! Everything longer than one command: `cargo xtask <task>`.
//!
//! Each task is one module. This file only names them and hands over; it decides nothing.

#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user by printing")]

mod bench;
mod ci;
mod codegen;
mod corpus;
mod deny;
mod exec;
mod fuzz;
mod install;
mod interop;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything longer than one command.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs every test that needs nothing but Rust.
    Test {
        /// Passed on to `cargo test --workspace`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Checks the house rules a machine can check.
    Tidy,
    /// Checks licences, sources and known faults of the dependencies (installs cargo-deny).
    Deny,
    /// Checks generated code that is checked in (`--check`), or rewrites it.
    Codegen(codegen::Args),
    /// Compiles code generated for protos of others: googleapis', grpc's own (needs python3 and
    /// go).
    Corpus,
    /// Measures what a call costs, here and elsewhere.
    Bench(bench::Args),
    /// Runs everything that must pass before a change is merged.
    Ci(ci::Args),
    /// Runs the fuzz targets.
    Fuzz(fuzz::Args),
    /// Runs the real peers of other languages, and protocol suites, against Gannet.
    Interop(interop::Args),
    /// Runs clients and servers of ours and of others for long, with calls of every kind.
    Soak(interop::soak::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Test { args } => ci::test(&args),
        Task::Tidy => tidy::run(),
        Task::Deny => deny::run(),
        Task::Codegen(args) => codegen::run(&args),
        Task::Corpus => corpus::run(),
        Task::Ci(args) => ci::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Interop(args) => interop::run(&args),
        Task::Soak(args) => interop::soak::run(&args),
        Task::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
