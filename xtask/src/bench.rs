//! `cargo xtask bench`: what is measured beside Gannet. Programs in other languages are described
//! in bench/PEERS.md.

mod peers;

use crate::exec::Result;

/// Flags of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Builds the programs in other languages, and checks that each answers rightly.
    #[arg(long, required = true)]
    build_peers: bool,
    /// Only those whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs what the flags say.
pub(crate) fn run(args: &Args) -> Result {
    peers::build_and_check(args.only.as_deref())
}
