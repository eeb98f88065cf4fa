//! A service as it runs in earnest: several replicas behind one name, TLS, tokens, health,
//! reflection, telemetry, and an end that loses no call.
//!
//! `greeter keys` and `greeter token` make what an authority and an issuer would, `greeter serve`
//! is one replica, and `greeter call` calls all of them in turn. `README.md` walks through it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `keys` | certificates, keys and tokens, for this example to run anywhere |
//! | `token` | tokens, as an issuer would make them |
//! | `service` | what the service does |
//! | `log` | lines that no call waits for |
//! | `serve` | a replica around it |
//! | `call` | the client |
//! | `traces` | spans of both, sent to a collector |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod call;
mod keys;
mod log;
mod serve;
mod service;
mod token;
mod traces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Generated from the files in `proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// What can go wrong in a program: told to its user, and the program ends.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A service as it runs in earnest: keys for it, its replicas, and a client.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make certificates, keys and tokens in a folder
    Keys(keys::Args),
    /// Issue a token with the key that `greeter keys` has made
    Token(token::Args),
    /// Serve, until SIGTERM or Ctrl-C
    Serve(serve::Args),
    /// Call all replicas in turn
    Call(call::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Keys(args) => keys::make(&args),
        Command::Token(args) => token::issue(&args),
        Command::Serve(args) => serve::serve(args).await,
        Command::Call(args) => call::call(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeter: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, on one line, each thing said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
