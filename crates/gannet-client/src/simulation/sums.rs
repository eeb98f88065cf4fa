//! What came of worlds, for the report.

use std::fmt;

use super::world::Kind;

/// Each a count.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) worlds: usize,
    /// Those whose names a DNS resolver looks up.
    pub(super) by_dns: usize,
    /// Those where health is asked for.
    pub(super) with_health: usize,
    pub(super) seconds: usize,
    /// The most that calls could go to at once, in any of them.
    pub(super) at_once: usize,
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
    fn parts(&mut self) -> [(&'static str, &mut usize); 18] {
        [
            ("worlds", &mut self.worlds),
            ("of them by DNS", &mut self.by_dns),
            ("with health", &mut self.with_health),
            ("seconds", &mut self.seconds),
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
        self.at_once = self.at_once.max(other.at_once);
        let mut other = other.clone();
        let others = other.parts().map(|(_, count)| *count);
        self.parts().into_iter().zip(others).for_each(|((_, sum), count)| *sum += count);
    }

    /// All of it has happened, in each world on average, and to each of many backends.
    pub(super) fn check(&self, kind: Kind, backends: usize) {
        for (what, count) in self.clone().parts() {
            let least = match what {
                "worlds" | "of them by DNS" | "with health" => 0,
                "seconds" => self.worlds * 150,
                "lookups" => self.by_dns * 2,
                "answers of health" => self.with_health * 2,
                // Each begins, is idle at last, begins anew, and ends.
                _ => self.worlds * 2,
            };
            assert!(*count >= least, "{backends} backends, too little: {count} {what}");
        }
        if kind == Kind::RoundRobin {
            self.check_each(backends);
        }
    }

    /// What has happened to each, where calls go to all.
    fn check_each(&self, backends: usize) {
        let (all, felt) = (self.worlds * backends, self.with_health * backends);
        let each = [
            ("dials", self.dials, 4 * all),
            ("connections", self.connections, 3 * all),
            ("failed attempts", self.failures, all),
            ("lost connections", self.losses, 2 * all),
            ("answers of health", self.feelings, 2 * felt),
            ("changes of state", self.states, 10 * all),
            ("calls placed", self.picks, all),
            // While others change their ways.
            ("connected at once", self.at_once, backends * 9 / 10),
        ];
        for (what, count, least) in each {
            assert!(count >= least, "{backends} backends, too little: {count} {what}");
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.clone().parts().map(|(what, count)| format!("{count} {what}"));
        write!(f, "{}, up to {} connected at once", told.join(", "), self.at_once)
    }
}
