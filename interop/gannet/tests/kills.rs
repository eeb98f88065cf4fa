//! Ten servers behind one channel, of which some die, and some accept and never answer: short runs
//! of `kills`.

use std::process::Command;

fn run(fault: &str, rounds: &str) {
    let mut kills = Command::new(env!("CARGO_BIN_EXE_kills"));
    kills.args(["run", "--fault", fault, "--rounds", rounds, "--calls", "6400"]);
    let output = kills.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{printed}");
    assert!(printed.contains("calls answered"), "{printed}");
}

#[test]
fn only_calls_on_the_dead_connection_fail_and_turns_are_even() {
    run("killed", "4");
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
