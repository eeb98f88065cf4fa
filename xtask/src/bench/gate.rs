//! `cargo xtask bench --gate`: what a call costs, counted and not timed, against a baseline.
//!
//! The program under test runs under callgrind; the other side is cheap and keeps in step with it:
//! the generator waits for every reply before it sends the next requests in one write, so that how
//! much is batched depends on no clock. Each figure is the difference of two runs, so that the
//! start does not count. Locks are counted in a build without inlining, where each taking of a
//! mutex is a call that callgrind sees; what there is, is per wake (the reactor's), and small.
//!
//! The profiles stay in `target/callgrind.*`, for `callgrind_annotate --inclusive=yes`.

use std::path::PathBuf;
use std::process::Command;

use super::baseline::{Baseline, Figures, METRICS, SLACK, Verdict};
use super::callgrind::{self, Profile};
use super::serving::Serving;
use crate::exec::{self, Result};

/// The side that is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Server,
    Client,
}

/// One case: what is called, how often, and what it may cost.
struct Case {
    /// The table's name in the baseline.
    name: &'static str,
    side: Side,
    /// What the generator, or the client, is told.
    args: &'static [&'static str],
    /// What the server is told.
    server: &'static [&'static str],
    /// What the canned server is told that a client calls.
    canned: &'static [&'static str],
    /// Whether the generator sends a token that the server makes.
    has_token: bool,
    /// Calls of the two runs: multiples of what is in flight.
    calls: [u64; 2],
    /// The same for the build without inlining.
    calls_slow: [u64; 2],
    /// What the figures are divided by, in each call.
    messages: u64,
    /// What it may cost at most, as [`METRICS`] are ordered.
    budgets: [Option<f64>; METRICS.len()],
    /// What its figures may differ by from run to run.
    slack: Figures,
}

/// Mutexes taken per call or message, at most; a wake takes several, the reactor's.
const LOCKS_MAX: f64 = 0.15;
/// Writes and reads of a hundred calls in flight: together 0.05 for each.
const WRITES_MAX: f64 = 0.025;
const READS_MAX: f64 = 0.025;
const NONE: [Option<f64>; METRICS.len()] = [None, None, Some(LOCKS_MAX), None, None];

/// Budgets of a hundred calls in flight.
const fn at_most(instructions: f64, allocations: f64) -> [Option<f64>; METRICS.len()] {
    let (writes, reads) = (Some(WRITES_MAX), Some(READS_MAX));
    [Some(instructions), Some(allocations), Some(LOCKS_MAX), writes, reads]
}

/// Of a client with a hundred calls in flight.
const CLIENT_100: [Option<f64>; METRICS.len()] =
    [Some(8_000.0), None, Some(LOCKS_MAX), Some(WRITES_MAX), Some(READS_MAX)];

/// How a mebibyte comes in is the kernel's choice: in a few more wakes, or a few less; and in the
/// pauses between, a young connection gives storage back.
const SLACK_LARGE: Figures = [0.0, 1.0, 2.0, 0.5, 0.5];

/// What cases have in common where they say nothing else: enough calls for a hundred in flight.
const UNARY: Case = Case {
    name: "",
    side: Side::Server,
    args: &[],
    server: &[],
    // What the client under test says.
    canned: &["--text", "world"],
    has_token: false,
    calls: [10_000, 30_000],
    calls_slow: [2_000, 6_000],
    messages: 1,
    budgets: [None; METRICS.len()],
    slack: SLACK,
};

/// Some instructions a message, for wakes that come or not.
const SLACK_CLIENT_STREAM: Figures = [30.0, 0.01, 0.03, 0.002, 0.002];

/// A client's streams of small messages. How many come at once is the kernel's choice, which shows
/// in the wakes and little in what a message costs.
const CLIENT_STREAM: Case = Case {
    side: Side::Client,
    calls: [4, 24],
    calls_slow: [2, 6],
    messages: 1_000,
    budgets: NONE,
    slack: SLACK_CLIENT_STREAM,
    ..UNARY
};

/// What a call of 64 tasks may cost on one thread.
const ONE_THREAD: f64 = 7_100.0;

/// 64 tasks on one channel that takes turns between ten connections: what a call costs on one
/// thread, and where two workers share the tasks and the connections.
const SCALING: Case = Case {
    side: Side::Client,
    args: &["--in-flight", "64", "--backends", "10"],
    canned: &["--text", "world", "--addr", "0.0.0.0:0"],
    calls: [9_600, 28_800],
    calls_slow: [1_920, 5_760],
    // Six calls on each connection: how many of them share a wake is for chance, and for workers.
    slack: [200.0, 0.03, 0.3, 0.15, 0.05],
    ..UNARY
};

const UNARY_100: &[&str] = &["--scenario", "unary", "--in-flight", "100"];

const CASES: &[Case] = &[
    Case {
        name: "unary-1x100",
        args: &["--scenario", "unary", "--in-flight", "100"],
        budgets: at_most(4_500.0, 2.4),
        ..UNARY
    },
    Case {
        name: "unary-1x1",
        args: &["--scenario", "unary", "--in-flight", "1"],
        calls: [2_000, 6_000],
        calls_slow: [500, 1_500],
        // A wake for each call: its lock counts in full.
        budgets: [Some(6_000.0), Some(2.4), None, None, None],
        ..UNARY
    },
    Case {
        name: "unary-1x100-workers",
        args: &["--scenario", "unary", "--in-flight", "100"],
        server: &["--workers", "1"],
        budgets: at_most(4_500.0, 2.4),
        ..UNARY
    },
    Case {
        name: "unary-1x1-workers",
        args: &["--scenario", "unary", "--in-flight", "1"],
        server: &["--workers", "1"],
        calls: [2_000, 6_000],
        calls_slow: [500, 1_500],
        // 6,000 instructions are the goal of one thread: to park and wake costs more here.
        budgets: [None, Some(2.4), None, None, None],
        ..UNARY
    },
    Case {
        name: "unary-1x100-intercepted",
        args: &["--scenario", "unary", "--in-flight", "100"],
        server: &["--interceptors", "1"],
        // What a call may cost, and an interceptor: 1,000 instructions and 2 allocations.
        budgets: at_most(4_500.0 + 1_000.0, 2.4 + 2.0),
        ..UNARY
    },
    Case {
        name: "unary-1x100-metrics",
        args: UNARY_100,
        server: &["--observe", "metrics"],
        // What metrics may cost: 2,500 instructions, and the state that follows the call. The SDK
        // takes a lock for each of three histograms.
        budgets: [Some(3_400.0 + 2_500.0), Some(2.0 + 1.1), None, None, None],
        ..UNARY
    },
    Case { name: "unary-1x100-traces", args: UNARY_100, server: &["--observe", "traces"], ..UNARY },
    Case { name: "unary-1x100-spans", args: UNARY_100, server: &["--observe", "spans"], ..UNARY },
    Case { name: "unary-1x100-jwt", args: UNARY_100, server: &["--jwt"], has_token: true, ..UNARY },
    Case {
        name: "unary-50x20",
        args: &["--scenario", "unary", "--connections", "50", "--in-flight", "20"],
        // A wake for twenty calls: its locks show.
        budgets: [None, Some(2.4), Some(0.3), None, None],
        ..UNARY
    },
    Case {
        name: "server-stream-16",
        args: &["--scenario", "server-stream", "--messages", "1000", "--bytes", "16"],
        calls: [4, 24],
        calls_slow: [2, 6],
        messages: 1_000,
        budgets: NONE,
        ..UNARY
    },
    Case {
        name: "bidi-16",
        args: &["--scenario", "bidi", "--messages", "1000", "--bytes", "16", "--outstanding", "50"],
        calls: [4, 24],
        calls_slow: [2, 6],
        messages: 1_000,
        budgets: NONE,
        ..UNARY
    },
    Case {
        name: "echo-1MiB",
        args: &["--scenario", "echo", "--bytes", "1048576", "--in-flight", "1"],
        calls: [8, 40],
        calls_slow: [8, 72],
        slack: SLACK_LARGE,
        ..UNARY
    },
    Case {
        name: "client-100",
        side: Side::Client,
        args: &["--in-flight", "100"],
        budgets: CLIENT_100,
        ..UNARY
    },
    Case {
        name: "client-100-deadline",
        side: Side::Client,
        args: &["--in-flight", "100", "--timeout", "600"],
        budgets: CLIENT_100,
        ..UNARY
    },
    Case {
        name: "client-100-intercepted",
        side: Side::Client,
        args: &["--in-flight", "100", "--interceptors", "1"],
        // Likewise; of allocations a call makes six.
        budgets: at_most(8_000.0 + 1_000.0, 6.1 + 2.0),
        ..UNARY
    },
    Case {
        name: "client-100-metrics",
        side: Side::Client,
        args: &["--in-flight", "100", "--observe", "metrics"],
        ..UNARY
    },
    Case {
        name: "client-100-traces",
        side: Side::Client,
        args: &["--in-flight", "100", "--observe", "traces"],
        ..UNARY
    },
    Case {
        name: "client-10x100-round-robin",
        side: Side::Client,
        // As many on each connection as a client of one has.
        args: &["--in-flight", "1000", "--backends", "10"],
        canned: &["--text", "world", "--addr", "0.0.0.0:0"],
        // What a call over one connection costs (`client-100`), and a tenth of it.
        budgets: [Some(6_620.0), None, Some(LOCKS_MAX), None, None],
        ..UNARY
    },
    Case {
        name: "client-64-round-robin",
        budgets: [Some(ONE_THREAD), None, Some(1.0), None, None],
        ..SCALING
    },
    Case {
        name: "client-64-round-robin-2workers",
        args: &["--in-flight", "64", "--backends", "10", "--workers", "2"],
        // A seventh more than on one thread, and less than one lock for each call beside.
        budgets: [Some(ONE_THREAD * 8.0 / 7.0), None, Some(1.5), None, None],
        ..SCALING
    },
    Case {
        name: "client-server-stream-16",
        args: &["--mode", "server-stream", "--in-flight", "1", "--messages", "1000"],
        canned: &["--reply", "stream", "--messages", "1000", "--bytes", "16"],
        ..CLIENT_STREAM
    },
    Case {
        name: "client-bidi-16",
        args: &["--mode", "bidi", "--in-flight", "1", "--messages", "1000"],
        canned: &["--reply", "echo"],
        ..CLIENT_STREAM
    },
    Case {
        name: "client-1",
        side: Side::Client,
        args: &["--in-flight", "1"],
        calls: [2_000, 6_000],
        calls_slow: [500, 1_500],
        ..UNARY
    },
];

/// A kind of build of the programs under test.
struct Build {
    /// Where it goes, below `target`.
    folder: &'static str,
    args: &'static [&'static str],
    /// Of the profiles' names.
    suffix: &'static str,
}

const RELEASE: Build = Build { folder: "release", args: &["--release"], suffix: "" };
const WITHOUT_INLINING: Build = Build {
    folder: "counts/debug",
    args: &["--target-dir", "target/counts", "--config", "profile.dev.package.\"*\".opt-level=0"],
    suffix: ".locks",
};

/// Counts, prints, and fails where a figure is above its baseline or budget. `update` lowers the
/// baseline; `only` leaves out the cases whose name does not contain it.
pub(crate) fn run(update: bool, only: Option<&str>) -> Result {
    let cases: Vec<&Case> =
        CASES.iter().filter(|case| only.is_none_or(|text| case.name.contains(text))).collect();
    if cases.is_empty() {
        return Err("no case has such a name".into());
    }
    exec::debian(&[("valgrind", "valgrind")])?;
    exec::run(&mut exec::cargo(["build", "--release", "-p", "gannet-load"]))?;
    for build in [&RELEASE, &WITHOUT_INLINING] {
        let mut command = exec::cargo(["build", "-p", "gannet-interop"]);
        command.args(["--bin", "count-server", "--bin", "count-client"]);
        exec::run(command.args(build.args))?;
    }
    let file = exec::root().join("bench/baseline.toml");
    let mut baseline = match std::fs::read_to_string(&file) {
        Ok(text) => Baseline::parse(&text)?,
        Err(_) => Baseline::default(),
    };
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut better = false;
    println!("per call or message (change against bench/baseline.toml)");
    print!("{:<24}", "");
    METRICS.iter().for_each(|metric| print!("{metric:>24}"));
    println!();
    for case in cases {
        let figures = count(case).map_err(|error| format!("{}: {error}", case.name))?;
        let known = baseline.get(case.name).copied();
        println!("{:<24}{}", case.name, columns(&figures, known.as_ref()));
        let verdicts = judge(case, &figures, known.or(update.then_some(figures)));
        better |= verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Better);
        for (metric, verdict) in verdicts {
            let told = told(verdict).map(|told| format!("{} {metric}: {told}", case.name));
            if verdict.fails() { problems.extend(told) } else { notes.extend(told) }
        }
        baseline.lower(case.name, &figures);
    }
    notes.iter().for_each(|note| println!("{note}"));
    if update {
        std::fs::write(&file, baseline.text())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        println!("bench/baseline.toml now has the lower of its figures and these");
    } else if better {
        println!("some figures are more than 3 % below the baseline: lower it by");
        println!("cargo xtask bench --gate --update");
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n       ")) }
}

/// The step of `cargo xtask ci`.
pub(crate) fn step() -> Result {
    run(false, None)
}

fn judge(case: &Case, figures: &Figures, known: Option<Figures>) -> Vec<(&'static str, Verdict)> {
    let verdict = |at: usize| {
        let known = known.map(|known| known[at]);
        (METRICS[at], Verdict::of(case.slack[at], figures[at], known, case.budgets[at]))
    };
    (0..METRICS.len()).map(verdict).collect()
}

fn told(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Fine | Verdict::Better => None,
        Verdict::Worse(baseline) => Some(format!("more than 3 % above the baseline {baseline}")),
        Verdict::OverBudget(budget) => Some(format!("above the budget of {budget}")),
        Verdict::NotThereYet(budget) => Some(format!("not yet within the budget of {budget}")),
        Verdict::Unknown => Some("not in the baseline: --gate --update adds it".to_owned()),
    }
}

/// The figures of a table's row, each with its change in percent.
fn columns(figures: &Figures, known: Option<&Figures>) -> String {
    let column = |at: usize| {
        let digits = if at == 0 { 1 } else { 4 };
        let change = match known.map(|known| known[at]) {
            Some(known) if known > 0.0 => {
                format!("({:+.2} %)", (figures[at] / known - 1.0) * 100.0)
            }
            _ => String::new(),
        };
        format!("{:>12.digits$} {change:<11}", figures[at])
    };
    (0..METRICS.len()).map(column).collect()
}

/// Counts one case in both builds.
fn count(case: &Case) -> Result<Figures> {
    let [less, more] = profiles(case, &RELEASE, case.calls)?;
    let units = (case.calls[1] - case.calls[0]) * case.messages;
    let per_unit = |figure: fn(&Profile) -> u64, units: u64, less: &Profile, more: &Profile| {
        figure(more).saturating_sub(figure(less)) as f64 / units as f64
    };
    let instructions = per_unit(Profile::instructions, units, &less, &more);
    let allocations = per_unit(Profile::allocations, units, &less, &more);
    let writes = per_unit(Profile::writes, units, &less, &more);
    let reads = per_unit(Profile::reads, units, &less, &more);
    for (what, seen) in
        [("allocation", less.allocations()), ("write", less.writes()), ("read", less.reads())]
    {
        if seen == 0 {
            return Err(format!("no {what} was seen at all: it has another name now"));
        }
    }
    let [less, more] = profiles(case, &WITHOUT_INLINING, case.calls_slow)?;
    // The runtime's own start takes some: none at all would mean that they are not seen.
    if less.locks() == 0 {
        return Err("no mutex was seen at all: they have other names now".into());
    }
    let units = (case.calls_slow[1] - case.calls_slow[0]) * case.messages;
    let locks = per_unit(Profile::locks, units, &less, &more);
    Ok([instructions, allocations, locks, writes, reads])
}

fn profiles(case: &Case, build: &Build, calls: [u64; 2]) -> Result<[Profile; 2]> {
    let [less, more] = calls.map(|calls| profile(case, build, calls));
    Ok([less?, more?])
}

/// Runs one side under callgrind while it makes or answers `calls` calls.
fn profile(case: &Case, build: &Build, calls: u64) -> Result<Profile> {
    let target = exec::root().join("target");
    let file: PathBuf = target.join(format!("callgrind.{}.{calls}{}", case.name, build.suffix));
    // What an earlier run has left must not pass for this one's.
    let _ = std::fs::remove_file(&file);
    let program = |name: &str| target.join(build.folder).join(name);
    let cheap = |name: &str| Command::new(target.join("release").join(name));
    let calls = calls.to_string();
    let other_side = match case.side {
        Side::Server => {
            let mut command = callgrind::command(&program("count-server"), &file);
            command.args(case.server);
            Serving::start(command)?
        }
        Side::Client => {
            let mut command = cheap("canned-server");
            if !case.canned.contains(&"--addr") {
                command.args(["--addr", "127.0.0.1:0"]);
            }
            command.args(case.canned);
            Serving::start(command)?
        }
    };
    let mut caller = match case.side {
        Side::Server => {
            let mut load = cheap("gannet-load");
            load.arg("--lockstep");
            load
        }
        Side::Client => callgrind::command(&program("count-client"), &file),
    };
    caller.args(["--addr", other_side.addr(), "--calls", &calls]).args(case.args);
    if case.has_token {
        let token = exec::output(cheap("count-server").arg("--token"))?;
        caller.args(["--bearer", token.trim()]);
    }
    exec::output(&mut caller)?;
    other_side.end()?;
    Profile::read(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rounds_are_counted() {
        let number = |case: &Case, flag: &str| {
            let at = case.args.iter().position(|arg| *arg == flag);
            at.map_or(1, |at| case.args[at + 1].parse::<u64>().unwrap())
        };
        for case in CASES {
            let round = number(case, "--connections") * number(case, "--in-flight");
            for calls in [case.calls, case.calls_slow] {
                assert!(calls[0] < calls[1], "{}", case.name);
                assert!(calls.iter().all(|calls| calls % round == 0), "{}", case.name);
            }
            let messages = number(case, "--messages");
            assert_eq!(messages, case.messages, "{}", case.name);
            assert_eq!(messages % number(case, "--outstanding"), 0, "{}", case.name);
        }
    }

    #[test]
    fn what_is_worse_is_told() {
        let case = &CASES[0];
        let known = [4000.0, 2.0, 0.05, 0.01, 0.01];
        let figures = [4200.0, 2.0, 1.05, 0.01, 0.01];
        let told: Vec<_> = judge(case, &figures, Some(known))
            .into_iter()
            .filter_map(|(metric, verdict)| told(verdict).map(|text| (metric, text)))
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].0, "instructions");
        assert!(told[1].1.contains("budget"), "{told:?}");
        assert!(judge(case, &known, None).iter().all(|(_, verdict)| verdict.fails()));
    }

    #[test]
    fn a_row_shows_changes() {
        let row = columns(&[4200.0, 2.0, 0.0, 0.01, 0.01], Some(&[4000.0, 2.0, 0.0, 0.01, 0.02]));
        assert!(row.contains("4200.0 (+5.00 %)"), "{row}");
        assert!(row.contains("0.0100 (-50.00 %)"), "{row}");
    }

    #[test]
    fn a_name_that_no_case_has_is_an_error() {
        assert!(run(false, Some("no such case")).is_err());
    }
}
