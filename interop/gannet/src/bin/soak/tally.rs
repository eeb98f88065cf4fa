//! What was called, and what failed.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gannet::Status;
use gannet_interop::check::Outcome;

/// Counts, of everybody together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By name: those that went as they should, and those that did not.
    operations: BTreeMap<String, (u64, u64)>,
    /// How often a failure was of this kind: a status, or something else.
    failures: BTreeMap<String, u64>,
    /// The first failures in full.
    shown: Vec<String>,
    /// Operations that were not begun, because too many were under way.
    skipped: u64,
}

/// How many failures are told in full.
const SHOWN_MAX: usize = 20;
const TOLD_CHARS_MAX: usize = 600;

impl Tally {
    pub(crate) fn add(&self, name: &str, outcome: &Outcome) {
        let mut counts = self.counts();
        let (passed, failed) = counts.operations.entry(name.to_owned()).or_default();
        let Err(error) = outcome else {
            *passed += 1;
            return;
        };
        *failed += 1;
        *counts.failures.entry(kind(&**error)).or_default() += 1;
        if counts.shown.len() < SHOWN_MAX {
            let told: String = format!("{name}: {error}").chars().take(TOLD_CHARS_MAX).collect();
            eprintln!("FAILED {told}");
            counts.shown.push(told);
        }
    }

    pub(crate) fn skip(&self) {
        self.counts().skipped += 1;
    }

    pub(crate) fn line(&self) -> String {
        let counts = self.counts();
        let (passed, failed) = counts
            .operations
            .values()
            .fold((0, 0), |(passed, failed), (p, f)| (passed + p, failed + f));
        format!("{passed} operations, {failed} failed, {} skipped", counts.skipped)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.counts().shown.clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code of a status; other errors are of one kind.
fn kind(error: &(dyn Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) => status.code().to_string(),
        None => "not as expected".to_owned(),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line())?;
        let counts = self.counts();
        for (name, (passed, failed)) in &counts.operations {
            write!(f, "\n{passed:>9} {name}")?;
            if *failed > 0 {
                write!(f, ", {failed} FAILED")?;
            }
        }
        for (kind, number) in &counts.failures {
            write!(f, "\nfailures: {number} × {kind}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_code_and_told() {
        let tally = Tally::default();
        tally.add("a", &Ok(()));
        tally.add("a", &Err(Status::unavailable("gone").into()));
        tally.add("b", &Err("another payload".into()));
        assert_eq!(tally.line(), "1 operations, 2 failed, 0 skipped");
        assert_eq!(tally.faults().len(), 2);
        let told = tally.to_string();
        assert!(told.contains("1 × UNAVAILABLE") && told.contains("1 a, 1 FAILED"), "{told}");
    }
}
