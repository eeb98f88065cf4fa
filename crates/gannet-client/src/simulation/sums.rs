//! What came of worlds, for the report.

use std::fmt;

/// Each a count.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) steps: usize,
    pub(super) dials: usize,
    pub(super) connections: usize,
    pub(super) failures: usize,
    pub(super) losses: usize,
    pub(super) lists: usize,
    pub(super) lookups: usize,
    pub(super) feelings: usize,
    pub(super) idle: usize,
    pub(super) picks: usize,
    pub(super) waited: usize,
    pub(super) refused: usize,
    pub(super) states: usize,
    pub(super) judged: usize,
}

impl Sums {
    fn parts(&mut self) -> [(&'static str, &mut usize); 14] {
        [
            ("steps", &mut self.steps),
            ("dials", &mut self.dials),
            ("connections", &mut self.connections),
            ("failed attempts", &mut self.failures),
            ("lost connections", &mut self.losses),
            ("lists of names", &mut self.lists),
            ("lookups", &mut self.lookups),
            ("answers of health", &mut self.feelings),
            ("times idle", &mut self.idle),
            ("calls placed", &mut self.picks),
            ("that waited", &mut self.waited),
            ("refused", &mut self.refused),
            ("changes of state", &mut self.states),
            ("rounds of turns", &mut self.judged),
        ]
    }

    pub(super) fn add(&mut self, other: &Sums) {
        let mut other = other.clone();
        let others = other.parts().map(|(_, count)| *count);
        self.parts().into_iter().zip(others).for_each(|((_, sum), count)| *sum += count);
    }

    /// All of it has happened.
    pub(super) fn check(&self) {
        for (what, count) in self.clone().parts() {
            assert!(*count > 10, "too little: {count} {what}");
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.clone().parts().map(|(what, count)| format!("{count} {what}"));
        f.write_str(&told.join(", "))
    }
}
