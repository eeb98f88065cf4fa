//! `cargo xtask interop`: real peers.
use crate::exec::Result;
/// Flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
/// Runs.
pub(crate) fn run(_args: &Args) -> Result {
    Ok(())
}
/// The short run of `cargo xtask ci`.
pub(crate) fn quick() -> Result {
    run(&Args {})
}
