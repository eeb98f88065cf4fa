//! What a process uses, as Linux tells in `/proc`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Ticks of a second in `/proc/PID/stat`: part of Linux's interface to programs.
const TICKS_PER_SECOND: u64 = 100;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
    /// CPU time since it began, user and system.
    pub cpu: Duration,
}

impl Usage {
    /// Of the process with this id; also of this one.
    ///
    /// # Errors
    /// Where there is no such process, or no `/proc`.
    pub fn of(pid: u32) -> io::Result<Usage> {
        let home = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(home.join("status"))?;
        let stat = fs::read_to_string(home.join("stat"))?;
        let fds = fs::read_dir(home.join("fd"))?.count();
        // The descriptor that reads the list is in it.
        let own = usize::from(pid == std::process::id());
        Ok(Usage {
            rss_kib: field(&status, "VmRSS:")?,
            fds: u64::try_from(fds - own).unwrap_or(u64::MAX),
            threads: field(&status, "Threads:")?,
            cpu: cpu(&stat)?,
        })
    }
}

fn field(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
}

fn cpu(stat: &str) -> io::Result<Duration> {
    // The second field, the name, may hold anything; it ends with the last parenthesis. After it,
    // user and system time are the 12th and 13th.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: Option<u64> =
        after.split_whitespace().skip(11).take(2).map(|number| number.parse::<u64>().ok()).sum();
    let ticks = ticks.ok_or_else(|| io::Error::other("no times in /proc"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(2));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_sees_its_own_descriptors() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        assert!(before.rss_kib > 100 && before.threads > 0);
        let files: Vec<_> = (0..500).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this program open some, too.
        assert!(Usage::of(pid).unwrap().fds >= before.fds + 400);
        drop(files);
        assert_eq!(Usage::of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
