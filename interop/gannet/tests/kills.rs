//! Ten servers behind one channel, of which some die, and some accept and never answer: short runs
//! of `kills`. Only one goes by the clock, and nothing of it is judged by that.

use std::process::Command;

/// What is printed where all holds.
fn kills(flags: &[&str]) -> String {
    let mut kills = Command::new(env!("CARGO_BIN_EXE_kills"));
    let output = kills.arg("run").args(flags).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{printed}");
    assert!(printed.contains("calls answered"), "{printed}");
    printed
}

fn run(fault: &str, rounds: &str) {
    kills(&["--fault", fault, "--rounds", rounds, "--calls", "6400"]);
}

/// How many times without an event had calls enough to tell one per cent.
fn judged(printed: &str) -> u32 {
    let (_, rest) = printed.split_once("in the worst of ").expect(printed);
    rest.split_once(' ').expect(printed).0.parse().expect(printed)
}

#[test]
fn only_calls_on_the_dead_connection_fail_and_turns_are_even() {
    // Before each kill, while one is dead, and at the end: a thousand to each server, and more.
    let printed = kills(&["--fault", "killed", "--rounds", "2", "--calls", "12000"]);
    assert!(judged(&printed) >= 3, "{printed}");
}

#[test]
fn one_is_killed_each_second_whatever_else_there_is() {
    kills(&["--seconds", "4"]);
}

#[test]
fn a_server_that_falls_silent_is_found_by_keepalive() {
    run("silent", "1");
}

#[test]
fn a_server_that_never_sends_its_settings_is_found_by_the_limit_on_attempts() {
    run("no-settings", "1");
}

#[test]
fn a_server_that_answers_pings_and_no_calls_is_found_by_its_health() {
    run("not-serving", "2");
}

#[test]
fn a_server_that_says_nothing_of_its_health_gets_no_calls() {
    run("no-health", "1");
}
