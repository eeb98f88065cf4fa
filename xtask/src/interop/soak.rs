//! `cargo xtask soak`: builds the soak of `interop/gannet/src/bin/soak`, and starts it with the
//! others' programs.

use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::plan::{self, Extent};
use super::setup::{self, Tools};
use crate::exec::{self, Result};

/// Flags of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long, in minutes; SIGINT or SIGTERM ends it sooner, with its report.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Operations that our client begins each second, of one or many calls.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// How long one of ten servers is killed each second, under calls of four threads, before; 0 is
    /// not at all.
    #[arg(long, default_value_t = 10)]
    kills_seconds: usize,
    /// Passed on to the program: see `soak run --help`.
    #[arg(last = true)]
    more: Vec<String>,
}

/// The checks that need what the soak needs.
const LIKE: &[&str] = &["python->gannet/unary", "go->gannet/unary", "go->gannet/official-tls/rpc"];

/// Prepares, and becomes the soak: signals reach it.
pub(crate) fn run(args: &Args) -> Result {
    let groups = LIKE
        .iter()
        .flat_map(|only| plan::plan(false, Extent::Quick, Some(only)))
        .collect::<Vec<_>>();
    let tools = setup::prepare(&groups)?;
    let build = ["build", "--release", "-p", "gannet-interop", "--features", "long"];
    exec::run(exec::cargo(build).args(["--bin", "soak", "--bin", "kills"]))?;
    if args.kills_seconds > 0 {
        exec::run(&mut kills(&tools, args.kills_seconds))?;
    }
    let mut command = soak(&tools, args);
    let shown = exec::show(&command);
    let error = command.exec();
    Err(format!("cannot start `{shown}`: {error}"))
}

/// By the clock, and on several threads: turns are judged over all of them together.
fn kills(tools: &Tools, seconds: usize) -> Command {
    let mut command = Command::new(tools.gannet.join("kills"));
    command.args(["run", "--workers=4"]).arg(format!("--seconds={seconds}"));
    command
}

fn soak(tools: &Tools, args: &Args) -> Command {
    let go = tools.go_programs();
    let python = format!(
        "env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={} {} {}",
        tools.python_stubs().display(),
        tools.python().display(),
        exec::root().join("interop/python").display(),
    );
    let servers = [
        format!("go={}/echo_server --addr 127.0.0.1:{{port}} {AGE}", go.display()),
        format!("python={python}/echo_server.py --addr 127.0.0.1:{{port}} {AGE}"),
    ];
    let case = "--addr 127.0.0.1:{port} --case {case}";
    let official = |name: &str, flags: &dyn Display| {
        let program = tools.official_go().join("client");
        format!("{name}={} --server_host=127.0.0.1 {SOAK_FLAGS} {flags}", program.display())
    };
    let ca_file = tools.certificates().join("ca.pem");
    let tls = format!(
        "--server_port={{tls}} --use_tls=true --use_test_ca=true --ca_file={} \
         --server_host_override=foo.test.google.fr",
        ca_file.display()
    );
    let clients = [
        format!("go={}/echo_client {case}", go.display()),
        format!("python={python}/echo_client.py {case}"),
        official("go, rpc_soak", &"--server_port={port} --test_case=rpc_soak"),
        official("go, channel_soak over TLS", &format!("{tls} --test_case=channel_soak")),
    ];
    let mut command = Command::new(tools.gannet.join("soak"));
    command.arg("run").arg(format!("--minutes={}", args.minutes));
    command.arg(format!("--rate={}", args.rate));
    command.arg("--certificates").arg(tools.certificates());
    command.args(servers.iter().flat_map(|server| ["--server", server]));
    command.args(clients.iter().flat_map(|client| ["--client", client]));
    command.args(&args.more);
    command
}

/// The others' servers end connections for their age, too.
const AGE: &str = "--max-connection-age-ms=5000";

/// Small messages, and a pause between them: a run takes some seconds.
const SOAK_FLAGS: &str = "--soak_iterations=30 --soak_max_failures=0 \
    --soak_per_iteration_max_acceptable_latency_ms=20000 --soak_overall_timeout_seconds=100 \
    --soak_min_time_ms_between_rpcs=200 --soak_request_size=20000 --soak_response_size=30000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_soak_is_told() {
        let args =
            Args { minutes: 2.5, rate: 7.0, more: vec!["--every=5".into()], kills_seconds: 3 };
        let shown = exec::show(&soak(&Tools::nowhere(), &args));
        for part in [
            "no/such/folder/soak run --minutes=2.5 --rate=7",
            "--server go=no/such/folder/go-programs/echo_server --addr 127.0.0.1:{port}",
            "echo_client.py --addr 127.0.0.1:{port} --case {case}",
            "--server_port={tls} --use_tls=true",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(shown.ends_with("--every=5"), "{shown}");
        let shown = exec::show(&kills(&Tools::nowhere(), args.kills_seconds));
        assert!(shown.ends_with("no/such/folder/kills run --workers=4 --seconds=3"), "{shown}");
    }

    #[test]
    fn each_check_that_stands_for_a_need_exists() {
        for only in LIKE {
            assert!(!plan::plan(false, Extent::Quick, Some(only)).is_empty(), "{only}");
        }
    }
}
