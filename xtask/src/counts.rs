//! `cargo xtask counts`: what a unary call costs the server, counted and not timed.
//!
//! The server runs under callgrind, which counts instructions and calls exactly, whatever else the
//! machine does; the load comes from `gannet-load`. Each figure is the difference of two runs, so
//! that the start does not count. Instructions are those of a release build. Locks are counted in a
//! build without inlining, where each taking of a mutex is a call that callgrind sees; on the path
//! of a call there is none, so what remains is per wake (the reactor's), and small.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exec::{self, Result};

/// The budget for one unary hello call, 100 in flight on one connection.
const INSTRUCTIONS_MAX: f64 = 5_000.0;
/// Mutexes taken per call; above this, something on the path of a call takes one.
const LOCKS_MAX: f64 = 0.2;

/// What is counted in one kind of build.
struct Build {
    /// Where it goes, below `target`.
    folder: &'static str,
    args: &'static [&'static str],
    /// Calls of the two runs.
    calls: [u64; 2],
}

const RELEASE: Build = Build { folder: "release", args: &["--release"], calls: [20_000, 60_000] };
const WITHOUT_INLINING: Build = Build {
    folder: "counts/debug",
    args: &["--target-dir", "target/counts", "--config", "profile.dev.package.\"*\".opt-level=0"],
    calls: [2_000, 6_000],
};

/// Counts, prints, and fails where a budget is exceeded.
pub(crate) fn run() -> Result {
    exec::debian(&[("valgrind", "valgrind")])?;
    exec::run(&mut exec::cargo(["build", "--release", "-p", "gannet-load"]))?;
    let instructions = difference(&RELEASE, |profile| Ok(profile.instructions))?;
    let locks = difference(&WITHOUT_INLINING, |profile| {
        // The runtime's own start takes some: none at all would mean that they are not seen.
        let locks = profile.locks();
        if locks == 0 {
            Err("no mutex was seen at all: they have other names now")
        } else {
            Ok(locks)
        }
    })?;
    println!("a unary hello call, 100 in flight on one connection, costs the server");
    println!("  {instructions:>8.0} instructions in user space (at most {INSTRUCTIONS_MAX})");
    println!("  {locks:>8.3} mutexes taken, all of them per wake (at most {LOCKS_MAX})");
    if instructions > INSTRUCTIONS_MAX || locks > LOCKS_MAX {
        return Err("a call costs more than its budget".into());
    }
    Ok(())
}

/// What one call adds to a figure.
fn difference(
    build: &Build,
    figure: fn(&Profile) -> std::result::Result<u64, &'static str>,
) -> Result<f64> {
    let mut command = exec::cargo(["build", "-p", "gannet-interop", "--bin", "count-server"]);
    exec::run(command.args(build.args))?;
    let server = exec::root().join("target").join(build.folder).join("count-server");
    let mut figures = [0; 2];
    for (figure_of_run, calls) in figures.iter_mut().zip(build.calls) {
        *figure_of_run = figure(&profile(&server, calls)?)?;
    }
    let more = figures[1].saturating_sub(figures[0]);
    Ok(more as f64 / (build.calls[1] - build.calls[0]) as f64)
}

/// Runs the server under callgrind while it answers `calls` calls.
fn profile(server: &Path, calls: u64) -> Result<Profile> {
    let file: PathBuf = exec::root().join("target").join(format!("callgrind.{calls}"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display())).arg(server);
    valgrind.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = valgrind.spawn().map_err(|error| format!("cannot start valgrind: {error}"))?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line).map_err(|error| format!("the server says nothing: {error}"))?;
    let loaded = match line.trim().strip_prefix("listening on ") {
        Some(addr) => load(addr, calls),
        None => Err(format!("the server did not start: {line}")),
    };
    drop(child.stdin.take());
    let _ = output.read_to_string(&mut line);
    child.wait().map_err(|error| format!("valgrind: {error}"))?;
    loaded?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("no profile: {error}"))?;
    Ok(Profile::parse(&text))
}

fn load(addr: &str, calls: u64) -> Result {
    let mut load = Command::new(exec::root().join("target/release/gannet-load"));
    exec::output(load.args(["--addr", addr, "--calls", &calls.to_string()])).map(drop)
}

/// What of a callgrind file matters here.
struct Profile {
    instructions: u64,
    /// How often each function was called.
    calls: HashMap<String, u64>,
}

impl Profile {
    fn parse(text: &str) -> Profile {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut calls: HashMap<&str, u64> = HashMap::new();
        let mut instructions = 0;
        let mut callee = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
                let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
                if !name.is_empty() {
                    names.insert(id, name);
                }
                if line.starts_with("cfn=") {
                    callee = id;
                }
            } else if let Some(rest) = line.strip_prefix("calls=") {
                let count = rest.split(' ').next().and_then(|count| count.parse().ok());
                *calls.entry(callee).or_default() += count.unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("totals: ") {
                instructions = rest.trim().parse().unwrap_or(0);
            }
        }
        let named =
            |(id, count): (&str, u64)| names.get(id).map(|name| ((*name).to_owned(), count));
        Profile { instructions, calls: calls.into_iter().filter_map(named).collect() }
    }

    /// How often a mutex or a lock for readers and writers of the standard library was taken;
    /// tokio's are built on them.
    fn locks(&self) -> u64 {
        const LOCKS: [&str; 3] = [
            "std::sync::poison::mutex::Mutex<T>::lock",
            "std::sync::poison::rwlock::RwLock<T>::read",
            "std::sync::poison::rwlock::RwLock<T>::write",
        ];
        let taken = |name: &String| LOCKS.iter().any(|lock| name.starts_with(lock));
        self.calls.iter().filter(|(name, _)| taken(name)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read() {
        let text = "events: Ir\nfn=(1) main\ncfn=(2) std::sync::poison::mutex::Mutex<T>::lock\n\
                    calls=3 +4\n5 6\nfn=(3) other\ncfn=(2)\ncalls=4 0\n1 1\ncfn=(1)\ncalls=9 0\n\
                    totals: 77\n";
        let profile = Profile::parse(text);
        assert_eq!((profile.instructions, profile.locks()), (77, 7));
        assert_eq!(profile.calls.get("main"), Some(&9));
    }
}
