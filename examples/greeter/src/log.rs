//! What a replica tells whoever runs it: lines that no call waits for.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is told at most that calls are refused: whoever is refused could else have a log
/// written as fast as he calls.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// How many lines may wait for whoever reads them. What more there is, is not told.
const LINES_MAX: usize = 1_024;

/// Prints line by line, in their order, on a thread of its own: a pipe that nobody reads holds up
/// no connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    replica: Arc<str>,
    lines: SyncSender<Line>,
}

#[derive(Debug)]
enum Line {
    Said(String),
    Warned(String),
    /// Nothing follows.
    End,
}

/// The thread that prints what is told to a [`Log`].
#[derive(Debug)]
pub(crate) struct Printer {
    thread: JoinHandle<()>,
    lines: SyncSender<Line>,
}

impl Log {
    /// In the name of a replica.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub(crate) fn new(replica: &str) -> io::Result<(Log, Printer)> {
        let (lines, told) = sync_channel(LINES_MAX);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || print(&told))?;
        let log = Log { replica: replica.into(), lines: lines.clone() };
        Ok((log, Printer { thread, lines }))
    }

    /// One line of what goes on.
    pub(crate) fn say(&self, what: &str) {
        self.tell(Line::Said(format!("{}: {what}", self.replica)));
    }

    /// One line of what is wrong.
    pub(crate) fn warn(&self, what: &str) {
        self.tell(Line::Warned(format!("{}: {what}", self.replica)));
    }

    fn tell(&self, line: Line) {
        // Whoever is told of nothing has either ended or reads nothing.
        let _ = self.lines.try_send(line);
    }
}

impl Printer {
    /// Waits until all is printed that was told so far. Nothing is told afterwards.
    pub(crate) fn finish(self) {
        if self.lines.send(Line::End).is_ok() {
            // A thread that panicked has said so.
            let _ = self.thread.join();
        }
    }
}

fn print(lines: &Receiver<Line>) {
    for line in lines {
        match line {
            Line::Said(line) => println!("{line}"),
            Line::Warned(line) => eprintln!("{line}"),
            Line::End => return,
        }
    }
}

/// Calls that were refused: all are counted, and some are told.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// How many had been refused by then.
    count: u64,
}

impl Refusals {
    /// Counts one; what to say of it and of those that nothing was said of, where it is time.
    pub(crate) fn add(&self, now: Instant, who: &str, why: &str) -> Option<String> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| now.saturating_duration_since(at) < REFUSALS_EVERY) {
            return None;
        }
        let others = count.saturating_sub(told.count + 1);
        *told = Told { at: Some(now), count: count.max(told.count) };
        let more = if others == 0 { String::new() } else { format!(", and {others} more") };
        Some(format!("refused {who}: {why}{more}"))
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_once_a_second_and_all_are_counted() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let add = |ms: u64| refusals.add(start + Duration::from_millis(ms), "ada", "no token");
        assert_eq!(add(0).as_deref(), Some("refused ada: no token"));
        assert!((1..=999).all(|ms| add(ms).is_none()));
        assert_eq!(add(1_000).as_deref(), Some("refused ada: no token, and 999 more"));
        assert_eq!(add(1_999), None);
        assert_eq!(add(5_000).as_deref(), Some("refused ada: no token, and 1 more"));
        assert_eq!(add(6_000).as_deref(), Some("refused ada: no token"));
        assert_eq!(refusals.count(), 1_004);
    }
}
