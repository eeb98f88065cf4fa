//! The soak, for some seconds, without the others: its operations succeed, its figures are taken,
//! and a signal ends it with its report.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_short_soak_passes_and_a_signal_ends_it_with_its_report() {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"));
    // A debug build is slow, and other tests run beside it: memory is judged in long runs.
    soak.args(["run", "--minutes=60", "--rate=15", "--every=5", "--growth-kib-max=1000000"]);
    let mut soak = soak.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(soak.stdout.take().unwrap()).lines().map(Result::unwrap);
    let figures = lines.find(|line| line.contains("operations")).unwrap();
    assert!(figures.contains("client") && figures.contains("server"), "{figures}");
    kill(Pid::from_raw(soak.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let rest: Vec<_> = lines.collect();
    let mut told = String::new();
    soak.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(soak.wait().unwrap().success(), "{told}\n{rest:#?}");
    assert!(rest.iter().any(|line| line.ends_with("small->gannet")), "{rest:#?}");
    assert_eq!(rest.last().unwrap(), "passed");
}
