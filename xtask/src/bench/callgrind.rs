//! What callgrind saw of a program: instructions, and how often each function was called.
//!
//! Callgrind counts exactly, whatever else the machine does. It sees the calls of a shared
//! library's functions by their names, so allocations and system calls of the C library are
//! countable; of Rust's functions it sees those that were not inlined.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::exec::Result;

/// The program under callgrind, which writes its profile to `file` when it ends.
pub(super) fn command(program: &Path, file: &Path) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display())).arg(program);
    valgrind
}

/// What of a profile matters here.
#[derive(Debug, Default)]
pub(super) struct Profile {
    instructions: u64,
    /// How often each function was called.
    calls: HashMap<String, u64>,
}

const LOCKS: &[&str] = &[
    "std::sync::poison::mutex::Mutex<T>::lock",
    "std::sync::poison::rwlock::RwLock<T>::read",
    "std::sync::poison::rwlock::RwLock<T>::write",
];
/// C++'s `operator new` calls `malloc`.
const ALLOCATIONS: &[&str] =
    &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];
const WRITES: &[&str] = &["write", "writev", "send", "sendmsg", "sendmmsg", "sendto"];
const READS: &[&str] = &["read", "readv", "recv", "recvmsg", "recvmmsg", "recvfrom"];

impl Profile {
    /// Reads the file that callgrind wrote.
    pub(super) fn read(file: &Path) -> Result<Profile> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("no profile: {error}"))?;
        let profile = Profile::parse(&text);
        if profile.instructions == 0 {
            return Err(format!("{}: no profile of callgrind's", file.display()));
        }
        Ok(profile)
    }

    /// Lines `fn=(ID) NAME` name functions, and later only `fn=(ID)`; each `calls=N …` is for the
    /// `cfn=` before it.
    pub(super) fn parse(text: &str) -> Profile {
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
        let mut by_name: HashMap<String, u64> = HashMap::new();
        for (id, count) in calls {
            if let Some(name) = names.get(id) {
                *by_name.entry((*name).to_owned()).or_default() += count;
            }
        }
        Profile { instructions, calls: by_name }
    }

    /// Instructions in user space.
    pub(super) fn instructions(&self) -> u64 {
        self.instructions
    }

    /// How often a mutex or a lock for readers and writers of the standard library was taken;
    /// tokio's are built on them. Only a build without inlining shows them all.
    pub(super) fn locks(&self) -> u64 {
        let taken = |name: &str| LOCKS.iter().any(|lock| name.starts_with(lock));
        self.calls.iter().filter(|(name, _)| taken(name)).map(|(_, count)| count).sum()
    }

    /// Calls of the functions that make or grow an allocation.
    pub(super) fn allocations(&self) -> u64 {
        self.of_c(ALLOCATIONS)
    }

    /// Calls of the C library's functions that write to a socket.
    pub(super) fn writes(&self) -> u64 {
        self.of_c(WRITES)
    }

    /// Calls of the C library's functions that read from a socket.
    pub(super) fn reads(&self) -> u64 {
        self.of_c(READS)
    }

    fn of_c(&self, functions: &[&str]) -> u64 {
        let is_one = |name: &str| functions.contains(&plain_name(name));
        self.calls.iter().filter(|(name, _)| is_one(name)).map(|(_, count)| count).sum()
    }
}

/// A function of the C library without the decoration of its aliases and versions.
fn plain_name(name: &str) -> &str {
    let name = name.split(['@', '\'']).next().unwrap_or(name);
    name.strip_prefix("__libc_").or_else(|| name.strip_prefix("__")).unwrap_or(name)
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
        assert_eq!((profile.instructions(), profile.locks()), (77, 7));
        assert_eq!(profile.calls.get("main"), Some(&9));
    }

    #[test]
    fn functions_of_c_are_counted_under_all_their_names() {
        let text = "fn=(1) main\ncfn=(2) malloc\ncalls=3 0\n1 1\n\
                    cfn=(3) realloc'2\ncalls=2 0\n1 1\n\
                    cfn=(4) _int_malloc\ncalls=50 0\n1 1\ncfn=(5) writev\ncalls=5 0\n1 1\n\
                    cfn=(6) __libc_send@@GLIBC_2.2.5\ncalls=7 0\n1 1\n\
                    cfn=(7) recv\ncalls=1 0\n1 1\n\
                    cfn=(8) core::fmt::write\ncalls=60 0\n1 1\ncfn=(9) malloc\ncalls=1 0\n1 1\n";
        let profile = Profile::parse(text);
        assert_eq!(profile.allocations(), 6);
        assert_eq!((profile.writes(), profile.reads()), (12, 1));
    }

    #[test]
    fn a_file_that_is_no_profile_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile");
        assert!(Profile::read(&file).is_err());
        std::fs::write(&file, "events: Ir\n").unwrap();
        assert!(Profile::read(&file).is_err());
    }
}
