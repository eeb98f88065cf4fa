//! Prometheus fetches what a replica counts once a second, while a client calls it at a rate that
//! is known; what Prometheus then says the rate is, must be that.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::caller;
use crate::exec::Result;
use crate::install::{create, with_path};
use crate::interop::Note;
use crate::interop::peers;
use crate::interop::process::{self, Ready, Server};
use crate::interop::setup::Tools;

/// Calls each second.
const RATE: u32 = 40;
/// How long the client calls.
const LOAD: Duration = Duration::from_secs(26);
/// What Prometheus looks at, all of it within the load: so long, and until so long ago. What it has
/// fetched last may not be in its database yet, and it takes a rate for a lower one then.
const WINDOW: &str = "[20s] offset 2s";
/// From the load's beginning to the question.
const ASKED_AFTER: Duration = Duration::from_secs(25);
/// How often Prometheus is asked whether it has found the replica.
const POLL_UP: Duration = Duration::from_millis(100);
/// By how much either side may differ from what it should be.
const TOLERANCE: f64 = 0.02;
const CONFIG: &str = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n";

pub(super) fn run(tools: &Tools, replica: &Server, limit: Duration) -> Result<Note> {
    let metrics = peers::greeter_address(replica, "metrics", limit)?;
    let folder = tools.scratch("prometheus");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    create(&folder)?;
    let config = folder.join("prometheus.yml");
    let job = format!("- job_name: greeter\n  static_configs:\n  - targets: ['{metrics}']\n");
    fs::write(&config, format!("{CONFIG}{job}"))
        .map_err(|error| format!("{}: {error}", config.display()))?;
    let server = Server::start(|port| prometheus(&folder, &config, port), Ready::Accepts, limit)?;

    wait_until_up(&server, limit)?;
    let target = format!("ipv4:{}:{}", Ipv4Addr::LOCALHOST, replica.port());
    let count = u64::from(RATE) * LOAD.as_secs();
    let mut load = caller(tools, &target);
    load.args(["--quiet", &format!("--rate={RATE}"), &format!("--count={count}")]);
    let load = thread::spawn(move || process::run(load, limit)?.success());
    thread::sleep(ASKED_AFTER);
    let seen = rate(server.port(), limit);
    let told = load.join().map_err(|_| "the load's thread panicked")??;
    let seen = seen.map_err(|error| format!("{error}{}", server.recent_output()))?;
    judge(seen, count, &told)
}

fn prometheus(folder: &Path, config: &Path, port: u16) -> Command {
    let mut command = Command::new("prometheus");
    command.arg(with_path("--config.file=", config));
    command.arg(with_path("--storage.tsdb.path=", &folder.join("data")));
    command.arg(format!("--web.listen-address={}:{port}", Ipv4Addr::LOCALHOST));
    command
}

/// It finds its targets some seconds after its start.
fn wait_until_up(server: &Server, limit: Duration) -> Result {
    let end = Instant::now() + limit;
    // An answer that has no number, or none at all, is one that comes too early.
    while ask(server.port(), "up", limit).ok() != Some(1.0) {
        if Instant::now() >= end {
            return Err(format!("it never reached the replica{}", server.recent_output()));
        }
        thread::sleep(POLL_UP);
    }
    Ok(())
}

/// What Prometheus says the rate of calls is that succeeded.
fn rate(port: u16, limit: Duration) -> Result<f64> {
    let labels = r#"grpc_method="greeter.Greeter/Greet",grpc_status="OK""#;
    let count = format!("grpc_server_call_duration_seconds_count{{{labels}}}");
    ask(port, &format!("sum(rate({count}{WINDOW}))"), limit)
}

fn ask(port: u16, query: &str, limit: Duration) -> Result<f64> {
    let query = format!("query={query}");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--get", "--data-urlencode", &query]);
    curl.arg(format!("http://{}:{port}/api/v1/query", Ipv4Addr::LOCALHOST));
    let answer = process::run(curl, limit)?.success()?;
    value(&answer).ok_or_else(|| format!("Prometheus says `{}` of `{query}`", answer.trim()))
}

/// The number in an answer that is one: `…"value":[1795000000.1,"40.02"]…`.
fn value(answer: &str) -> Option<f64> {
    let (_, value) = answer.split_once(r#""value":["#)?;
    let (_, number) = value.split_once('"')?;
    number.split_once('"')?.0.parse().ok()
}

/// What the client tells: that one replica answered all calls, and how many began each second.
fn made(told: &str, count: u64) -> Option<f64> {
    let rate = told.trim().strip_prefix(&format!("{count}  replica\n"))?;
    rate.trim().strip_suffix(" calls each second")?.parse().ok()
}

fn judge(seen: f64, count: u64, told: &str) -> Result<Note> {
    let made = made(told, count).ok_or_else(|| format!("of {count} calls:\n{told}"))?;
    let rate = f64::from(RATE);
    let note = format!("{seen:.2}/s seen, {rate:.2}/s called, {made:.2}/s by the client's clock");
    let is_close = |number: f64| (number / rate - 1.0).abs() <= TOLERANCE;
    if is_close(seen) && is_close(made) { Ok(note) } else { Err(note) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_answer() {
        let answer = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},
            "value":[1795000000.123,"40.0210526315"]}]}}"#;
        assert_eq!(value(answer), Some(40.0210526315));
        assert_eq!(value(r#"{"status":"success","data":{"result":[]}}"#), None);
        assert_eq!(value(r#"{"value":[1,"NaN"]}"#).map(f64::is_nan), Some(true));
    }

    #[test]
    fn two_in_a_hundred_are_too_many() {
        let judged = |seen, rate: f64| {
            let told = format!("  1040  replica\n{rate:>9.2} calls each second\n");
            judge(seen, 1_040, &told).map(|_| ())
        };
        assert_eq!(judged(40.7, 40.0), Ok(()));
        assert!(judged(40.9, 40.0).is_err());
        assert!(judged(39.1, 40.0).is_err());
        assert!(judged(f64::NAN, 40.0).is_err());
        assert!(judged(40.0, 39.1).is_err());
        let failed = "  1039  replica\n     1  failed: UNAVAILABLE\n    40.00 calls each second\n";
        assert!(judge(40.0, 1_040, failed).is_err());
        assert!(judge(40.0, 1_040, "  1040  replica\n").is_err());
    }
}
