//! One measurement of one program in one row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::{Caller, Row, Unit};
use super::programs::{FLOOR, Program, Style, release};
use super::serving::Serving;
use super::{callgrind, certificate, json, process};
use crate::exec::{self, Result};

/// Figures by name. `rate` is units per second; `cpu_us`, `syscalls`, `instructions`, `allocations`
/// are per unit and of the program under test; shares are of one core; `held_bytes` is per thing
/// that is held open.
pub(super) type Sample = BTreeMap<&'static str, f64>;

/// Where the two sides run.
const TEST_CORE: &str = "0";
const OTHER_CORE: &str = "1";
const WARM_UP_SECONDS: &str = "0.4";
const STRACE_SECONDS: &str = "0.5";
/// Callgrind's two runs, in calls.
const COUNTED_CALLS: [u64; 2] = [4_000, 12_000];
/// What settles after everything was opened.
const SETTLE: Duration = Duration::from_millis(500);

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) seconds: f64,
    /// Each side has a core of its own.
    pub(super) pinned: bool,
}

/// Measures once.
pub(super) fn measure(program: &Program, row: &Row, settings: Settings) -> Result<Sample> {
    match (row.caller, row.unit) {
        (Caller::Client(mode, in_flight), _) => client(program, row, mode, in_flight, settings),
        (Caller::Load(..), Unit::Held) => held(program, row, settings),
        (Caller::Load(..), _) => server(program, row, settings),
    }
}

/// A command with the words of a program, on a core where that is wanted.
fn on_core<S: AsRef<std::ffi::OsStr>>(words: &[S], core: &str, pinned: bool) -> Command {
    let mut command = match words {
        [program, ..] if !pinned => Command::new(program),
        _ => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", core]);
            taskset
        }
    };
    command.args(if pinned { words } else { &words[1..] });
    command
}

/// The server under test with its flags.
fn server_command(program: &Program, row: &Row, pinned: bool) -> Command {
    let mut command = on_core(program.words(), TEST_CORE, pinned);
    command.args(["--addr", "127.0.0.1:0"]);
    let threads = row.threads.to_string();
    match program.style {
        Style::Ordinary => command.args(["--threads", &threads]),
        Style::CurrentThread => command.args(["--threads", "0"]),
        Style::Canned => command.args(row.canned),
        Style::Raw => &mut command,
    };
    if row.tls {
        command.arg("--tls-cert").arg(certificate::file());
        command.arg("--tls-key").arg(certificate::key_file());
    }
    command
}

/// The generator with its flags, for so long.
fn load_command(program: &Program, row: &Row, addr: &str, pinned: bool) -> Command {
    let Caller::Load(scenario, connections, in_flight) = row.caller else {
        unreachable!("a row of a client has no generator")
    };
    let words = match program.style {
        Style::Raw => vec![program.words()[0].clone()],
        _ => vec![release("gannet-load").into()],
    };
    let mut command = on_core(&words, OTHER_CORE, pinned);
    match program.style {
        Style::Raw => command.args(["--connect", addr]),
        _ => command.args(["--addr", addr, "--scenario", scenario]),
    };
    let (connections, in_flight) = (connections.to_string(), in_flight.to_string());
    if program.style != Style::Raw {
        command.args(["--connections", &connections]);
    }
    command.args(["--in-flight", &in_flight]);
    if row.tls {
        command.arg("--tls-ca").arg(certificate::file());
    }
    command
}

fn is_pinned(row: &Row, settings: Settings) -> bool {
    settings.pinned && row.threads == 1
}

fn server(program: &Program, row: &Row, settings: Settings) -> Result<Sample> {
    let pinned = is_pinned(row, settings);
    let serving = Serving::start(server_command(program, row, pinned))?;
    let seconds = settings.seconds.to_string();
    let mut warm_up = load_command(program, row, serving.addr(), pinned);
    exec::output(warm_up.args(["--seconds", WARM_UP_SECONDS]))?;
    let before = process::cpu_seconds(serving.pid())?;
    let mut load = load_command(program, row, serving.addr(), pinned);
    let said = json::numbers(&exec::output(load.args(["--seconds", &seconds]))?)?;
    let cpu = process::cpu_seconds(serving.pid())? - before;
    let resident = process::resident_kib(serving.pid())?;
    serving.end()?;
    let mut sample = figures(row, &said, cpu)?;
    let elapsed = get(&said, "elapsed_s")?;
    sample.insert("server_share", cpu / elapsed);
    sample.insert("generator_share", get(&said, "cpu_s")? / elapsed);
    sample.insert("resident_kib", resident);
    for (name, bytes) in [("bytes_in", "bytes_in"), ("bytes_out", "bytes_out")] {
        if let Some(bytes) = said.get(bytes) {
            sample.insert(name, bytes / units(row, &said)?);
        }
    }
    Ok(sample)
}

fn client(
    program: &Program,
    row: &Row,
    mode: &str,
    in_flight: u32,
    settings: Settings,
) -> Result<Sample> {
    let canned = [release("canned-server")];
    let pinned = is_pinned(row, settings);
    let mut command = on_core(&canned, OTHER_CORE, pinned);
    command.args(["--addr", "127.0.0.1:0"]).args(row.canned);
    let serving = Serving::start(command)?;
    let mut caller = on_core(program.words(), TEST_CORE, pinned);
    caller.args(["--addr", serving.addr(), "--in-flight", &in_flight.to_string()]);
    caller.args(["--seconds", &settings.seconds.to_string(), "--mode", mode]);
    caller.args(["--threads", &row.threads.to_string()]);
    caller.args(["--warm-up-seconds", WARM_UP_SECONDS]);
    let begun = Instant::now();
    let said = json::numbers(&exec::output(&mut caller)?)?;
    let whole = begun.elapsed().as_secs_f64();
    let server_cpu = process::cpu_seconds(serving.pid())?;
    serving.end()?;
    let cpu = get(&said, "cpu_s")?;
    let mut sample = figures(row, &said, cpu)?;
    sample.insert("generator_share", cpu / get(&said, "elapsed_s")?);
    sample.insert("server_share", server_cpu / whole);
    Ok(sample)
}

/// What both kinds of rows have: rate, processor time, latencies.
fn figures(row: &Row, said: &BTreeMap<String, f64>, cpu: f64) -> Result<Sample> {
    let units = units(row, said)?;
    let mut sample = Sample::new();
    sample.insert("rate", units / get(said, "elapsed_s")?);
    sample.insert("cpu_us", cpu * 1e6 / units);
    for name in ["p50_us", "p99_us", "p999_us"] {
        sample.insert(name, get(said, name)?);
    }
    Ok(sample)
}

fn units(row: &Row, said: &BTreeMap<String, f64>) -> Result<f64> {
    let units = match row.unit {
        Unit::Call => get(said, "calls")?,
        _ => get(said, "messages")?,
    };
    if units > 0.0 { Ok(units) } else { Err("not one call was made".into()) }
}

fn get(said: &BTreeMap<String, f64>, name: &str) -> Result<f64> {
    said.get(name).copied().ok_or_else(|| format!("no {name} was told"))
}

/// Memory of what is held open: resident memory after all was opened, less that after one call.
fn held(program: &Program, row: &Row, settings: Settings) -> Result<Sample> {
    let pinned = is_pinned(row, settings);
    let serving = Serving::start(server_command(program, row, pinned))?;
    if program.name != FLOOR {
        let mut one = Command::new(release("gannet-load"));
        one.args(["--addr", serving.addr(), "--calls", "1", "--in-flight", "1"]);
        exec::output(&mut one)?;
    }
    let before = process::resident_kib(serving.pid())?;
    let load = load_command(program, row, serving.addr(), pinned);
    let holding = Serving::start_saying(load, "ready")?;
    thread::sleep(SETTLE);
    let after = process::resident_kib(serving.pid())?;
    holding.end()?;
    serving.end()?;
    let mut sample = Sample::new();
    sample.insert("resident_kib", after);
    sample.insert("held_bytes", (after - before) * 1024.0 / row.held());
    Ok(sample)
}

/// System calls per unit, where strace is there: in a short run of its own, which it slows.
pub(super) fn syscalls(program: &Program, row: &Row) -> Result<f64> {
    let strace = exec::find("strace").ok_or("there is no strace")?;
    let serving = Serving::start(server_command(program, row, false))?;
    let mut warm_up = load_command(program, row, serving.addr(), false);
    exec::output(warm_up.args(["--seconds", "0.1"]))?;
    let file: PathBuf = exec::root().join("target/bench/strace.txt");
    let mut tracer = Command::new(strace);
    tracer.args(["-f", "-c", "-p", &serving.pid().to_string(), "-o"]).arg(&file);
    tracer.stdin(Stdio::null()).stderr(Stdio::null());
    let mut tracer = tracer.spawn().map_err(|error| format!("strace: {error}"))?;
    thread::sleep(SETTLE);
    let mut load = load_command(program, row, serving.addr(), false);
    let said = exec::output(load.args(["--seconds", STRACE_SECONDS]));
    // Interrupted, it writes its table.
    let interrupted = exec::output(Command::new("kill").args(["-INT", &tracer.id().to_string()]));
    tracer.wait().map_err(|error| format!("strace: {error}"))?;
    interrupted?;
    serving.end()?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("strace: {error}"))?;
    let total = total_syscalls(&text).ok_or("strace has told no total")?;
    Ok(total / units(row, &json::numbers(&said?)?)?)
}

/// The column `calls` of the line `total`.
fn total_syscalls(text: &str) -> Option<f64> {
    let line = text.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// What is counted of Gannet: its server with methods told where to run. Otherwise polls that
/// callgrind makes slow would move them to other threads, in one run and not in the next.
const COUNTED_SERVER: &str = "count-server";

/// Instructions and allocations per call by callgrind: the difference of two runs in lockstep.
pub(super) fn counts(program: &Program, row: &Row) -> Result<[f64; 2]> {
    let file = exec::root().join("target/bench/callgrind.out");
    let is_ours = program.name == "gannet";
    if is_ours {
        let args = ["build", "--release", "--quiet", "-p", "gannet-interop", "--bin"];
        exec::run(exec::cargo(args).arg(COUNTED_SERVER))?;
    }
    let profile = |calls: u64| {
        let _ = std::fs::remove_file(&file);
        let plain = if is_ours {
            let mut command = Command::new(release(COUNTED_SERVER));
            command.args(["--workers", &row.threads.to_string()]);
            command
        } else {
            server_command(program, row, false)
        };
        let mut command = callgrind::command(plain.get_program().as_ref(), &file);
        command.args(plain.get_args());
        let serving = Serving::start(command)?;
        let mut load = load_command(program, row, serving.addr(), false);
        exec::output(load.args(["--lockstep", "--calls", &calls.to_string()]))?;
        serving.end()?;
        callgrind::Profile::read(&file)
    };
    let [less, more] = COUNTED_CALLS.map(profile);
    let (less, more) = (less?, more?);
    let calls = (COUNTED_CALLS[1] - COUNTED_CALLS[0]) as f64;
    let per_call = |more: u64, less: u64| more.saturating_sub(less) as f64 / calls;
    let instructions = per_call(more.instructions(), less.instructions());
    Ok([instructions, per_call(more.allocations(), less.allocations())])
}

#[cfg(test)]
mod tests {
    use super::super::plan::ROWS;
    use super::*;

    #[test]
    fn the_total_of_strace_is_found() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    60.00    0.000300           3       100        12 recvfrom\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000500           2       245        12 total\n";
        assert_eq!(total_syscalls(text), Some(245.0));
        assert_eq!(total_syscalls("nothing"), None);
    }

    #[test]
    fn a_run_becomes_figures() {
        let row = ROWS.iter().find(|row| row.unit == Unit::Message).unwrap();
        let said = json::numbers(
            "{\"calls\":2,\"messages\":2000,\"elapsed_s\":0.5,\"p50_us\":1,\"p99_us\":2,\
             \"p999_us\":3}",
        )
        .unwrap();
        let sample = figures(row, &said, 0.1).unwrap();
        assert_eq!((sample["rate"], sample["p999_us"]), (4000.0, 3.0));
        assert!((sample["cpu_us"] - 50.0).abs() < 1e-9);
        assert!(figures(row, &BTreeMap::new(), 0.1).is_err());
    }

    #[test]
    fn words_go_behind_taskset_only_where_pinned() {
        let shown = |pinned| exec::show(&on_core(&["serve", "-x"], "0", pinned));
        assert_eq!(shown(true), "taskset -c 0 serve -x");
        assert_eq!(shown(false), "serve -x");
    }
}
