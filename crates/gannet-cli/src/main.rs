//! The `gannet` command: code generation from the shell.
//!
//! Arguments and exit codes only; what a command does is in the library it calls. `gannet gen`
//! exits with 0 when all is well, 1 when `--check` found differences or the proto files have
//! mistakes, and 2 when the arguments make no sense.

mod generate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// gRPC for Rust: generates code from proto files.
#[derive(Debug, Parser)]
#[command(name = "gannet", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generates Rust from proto files, or checks that generated files are up to date.
    Gen(generate::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Gen(arguments) => generate::run(&arguments),
    }
}
