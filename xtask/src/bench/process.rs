//! What Linux tells of a process (proc(5)): processor time, and resident memory.

use crate::exec::Result;

/// Linux counts processor time for user space in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time of a process with all its threads so far, own and kernel's, in seconds.
///
/// `stat` knows of threads that have ended too, in whole ticks; the threads that are there tell
/// theirs in nanoseconds. Neither is ever above the truth, so the larger is the nearer.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = read(pid, "stat")?;
    let ticks = parse_stat(&text).ok_or_else(|| format!("/proc/{pid}/stat: {text:?}"))?;
    Ok((ticks as f64 / TICKS_PER_SECOND).max(seconds_of_threads(pid)))
}

/// What the threads that are there have run, of those whose `schedstat` can be read.
fn seconds_of_threads(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let texts = threads.flatten().map(|thread| thread.path().join("schedstat"));
    let nanos: u64 =
        texts.filter_map(|file| parse_schedstat(&std::fs::read_to_string(file).ok()?)).sum();
    nanos as f64 / 1e9
}

/// The first field: nanoseconds on a processor.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Resident memory in KiB.
pub(super) fn resident_kib(pid: u32) -> Result<f64> {
    let text = read(pid, "status")?;
    let kib = parse_resident(&text).ok_or_else(|| format!("/proc/{pid}/status has no VmRSS"))?;
    Ok(kib as f64)
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
}

/// `utime` and `stime`, fields 14 and 15. The program's name, field 2, is in brackets and may hold
/// anything, brackets and blanks too.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 4194304 100 0 0 0 250 37 9 9 20 0 4 0 12345";
        for name in ["cat", "a b", "evil) R 1 1"] {
            assert_eq!(parse_stat(&format!("77 ({name}) {rest}\n")), Some(287), "{name}");
        }
        assert_eq!(parse_stat("77 (cat) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn threads_tell_nanoseconds() {
        assert_eq!(parse_schedstat("1234567 89 3\n"), Some(1_234_567));
        assert_eq!(parse_schedstat(""), None);
        assert!(seconds_of_threads(u32::MAX) <= 0.0);
    }

    #[test]
    fn resident_memory_is_found() {
        let text = "Name:\tcat\nVmPeak:\t 9 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(parse_resident(text), Some(1234));
        assert_eq!(parse_resident("Name:\tcat\n"), None);
    }

    #[test]
    fn this_process_has_both() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok());
        assert!(resident_kib(pid).unwrap() > 0.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
