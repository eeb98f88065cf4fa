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

use super::baseline::{Baseline, Figures, METRICS, Verdict};
use super::callgrind::{self, Profile};
use super::cases::{CASES, Case, Side};
use super::followed;
use super::results::Origin;
use super::serving::Serving;
use crate::exec::{self, Result};

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
/// baseline; `only` leaves out the cases whose name does not contain it; `save` has the figures
/// written to that page of bench/results, whatever is thought of them.
pub(super) fn run(update: bool, only: Option<&str>, save: Option<(&str, &Origin)>) -> Result {
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
    let mut counted = Vec::new();
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
        let verdicts = judge(
            &case.with_budgets(&counted, &baseline),
            &figures,
            known.or(update.then_some(figures)),
        );
        better |= verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Better);
        for (metric, verdict) in verdicts {
            let told = told(verdict).map(|told| format!("{} {metric}: {told}", case.name));
            if verdict.fails() { problems.extend(told) } else { notes.extend(told) }
        }
        baseline.lower(case.name, &figures);
        counted.push((case.name, figures));
    }
    if let Some((name, origin)) = save {
        followed::save(name, origin, &counted)?;
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
    run(false, None, None)
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
        match case.side {
            Side::Server => caller.args(["--bearer", token.trim()]),
            Side::Client => {
                let file = target.join("gate.token");
                std::fs::write(&file, token)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                caller.arg("--bearer-file").arg(file)
            }
        };
    }
    exec::output(&mut caller)?;
    other_side.end()?;
    Profile::read(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_tenth_above_another_case_is_a_tenth_above_what_was_counted_of_it_or_its_baseline() {
        let text = std::fs::read_to_string(exec::root().join("bench/baseline.toml")).unwrap();
        let baseline = Baseline::parse(&text).unwrap();
        let above = |case: &&Case| case.tenth_above.is_some();
        let cases: Vec<&Case> = CASES.iter().filter(above).collect();
        assert!(!cases.is_empty());
        for case in cases {
            let name = case.tenth_above.unwrap();
            let place = |name| CASES.iter().position(|case| case.name == name);
            assert!(place(name) < place(case.name), "{name} is counted first");
            let known = *baseline.get(name).expect("it is in the baseline");
            let mut now = known;
            now[0] *= 1.02;
            for (counted, other) in [(&[][..], known), (&[(name, now)][..], now)] {
                let fails = |times: f64| {
                    let mut figures = *baseline.get(case.name).unwrap();
                    figures[0] = other[0] * times;
                    let case = case.with_budgets(counted, &baseline);
                    let verdicts = judge(&case, &figures, Some(figures));
                    matches!(verdicts[0].1, Verdict::NotThereYet(_))
                };
                assert!(!fails(1.09) && fails(1.11), "{}", case.name);
            }
        }
    }

    #[test]
    fn a_row_shows_changes() {
        let row = columns(&[4200.0, 2.0, 0.0, 0.01, 0.01], Some(&[4000.0, 2.0, 0.0, 0.01, 0.02]));
        assert!(row.contains("4200.0 (+5.00 %)"), "{row}");
        assert!(row.contains("0.0100 (-50.00 %)"), "{row}");
    }

    #[test]
    fn a_name_that_no_case_has_is_an_error() {
        assert!(run(false, Some("no such case"), None).is_err());
    }
}
