//! `cargo xtask bench`: what a call costs, here and elsewhere.
//!
//! `--gate` counts under callgrind and compares with a committed baseline: exact, and so in CI.
//! Without it, the programs of bench/ are measured beside each other on this machine. What is
//! measured, and how, is in bench/README.md.

mod baseline;
mod build_cost;
mod callgrind;
mod cases;
mod certificate;
mod followed;
pub(crate) mod gate;
mod json;
mod peers;
mod plan;
mod process;
mod programs;
mod rest;
mod results;
mod runner;
mod sample;
mod scaling;
mod serving;
mod svg;
mod table;

use crate::exec::Result;

/// Flags of `cargo xtask bench`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Counts what calls cost Gannet, and fails where that is above the baseline or a budget
    /// (installs valgrind).
    #[arg(long)]
    gate: bool,
    /// Lowers the baseline to what is counted.
    #[arg(long, requires = "gate")]
    update: bool,
    /// Times clean release builds of the hello server, and counts its crates.
    #[arg(long, conflicts_with = "gate")]
    build_cost: bool,
    /// Measures the same greeting over REST and gRPC.
    #[arg(long, conflicts_with_all = ["gate", "build_cost"])]
    rest: bool,
    /// Measures what a second core brings to 64 tasks that call over one channel.
    #[arg(long, conflicts_with_all = ["gate", "build_cost", "rest"])]
    scaling: bool,
    /// Builds the programs in other languages, and checks that each answers rightly.
    #[arg(long, conflicts_with_all = ["gate", "build_cost", "rest", "scaling"])]
    build_peers: bool,
    /// Only what contains this text in its name.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only these programs.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// One short round.
    #[arg(long)]
    quick: bool,
    /// Rounds; figures are medians over them; with `--counts` 0 for only what is counted, which a
    /// busy machine does not change [default: 3]
    #[arg(long)]
    rounds: Option<u32>,
    /// How long each measurement takes [default: 3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Counts instructions and allocations of unary calls too (installs valgrind).
    #[arg(long)]
    counts: bool,
    /// Writes bench/results: NAME.json, tables, plots; of what is only counted, a table in NAME.md;
    /// with `--gate` that alone.
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
}

/// Runs what the flags say.
pub(crate) fn run(args: &Args) -> Result {
    if args.gate {
        let origin = runner::origin(args);
        let save = args.save.as_deref().map(|name| (name, &origin));
        gate::run(args.update, args.only.as_deref(), save)
    } else if args.build_cost {
        build_cost::run()
    } else if args.build_peers {
        peers::build_and_check(args.only.as_deref())
    } else if args.rest {
        rest::run(args)
    } else if args.scaling {
        scaling::run(args)
    } else {
        runner::run(args)
    }
}

impl Args {
    /// The command that measures the same again.
    fn shown(&self) -> String {
        let mut out = String::from("cargo xtask bench");
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push_str(&format!(" --{flag}"));
                if !value.is_empty() {
                    out.push_str(&format!(" {value}"));
                }
            }
        };
        let switch = |is_on: bool| is_on.then(String::new);
        add("gate", switch(self.gate));
        add("rest", switch(self.rest));
        add("scaling", switch(self.scaling));
        add("only", self.only.clone());
        add("peers", (!self.peers.is_empty()).then(|| self.peers.join(",")));
        add("quick", switch(self.quick));
        add("rounds", self.rounds.map(|rounds| rounds.to_string()));
        add("seconds", self.seconds.map(|seconds| seconds.to_string()));
        add("counts", switch(self.counts));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_shown_as_it_was_given() {
        assert_eq!(Args::default().shown(), "cargo xtask bench");
        let args = Args {
            only: Some("unary".into()),
            peers: vec!["gannet".into(), "tonic".into()],
            quick: true,
            seconds: Some(1.5),
            ..Args::default()
        };
        let due = "cargo xtask bench --only unary --peers gannet,tonic --quick --seconds 1.5";
        assert_eq!(args.shown(), due);
    }
}
