//! `cargo xtask bench`: every program in every row, interleaved, so that what changes on the
//! machine meanwhile meets all alike.

use std::path::Path;
use std::process::Command;

use super::plan::{ROWS, Row, Unit};
use super::programs::{self, Program, Role, Style};
use super::results::{self, Entry, Origin};
use super::sample::{self, Sample, Settings};
use super::svg::{self, Bar};
use super::table;
use super::{Args, certificate};
use crate::exec::{self, Result};

const ROUNDS: u32 = 3;
const SECONDS: f64 = 3.0;
const QUICK_SECONDS: f64 = 0.7;
/// The rows whose instructions are counted.
const COUNTED: [&str; 2] = ["unary-1x1", "unary-1x100"];

/// Builds, measures, prints and saves.
pub(super) fn run(args: &Args) -> Result {
    let seconds = args.seconds.unwrap_or(if args.quick { QUICK_SECONDS } else { SECONDS });
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { ROUNDS });
    if rounds == 0 && !args.counts {
        return Err("without a round only `--counts` has something to tell".into());
    }
    let is_told = |row: &Row| rounds > 0 || COUNTED.contains(&row.name);
    let rows: Vec<&'static Row> =
        ROWS.iter().filter(|row| is_chosen(row, args) && is_told(row)).collect();
    if rows.is_empty() {
        return Err(match rounds {
            0 => format!("no row that is counted has such a name: {}", COUNTED.join(", ")),
            _ => "no row has such a name".to_owned(),
        });
    }
    let roles: Vec<Role> = rows.iter().map(|row| row.role).collect();
    let (programs, missing) = programs::build(&roles, &args.peers)?;
    let mut origin = origin(args);
    origin.missing = missing;
    for (name, reason) in &origin.missing {
        println!("not built: {name}: {reason}");
    }
    let folder = exec::root().join("target/bench");
    create(&folder)?;
    let pinned = cores() > 1 && exec::find("taskset").is_some();
    if !pinned {
        println!("two cores and taskset are needed to pin both sides: nothing is pinned");
    }
    if rows.iter().any(|row| row.tls) {
        certificate::make()?;
    }
    let settings = Settings { seconds, pinned };
    let mut entries = Vec::new();
    for row in rows {
        let measured = measure_row(row, &programs, settings, rounds, args, &mut origin.missing);
        println!("\n{}\n{}", row.name, table::of_row(&measured.iter().collect::<Vec<_>>()));
        entries.extend(measured);
        // After each row, so that a run that is broken off has not been for nothing.
        write(&folder.join("results.json"), &results::to_json(&origin, &entries))?;
    }
    if let Some(name) = &args.save {
        shorten(&mut origin.missing, &format!("{}/", exec::root().display()));
        save(name, &origin, &entries, rounds > 0)?;
    }
    if entries.is_empty() { Err("nothing could be measured".into()) } else { Ok(()) }
}

/// What is saved for others to read says what failed, not where on this machine, and in one line.
fn shorten(missing: &mut [(String, String)], root: &str) {
    for (_, reason) in missing {
        let last = reason.lines().rev().find(|line| !line.trim().is_empty());
        *reason = last.unwrap_or_default().replace(root, "");
    }
}

fn is_chosen(row: &Row, args: &Args) -> bool {
    args.only.as_deref().is_none_or(|text| row.name.contains(text))
}

/// Whether a program takes part in a row.
fn takes_part(program: &Program, row: &Row) -> bool {
    program.role == row.role
        && (program.speaks_tls || !row.tls)
        && match program.style {
            Style::Raw => row.ceiling,
            // It has one thread.
            Style::CurrentThread | Style::Canned => row.threads == 1,
            Style::Ordinary => !program.name.ends_with("-canned") || row.unit == Unit::Call,
        }
}

/// A B C A B C …: each program once in each round. One that fails is out, and named.
fn measure_row(
    row: &'static Row,
    programs: &[Program],
    settings: Settings,
    rounds: u32,
    args: &Args,
    missing: &mut Vec<(String, String)>,
) -> Vec<Entry> {
    // Callgrind cannot look into the others, and without a round there is nothing else.
    let is_told = |program: &Program| rounds > 0 || program.is_native;
    let mut taking_part: Vec<(&Program, Vec<Sample>)> = programs
        .iter()
        .filter(|program| takes_part(program, row) && is_told(program))
        .map(|program| (program, Vec::new()))
        .collect();
    let mut fail = |program: &Program, error: String| {
        println!("{}: {} failed: {error}", row.name, program.name);
        missing.push((format!("{} in {}", program.name, row.name), error));
    };
    for _ in 0..rounds {
        taking_part.retain_mut(|(program, samples)| {
            match sample::measure(program, row, settings) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    fail(program, error);
                    return false;
                }
            }
            true
        });
    }
    let mut entries = Vec::new();
    for (program, samples) in taking_part {
        let mut entry = Entry::new(row, &program.name, &samples);
        if rounds > 0
            && row.syscalls
            && program.style != Style::Raw
            && exec::find("strace").is_some()
        {
            match sample::syscalls(program, row) {
                Ok(calls) => drop(entry.figures.insert("syscalls", calls)),
                Err(error) => fail(program, format!("system calls: {error}")),
            }
        }
        if args.counts && COUNTED.contains(&row.name) && program.is_native {
            match exec::debian(&[("valgrind", "valgrind")])
                .and_then(|()| sample::counts(program, row))
            {
                Ok([instructions, allocations]) => {
                    entry.figures.insert("instructions", instructions);
                    entry.figures.insert("allocations", allocations);
                }
                Err(error) => fail(program, format!("counts: {error}")),
            }
        }
        entries.push(entry);
    }
    entries
}

/// Writes bench/results: the figures, a page of tables, and plots. Of a run that was not timed the
/// page has that run's name, and there is nothing to plot.
fn save(name: &str, origin: &Origin, entries: &[Entry], is_timed: bool) -> Result {
    let folder = exec::root().join("bench/results");
    create(&folder)?;
    write(&folder.join(format!("{name}.json")), &results::to_json(origin, entries))?;
    if !is_timed {
        write(&folder.join(format!("{name}.md")), &table::counts_page(origin, entries))?;
        println!("saved in {}", folder.display());
        return Ok(());
    }
    write(&folder.join("README.md"), &table::page(origin, entries))?;
    let plots = [
        ("unary-50x20", "rate", "Unary calls/s, 50 connections × 20 in flight, one core"),
        ("unary-1x100", "cpu_us", "Server CPU µs per unary call, 100 in flight (less is better)"),
        ("server-stream-16B", "rate", "Messages/s of server streams, 16 bytes, one core"),
        ("echo-1MiB-1x8", "rate", "MiB/s echoed each way, messages of 1 MiB, one core"),
        (
            "tls-unary-50x20",
            "rate",
            "Unary calls/s under TLS, 50 connections × 20 in flight, one core",
        ),
        ("idle-1000", "held_bytes", "Bytes per idle connection (less is better)"),
        (
            "client-unary-100",
            "cpu_us",
            "Client CPU µs per unary call, 100 in flight (less is better)",
        ),
    ];
    for (row, figure, title) in plots {
        let bars = bars_of(entries, row, figure);
        if !bars.is_empty() {
            write(&folder.join(format!("{name}-{row}.svg")), &svg::bars(title, &bars))?;
        }
    }
    println!("saved in {}", folder.display());
    Ok(())
}

fn bars_of(entries: &[Entry], row: &str, figure: &str) -> Vec<Bar> {
    let of_row = entries.iter().filter(|entry| entry.row.name == row);
    let bar = |entry: &Entry| {
        let value = entry.get(figure)?;
        let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        let name = entry.program.clone();
        let is_ours = name == "gannet";
        Some(Bar { name, value, text, is_ours })
    };
    of_row.filter_map(bar).collect()
}

/// How many cores there are.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Date, machine, command and versions.
pub(super) fn origin(args: &Args) -> Origin {
    let told = |program: &str, args: &[&str]| {
        let said = exec::output(Command::new(program).args(args)).unwrap_or_default();
        said.lines().next().unwrap_or_default().trim().to_owned()
    };
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cores();
    let cpu = format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']));
    let lock = std::fs::read_to_string(exec::root().join("bench/Cargo.lock")).unwrap_or_default();
    let mut versions = versions_in(&lock);
    versions.extend(versions_of_peers(|file| {
        std::fs::read_to_string(exec::root().join("bench").join(file)).unwrap_or_default()
    }));
    versions.push(("rustc".to_owned(), told("rustc", &["--version"])));
    for (name, program, args) in
        [("gRPC C++", "pkg-config", ["--modversion", "grpc++"]), ("Linux", "uname", ["-r", "-m"])]
    {
        versions.push((name.to_owned(), told(program, &args)));
    }
    versions.push(("Node".to_owned(), told("node", &["--version"])));
    versions.retain(|(_, version)| !version.is_empty());
    let date = told("date", &["-u", "+%Y-%m-%d"]);
    Origin { date, cpu, command: args.shown(), versions, missing: Vec::new() }
}

/// The versions of what is compared, of a lock file.
fn versions_in(lock: &str) -> Vec<(String, String)> {
    const COMPARED: [&str; 8] =
        ["tonic", "connectrpc", "volo-grpc", "hyper", "h2", "axum", "tokio", "gannet"];
    let table: toml::Table = lock.parse().unwrap_or_default();
    let packages = table.get("package").and_then(|all| all.as_array()).cloned().unwrap_or_default();
    let pair = |package: &toml::Value| {
        let text = |key| package.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        Some((text("name")?, text("version")?))
    };
    let mut all: Vec<_> = packages.iter().filter_map(pair).collect();
    all.retain(|(name, _)| COMPARED.contains(&name.as_str()));
    all
}

/// The versions of peers in other languages, of the files that pin them; `read` reads one of
/// bench/.
fn versions_of_peers(read: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let of = |file: &str, package: &str, mark: &str| {
        let text = read(file);
        // In go.mod, requirements.txt and package.json each package has a line of its own.
        let lines = text.lines().map(|line| line.trim().trim_end_matches(','));
        let mut rest = lines.filter_map(|line| line.strip_prefix(package)?.strip_prefix(mark));
        rest.next().map(|version| version.trim_matches(['"', 'v', '^', ' ']).to_owned())
    };
    [
        ("grpc-go", of("go/go.mod", "google.golang.org/grpc", " ")),
        ("grpcio", of("python/requirements.txt", "grpcio", "==")),
        ("grpc-js", of("node/package.json", "\"@grpc/grpc-js\"", ":")),
        ("FastAPI", of("python/requirements.txt", "fastapi", "==")),
    ]
    .into_iter()
    .filter_map(|(name, version)| Some((name.to_owned(), version?)))
    .collect()
}

pub(super) fn create(folder: &Path) -> Result {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

pub(super) fn write(file: &Path, text: &str) -> Result {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::entry;
    use super::*;

    #[test]
    fn saved_reasons_are_one_line_and_name_no_place() {
        let mut missing = vec![("x".to_owned(), "`/a/b/go` failed\nno /a/b/target\n\n".to_owned())];
        shorten(&mut missing, "/a/b/");
        assert_eq!(missing[0].1, "no target");
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let lock = "version = 4\n[[package]]\nname = \"tonic\"\nversion = \"0.14.9\"\n\n\
                    [[package]]\nname = \"bytes\"\nversion = \"1.0.0\"\n";
        assert_eq!(versions_in(lock), [("tonic".to_owned(), "0.14.9".to_owned())]);
        assert!(versions_in("").is_empty());
    }

    #[test]
    fn versions_of_peers_are_those_that_are_pinned() {
        let all = versions_of_peers(|file| {
            std::fs::read_to_string(exec::root().join("bench").join(file)).unwrap()
        });
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["grpc-go", "grpcio", "grpc-js", "FastAPI"]);
        let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        assert!(all.iter().all(|(_, version)| is_version(version)), "{all:?}");
        assert!(versions_of_peers(|_| String::new()).is_empty());
    }

    #[test]
    fn bars_are_of_one_row() {
        let entries = [
            entry("unary-1x1", "gannet", &[("rate", 5.25)]),
            entry("unary-50x20", "gannet", &[("rate", 900_000.0)]),
            entry("unary-50x20", "tonic", &[("cpu_us", 1.0)]),
        ];
        let bars = bars_of(&entries, "unary-50x20", "rate");
        assert_eq!(bars.len(), 1);
        assert!(bars[0].is_ours && bars[0].text == "900000");
    }
}
