//! Suites of HTTP/2 tests that others wrote: h2spec and httpwg.
//!
//! Only runs them and reads their score; against Gannet nothing may fail.

use std::process::Command;
use std::time::Duration;

use super::Note;
use super::http::HELLO_PATH;
use super::process::{self, Ended, Ready, Server};
use super::setup::Tools;
use crate::exec::Result;

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// github.com/summerwind/h2spec: RFC 7540 and 7541.
    H2spec,
    /// The crate httpwg: RFC 9113.
    Httpwg,
}

/// Fewer tests than this means that the suite did not run, or that its output was misread.
const TESTS_MIN: u32 = 100;

/// The one test of httpwg that a gRPC server cannot pass: it posts to `/` with `te: trailers` and
/// no content type, and wants status 200, where gRPC asks for 415 (PROTOCOL-HTTP2, "Requests").
/// That `te: trailers` is accepted is shown by every call of every gRPC client.
const NOT_FOR_GRPC: &str = "sends headers frame with te trailers";

impl Suite {
    pub(super) const ALL: &'static [Self] = &[Self::H2spec, Self::Httpwg];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H2spec => "h2spec",
            Self::Httpwg => "httpwg",
        }
    }

    fn command(self, tools: &Tools, port: u16, tls: bool) -> Command {
        let mut command = Command::new(tools.bin().join(self.name()));
        match self {
            Self::H2spec => command
                .args(["--strict", "--timeout", "1", "--host", "127.0.0.1"])
                .args(["--path", HELLO_PATH, "--port", &port.to_string()])
                .args(tls.then_some(["--tls", "--insecure"]).into_iter().flatten()),
            // One after the other: its time limits are short, and all at once is another test.
            Self::Httpwg => {
                command.args(["--address", &format!("127.0.0.1:{port}")]).env("SEQUENTIAL", "1")
            }
        };
        command
    }

    fn score(self, output: &str) -> Option<Score> {
        output.lines().rev().find_map(match self {
            Self::H2spec => h2spec_score,
            Self::Httpwg => httpwg_score,
        })
    }

    /// Whether the one failure is [`NOT_FOR_GRPC`], and because we answered 415.
    fn failed_as_grpc_must(self, output: &str) -> bool {
        let passed = |line: &str| line.contains("Test passed") && line.contains(NOT_FOR_GRPC);
        self == Self::Httpwg
            && !output.contains("Test failed")
            && !output.lines().any(passed)
            && output.contains("left: 415")
    }

    /// Lines of the output that belong to tests that failed.
    fn failures(self, output: &str) -> String {
        let (first, also): (&str, &[&str]) = match self {
            Self::H2spec => ("×", &["->", "Expected:", "Actual:"]),
            Self::Httpwg => ("❌", &["Caused", "Error", "0:", "1:"]),
        };
        let shown = |line: &&str| {
            let line = line.trim_start();
            line.contains(first) || also.iter().any(|start| line.starts_with(start))
        };
        output.lines().filter(shown).collect::<Vec<_>>().join("\n")
    }
}

/// Runs one suite. Unless `strict`, tests may fail; that it finishes is all that is asked.
pub(super) fn run(
    (suite, strict): (Suite, bool),
    tools: &Tools,
    (port, tls): (u16, bool),
    limit: Duration,
) -> Result<Note> {
    // httpwg knows no TLS: it talks to a forwarder that does.
    let forwarder = match suite {
        Suite::Httpwg if tls => Some(forwarder(tools, port, limit)?),
        _ => None,
    };
    let port = forwarder.as_ref().map_or(port, Server::port);
    let Ended { status, output } = process::run(suite.command(tools, port, tls), limit)?;
    let output = without_colour(&output);
    let score = suite.score(&output).filter(|score| score.tests >= TESTS_MIN);
    let score = score.ok_or_else(|| format!("{status}, and no score in its output:\n{output}"))?;
    let note = score.to_string();
    if strict && score.failed() == 1 && suite.failed_as_grpc_must(&output) {
        return Ok(format!("{note}: it wants 200 for what is no gRPC"));
    }
    if strict && (score.failed() > 0 || !status.success()) {
        return Err(format!("{note}\n{}", suite.failures(&output)));
    }
    Ok(note)
}

/// A program that forwards plaintext to the server's port over TLS.
fn forwarder(tools: &Tools, port: u16, limit: Duration) -> Result<Server> {
    let command = |own: u16| {
        let mut command = Command::new(tools.go_programs().join("tls_forwarder"));
        command.args(["--addr", &format!("127.0.0.1:{own}")]);
        command.args(["--to", &format!("127.0.0.1:{port}")]);
        command
    };
    Server::start(command, Ready::Says, limit)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Score {
    tests: u32,
    passed: u32,
    skipped: u32,
}

impl Score {
    fn failed(self) -> u32 {
        self.tests.saturating_sub(self.passed).saturating_sub(self.skipped)
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tests, passed, skipped } = self;
        write!(f, "{passed} of {tests} passed, {skipped} skipped, {} failed", self.failed())
    }
}

/// `146 tests, 112 passed, 5 skipped, 29 failed`.
fn h2spec_score(line: &str) -> Option<Score> {
    let count = |what: &str| {
        let part = line.split(',').find(|part| part.trim().ends_with(what))?;
        part.split_whitespace().next()?.parse().ok()
    };
    Some(Score { tests: count("tests")?, passed: count("passed")?, skipped: count("skipped")? })
}

/// `Passed 68/107 tests in 0.34 seconds against …`.
fn httpwg_score(line: &str) -> Option<Score> {
    let (_, rest) = line.split_once("Passed ")?;
    let (passed, tests) = rest.split_whitespace().next()?.split_once('/')?;
    Some(Score { tests: tests.parse().ok()?, passed: passed.parse().ok()?, skipped: 0 })
}

/// `text` without the escape sequences of terminals.
fn without_colour(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = escaped.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.get(1..).unwrap_or_default();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read() {
        let score = Suite::H2spec.score("Finished\n146 tests, 112 passed, 5 skipped, 29 failed\n");
        assert_eq!(score, Some(Score { tests: 146, passed: 112, skipped: 5 }));
        assert_eq!(score.unwrap().failed(), 29);
        let line = "Passed \u{1b}[1;32m68/107\u{1b}[0m tests in \u{1b}[1;33m0.34\u{1b}[0m seconds";
        let score = Suite::Httpwg.score(&without_colour(line));
        assert_eq!(score, Some(Score { tests: 107, passed: 68, skipped: 0 }));
        assert_eq!(Suite::H2spec.score("Error: connection refused"), None);
        assert_eq!(Suite::Httpwg.score("No address specified"), None);
    }

    #[test]
    fn one_test_is_not_for_grpc_and_no_other() {
        let panicked = "Test passed: a\n  left: 415\n right: 200\n";
        assert!(Suite::Httpwg.failed_as_grpc_must(panicked));
        assert!(!Suite::H2spec.failed_as_grpc_must(panicked));
        assert!(!Suite::Httpwg.failed_as_grpc_must("Test passed: a\n  left: 500\n"));
        let other = format!("{panicked}Test failed: b");
        assert!(!Suite::Httpwg.failed_as_grpc_must(&other));
        let passed = format!("{panicked}Test passed: {NOT_FOR_GRPC}");
        assert!(!Suite::Httpwg.failed_as_grpc_must(&passed));
    }

    #[test]
    fn only_failures_are_shown() {
        let output = "    ✔ 1: fine\n    × 2: Sends a frame\n    -> MUST\n  3. Next\n";
        assert_eq!(Suite::H2spec.failures(output), "    × 2: Sends a frame\n    -> MUST");
    }
}
