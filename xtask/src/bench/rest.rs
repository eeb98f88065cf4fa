//! `cargo xtask bench --rest`: the same greeting over REST and over gRPC: bytes, latency, calls/s.

use super::Args;
use super::plan::{ROWS, Row};
use super::programs::{self, Program, Role, Style};
use super::results::Entry;
use super::sample::{self, Settings};
use super::{runner, table};
use crate::exec::{self, Result};

/// What is shown: label, program, and its rows for 1 and for 50 connections.
const LINES: [(&str, &str, [&str; 2]); 4] = [
    ("REST, a connection for each request (axum)", "axum", ["rest-connect-1", "rest-connect-50"]),
    ("REST, keep-alive (axum)", "axum", ["rest-1", "rest-50"]),
    ("gRPC (tonic)", "tonic", ["unary-1x1", "unary-50x1"]),
    ("gRPC (Gannet)", "gannet", ["unary-1x1", "unary-50x1"]),
];

/// Measures and prints the one table.
pub(super) fn run(args: &Args) -> Result {
    let wanted: Vec<String> = ["axum", "tonic", "gannet"].map(str::to_owned).to_vec();
    let (programs, missing) = programs::build(&[Role::Server, Role::Rest], &wanted)?;
    if let Some((name, reason)) = missing.first() {
        return Err(format!("{name}: {reason}"));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings {
        seconds: args.seconds.unwrap_or(if args.quick { 0.7 } else { 3.0 }),
        pinned: cores > 1 && exec::find("taskset").is_some(),
    };
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 }).max(1);
    let mut samples = vec![[Vec::new(), Vec::new()]; LINES.len()];
    for _ in 0..rounds {
        for (line, samples) in LINES.iter().zip(&mut samples) {
            for (name, samples) in line.2.iter().zip(samples) {
                samples.push(sample::measure(find(&programs, line.1)?, row(name)?, settings)?);
            }
        }
    }
    let mut lines = vec![head()];
    for ((label, program, names), samples) in LINES.iter().zip(&samples) {
        let [one, fifty] = names.map(row);
        let one = Entry::new(one?, program, &samples[0]);
        lines.push(line(label, &one, &Entry::new(fifty?, program, &samples[1])));
    }
    let origin = runner::origin(args);
    println!("{}, {}: {}\n\n{}", origin.date, origin.cpu, origin.command, table::aligned(&lines));
    Ok(())
}

fn find<'a>(programs: &'a [Program], name: &str) -> Result<&'a Program> {
    let is_it = |program: &&Program| program.name == name && program.style == Style::Ordinary;
    programs.iter().find(is_it).ok_or_else(|| format!("there is no {name}"))
}

fn row(name: &str) -> Result<&'static Row> {
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("there is no row {name}"))
}

fn head() -> Vec<String> {
    ["", "bytes there", "bytes back", "p50 µs, 1", "calls/s, 1", "p50 µs, 50", "calls/s, 50"]
        .map(str::to_owned)
        .to_vec()
}

fn line(label: &str, one: &Entry, fifty: &Entry) -> Vec<String> {
    let figure = |entry: &Entry, name: &str| {
        entry.get(name).map_or(String::new(), |value| format!("{value:.0}"))
    };
    vec![
        label.to_owned(),
        figure(one, "bytes_out"),
        figure(one, "bytes_in"),
        figure(one, "p50_us"),
        figure(one, "rate"),
        figure(fifty, "p50_us"),
        figure(fifty, "rate"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::entry;
    use super::*;

    #[test]
    fn every_row_is_there() {
        for (_, _, rows) in LINES {
            assert!(rows.iter().all(|name| row(name).is_ok()));
        }
        assert!(row("no such row").is_err());
        assert!(find(&[], "axum").is_err());
    }

    #[test]
    fn a_line_has_a_cell_for_each_head() {
        let one = entry("unary-1x1", "gannet", &[("bytes_in", 97.6), ("rate", 1e4)]);
        let cells = line("gRPC", &one, &one);
        assert_eq!(cells.len(), head().len());
        assert_eq!((cells[2].as_str(), cells[4].as_str(), cells[3].as_str()), ("98", "10000", ""));
    }
}
