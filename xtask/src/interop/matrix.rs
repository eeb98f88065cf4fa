//! interop/MATRIX.md: the outcome of the official cases, by case, peer and direction.
//!
//! Holds nothing that differs from one run to the next unless an outcome does.

use std::collections::BTreeMap;

use super::Note;
use super::official::{self, Case, LEFT_OUT};
use super::plan::Peer;
use super::suites::Suite;
use crate::exec::{self, Result};

/// The name of each check, and its note where it passed.
type Results = BTreeMap<String, Option<Note>>;

/// Writes the table into the repository.
pub(super) fn write(results: &Results) -> Result {
    let file = exec::root().join("interop/MATRIX.md");
    std::fs::write(&file, text(results))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn text(results: &Results) -> String {
    let mut text = String::from(INTRODUCTION);
    for tls in [false, true] {
        let title = if tls { "Over TLS" } else { "In plaintext" };
        text += &format!("\n## {title}\n\n{}", table(results, tls));
    }
    text += "\n## HTTP/2 suites against Gannet's server\n\n| suite | plaintext | TLS |\n";
    text += "| --- | --- | --- |\n";
    for suite in Suite::ALL.iter().map(|suite| suite.name()) {
        let of = |case| cell(results, &format!("{suite}->gannet/{case}"));
        text += &format!("| {suite} | {} | {} |\n", of("all"), of("tls"));
    }
    text += "\n## What is not in the tables\n\n";
    for (cases, why) in LEFT_OUT {
        text += &wrapped(&format!("- {cases}: {why}"));
    }
    text
}

/// The words of an item, in lines of a width.
fn wrapped(item: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in item.split(' ') {
        let width = word.chars().count() + 1;
        if column + width > COLUMNS_MAX {
            text += "\n ";
            column = 1;
        }
        if column > 0 {
            text.push(' ');
        }
        text += word;
        column += width;
    }
    text + "\n"
}

const COLUMNS_MAX: usize = 100;

const INTRODUCTION: &str = "\
# Official interop cases

Written by `cargo xtask interop --all`: do not edit. How the programs are called, and what they are,
README.md says.

Each cell: Gannet's client against the peer's server, then the peer's client against Gannet's.
`ok`: it passed; `FAILED`: it did not; `-`: one of the two programs does not have the case.
";

/// Cases × peers, each with both directions.
fn table(results: &Results, tls: bool) -> String {
    let folder = if tls { "official-tls" } else { "official" };
    let peers = official::PEERS;
    let mut table = String::from("| case |");
    peers.iter().for_each(|peer| table += &format!(" {} |", peer.name()));
    table += &format!("\n| --- |{}\n", " --- |".repeat(peers.len()));
    for Case { name, .. } in official::CASES {
        table += &format!("| `{name}` |");
        for peer in peers.iter().map(|peer| peer.name()) {
            let of = |pair: String| cell(results, &format!("{pair}/{folder}/{name}"));
            let gannet = Peer::Gannet.name();
            let to = of(format!("{gannet}->{peer}"));
            let from = of(format!("{peer}->{gannet}"));
            table += &if peer == gannet { format!(" {to} |") } else { format!(" {to}, {from} |") };
        }
        table.push('\n');
    }
    table
}

fn cell(results: &Results, name: &str) -> String {
    match results.get(name) {
        None => "-".into(),
        Some(None) => "FAILED".into(),
        Some(Some(note)) if note.is_empty() => "ok".into(),
        Some(Some(note)) => note.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_items_are_wrapped() {
        let item = format!("- {}: {}", "case ".repeat(10).trim(), "why ".repeat(40).trim());
        let text = wrapped(&item);
        assert!(text.lines().all(|line| line.len() <= COLUMNS_MAX), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("  why")), "{text}");
        assert_eq!(text.split_whitespace().count(), item.split_whitespace().count());
    }

    #[test]
    fn each_direction_has_its_outcome() {
        let passed = |name: &str| (name.to_string(), Some(Note::new()));
        let mut results = Results::from([
            passed("gannet->gannet/official/ping_pong"),
            passed("gannet->go/official/ping_pong"),
            passed("cpp->gannet/official/ping_pong"),
        ]);
        results.insert("go->gannet/official/ping_pong".into(), None);
        results.insert("h2spec->gannet/tls".into(), Some("146 of 146".into()));
        let text = text(&results);
        let row = text.lines().find(|line| line.starts_with("| `ping_pong`")).unwrap();
        assert_eq!(row, "| `ping_pong` | ok | ok, FAILED | -, - | -, - | -, - | -, ok |");
        assert!(text.contains("| h2spec | - | 146 of 146 |"), "{text}");
    }
}
