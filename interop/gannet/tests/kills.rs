//! Ten servers behind one channel, of which some die, and one falls silent: a short run of `kills`.

use std::process::Command;

fn run(args: &[&str]) {
    let mut kills = Command::new(env!("CARGO_BIN_EXE_kills"));
    let output = kills.arg("run").args(args).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{printed}");
    assert!(printed.contains("calls answered"), "{printed}");
}

#[test]
fn only_calls_on_the_dead_connection_fail_and_turns_are_even() {
    run(&["--rounds", "4", "--calls", "6400"]);
}

#[test]
fn a_server_that_falls_silent_is_found_by_keepalive() {
    run(&["--rounds", "1", "--calls", "6400", "--stall"]);
}
