//! What was measured of our two processes, and whether it grew.

use std::fmt;
use std::time::Duration;

use gannet_interop::process::Usage;

use crate::Error;
use crate::server::Ours;

/// One look at both processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) client: Process,
    pub(crate) server: Process,
}

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) usage: Usage,
    /// Tasks that live on its runtime.
    pub(crate) tasks: u64,
}

impl Sample {
    pub(crate) async fn take(at: Duration, ours: &Ours) -> Result<Sample, Error> {
        let server = Process { tasks: ours.measure().await?.tasks, usage: ours.usage()? };
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let usage = Usage::of(std::process::id())?;
        Ok(Sample { at, server, client: Process { usage, tasks: u64::try_from(tasks)? } })
    }

    /// Whether there is nothing more than before the first call.
    pub(crate) fn is_at_rest(&self, before: &Sample) -> bool {
        let more = |now: &Process, then: &Process| {
            now.usage.fds > then.usage.fds || now.tasks > then.tasks
        };
        !more(&self.client, &before.client) && !more(&self.server, &before.server)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { at, client, server } = self;
        write!(f, "{:>5} s  client {client}; server {server}", at.as_secs())
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { rss_kib, fds, threads, cpu } = self.usage;
        let (tasks, cpu) = (self.tasks, cpu.as_secs_f64());
        write!(f, "{rss_kib} KiB, {fds} fds, {threads} threads, {tasks} tasks, {cpu:.1} s CPU")
    }
}

/// All samples of a run, and the one at rest after it.
#[derive(Debug, Default)]
pub(crate) struct Trend {
    pub(crate) samples: Vec<Sample>,
    pub(crate) rest: Option<Sample>,
}

/// How much of a run, at its beginning, is not judged: caches and pools fill.
const WARM_UP_SHARE: usize = 10;

impl Trend {
    /// What is wrong with it.
    pub(crate) fn faults(&self, before: &Sample, growth_kib_max: u64) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, pick) in SIDES {
            let (early, late) = self.quarters(pick);
            if late > early + growth_kib_max {
                faults.push(format!("{name}: resident memory grew from {early} to {late} KiB"));
            }
            let Some(rest) = &self.rest else { continue };
            let (now, then) = (pick(rest), pick(before));
            for (what, now, then) in
                [("tasks", now.tasks, then.tasks), ("fds", now.usage.fds, then.usage.fds)]
            {
                if now > then {
                    faults.push(format!("{name}: {now} {what} at rest, {then} before"));
                }
            }
        }
        faults
    }

    /// Resident memory: the medians of the first quarter after the warm-up and of the last one.
    fn quarters(&self, pick: Pick) -> (u64, u64) {
        let judged = &self.samples[self.samples.len() / WARM_UP_SHARE..];
        let quarter = judged.len().div_ceil(4);
        let median = |samples: &[Sample]| {
            let mut kib: Vec<_> = samples.iter().map(|sample| pick(sample).usage.rss_kib).collect();
            kib.sort_unstable();
            kib.get(kib.len() / 2).copied().unwrap_or(0)
        };
        (median(&judged[..quarter]), median(&judged[judged.len() - quarter..]))
    }

    /// What there was at most, and how memory went.
    pub(crate) fn summary(&self) -> String {
        let mut lines = Vec::new();
        for (name, pick) in SIDES {
            let most = |of: fn(&Process) -> u64| {
                self.samples.iter().map(|sample| of(pick(sample))).max().unwrap_or(0)
            };
            let (early, late) = self.quarters(pick);
            lines.push(format!(
                "{name}: {early} KiB in the first quarter after the warm-up, {late} KiB in the \
                 last; at most {} KiB, {} fds, {} tasks, {} threads",
                most(|process| process.usage.rss_kib),
                most(|process| process.usage.fds),
                most(|process| process.tasks),
                most(|process| process.usage.threads),
            ));
            if let Some(rest) = &self.rest {
                lines.push(format!("{name}, at rest: {}", pick(rest)));
            }
        }
        lines.join("\n")
    }
}

type Pick = fn(&Sample) -> &Process;

const SIDES: [(&str, Pick); 2] =
    [("client", |sample| &sample.client), ("server", |sample| &sample.server)];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rss_kib: u64, fds: u64, tasks: u64) -> Sample {
        let server = Process { usage: Usage { rss_kib, fds, ..Usage::default() }, tasks };
        Sample { server, ..Sample::default() }
    }

    #[test]
    fn steady_growth_is_a_fault_and_one_peak_is_none() {
        let before = sample(0, 9, 3);
        let run = |kib: &dyn Fn(u64) -> u64| Trend {
            samples: (0..100).map(|n| sample(kib(n), 20, 20)).collect(),
            rest: Some(before),
        };
        assert_eq!(run(&|n| 10_000 + n % 7 * 100).faults(&before, 1_000), [""; 0]);
        assert_eq!(run(&|n| 10_000 + u64::from(n == 90) * 9_000).faults(&before, 1_000), [""; 0]);
        assert_eq!(run(&|n| if n < 10 { 100 } else { 10_000 }).faults(&before, 1_000), [""; 0]);
        let faults = run(&|n| 10_000 + n * 20).faults(&before, 1_000);
        assert_eq!(faults, ["server: resident memory grew from 10420 to 11760 KiB"]);
        assert_eq!(Trend::default().faults(&before, 1_000), [""; 0]);
    }

    #[test]
    fn what_stays_open_is_a_fault() {
        let before = sample(0, 9, 3);
        let trend = Trend { rest: Some(sample(0, 10, 5)), ..Trend::default() };
        let faults = trend.faults(&before, 0);
        assert_eq!(
            faults,
            ["server: 5 tasks at rest, 3 before", "server: 10 fds at rest, 9 before"]
        );
        assert!(!sample(0, 10, 3).is_at_rest(&before) && !sample(0, 9, 4).is_at_rest(&before));
        assert!(sample(7, 8, 3).is_at_rest(&before));
    }
}
