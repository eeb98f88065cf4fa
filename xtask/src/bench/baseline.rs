//! The committed figures that the gate compares with: `bench/baseline.toml`, a table for each case.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::exec::Result;

/// What is counted, per call or message.
pub(super) const METRICS: [&str; 5] = ["instructions", "allocations", "locks", "writes", "reads"];

/// One figure for each of [`METRICS`].
pub(super) type Figures = [f64; METRICS.len()];

/// What a figure may be above its baseline: this share of it,
const TOLERANCE: f64 = 0.03;
/// or, where that is more, this much, as [`METRICS`] are ordered: small figures are those of wakes,
/// of which a hundred calls may take one more, with several locks (0.02 was seen between runs).
/// What is on the path of each call adds 1.
pub(super) const SLACK: Figures = [0.0, 0.01, 0.03, 0.002, 0.002];

/// How a figure stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Fine,
    /// Below the baseline by more than what is tolerated above it.
    Better,
    /// Above the baseline.
    Worse(f64),
    /// Above the budget, which the baseline keeps.
    OverBudget(f64),
    /// Above the budget, which the baseline has not come down to either: a goal that is open.
    NotThereYet(f64),
    /// The baseline has no such figure.
    Unknown,
}

impl Verdict {
    /// Judges one figure of a metric that has so much slack.
    pub(super) fn of(
        slack: f64,
        figure: f64,
        baseline: Option<f64>,
        budget: Option<f64>,
    ) -> Verdict {
        let Some(baseline) = baseline else { return Verdict::Unknown };
        let tolerated = (baseline * TOLERANCE).max(slack);
        let over = budget.filter(|budget| figure > *budget);
        match (figure - baseline, over) {
            (_, Some(budget)) if baseline <= budget => Verdict::OverBudget(budget),
            (more, _) if more > tolerated => Verdict::Worse(baseline),
            (more, _) if more < -tolerated => Verdict::Better,
            (_, Some(budget)) => Verdict::NotThereYet(budget),
            _ => Verdict::Fine,
        }
    }

    /// Whether the gate fails.
    pub(super) fn fails(self) -> bool {
        matches!(self, Verdict::Worse(_) | Verdict::OverBudget(_) | Verdict::Unknown)
    }
}

/// Figures by the names of cases.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Baseline(BTreeMap<String, Figures>);

impl Baseline {
    /// Reads the file's text.
    pub(super) fn parse(text: &str) -> Result<Baseline> {
        let tables: toml::Table =
            text.parse().map_err(|error| format!("bench/baseline.toml: {error}"))?;
        let mut all = BTreeMap::new();
        for (case, table) in &tables {
            let mut figures = [0.0; METRICS.len()];
            for (figure, metric) in figures.iter_mut().zip(METRICS) {
                let value = table.get(metric);
                let number = value.and_then(|value| {
                    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
                });
                *figure =
                    number.ok_or_else(|| format!("bench/baseline.toml: {case} has no {metric}"))?;
            }
            all.insert(case.clone(), figures);
        }
        Ok(Baseline(all))
    }

    /// The figures of a case.
    pub(super) fn get(&self, case: &str) -> Option<&Figures> {
        self.0.get(case)
    }

    /// Takes new cases, and of known ones what is lower: nothing here ever raises a figure.
    pub(super) fn lower(&mut self, case: &str, figures: &Figures) {
        let known = self.0.entry(case.to_owned()).or_insert(*figures);
        for (known, new) in known.iter_mut().zip(figures) {
            *known = known.min(*new);
        }
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let mut out = String::from(
            "# What `cargo xtask bench --gate` counts, per call or message.\n\
             # `--gate --update` lowers it. To raise a figure is a decision: by hand, with the\n\
             # reason in the commit.\n",
        );
        for (case, figures) in &self.0 {
            let _ = write!(out, "\n[{case}]\n");
            for (metric, figure) in METRICS.iter().zip(figures) {
                let digits = if *metric == "instructions" { 1 } else { 4 };
                let _ = writeln!(out, "{metric} = {figure:.digits$}");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_knows_better_from_worse() {
        let base = Some(1000.0);
        for (figure, due) in [
            (1000.0, Verdict::Fine),
            (1030.0, Verdict::Fine),
            (1031.0, Verdict::Worse(1000.0)),
            (970.0, Verdict::Fine),
            (969.0, Verdict::Better),
        ] {
            assert_eq!(Verdict::of(0.0, figure, base, None), due, "{figure}");
        }
        assert_eq!(Verdict::of(0.0, 1001.0, base, Some(1000.0)), Verdict::OverBudget(1000.0));
        assert_eq!(Verdict::of(0.0, 0.5, None, Some(0.1)), Verdict::Unknown);
        // A budget that was never kept is a goal, and still nothing may get worse.
        assert_eq!(Verdict::of(0.0, 1001.0, base, Some(900.0)), Verdict::NotThereYet(900.0));
        assert_eq!(Verdict::of(0.0, 1031.0, base, Some(900.0)), Verdict::Worse(1000.0));
        assert_eq!(Verdict::of(0.0, 950.0, base, Some(900.0)), Verdict::Better);
        assert!(!Verdict::NotThereYet(900.0).fails() && Verdict::OverBudget(900.0).fails());
        assert!(Verdict::Unknown.fails() && !Verdict::Better.fails());
    }

    #[test]
    fn tiny_figures_have_some_slack_and_budgets_have_none() {
        assert_eq!(Verdict::of(SLACK[1], 0.02, Some(0.012), None), Verdict::Fine);
        assert!(Verdict::of(SLACK[1], 0.03, Some(0.012), None).fails());
        // One more write for a thousand messages is seen, by as many as make a difference.
        assert_eq!(Verdict::of(SLACK[3], 0.002, Some(0.001), None), Verdict::Fine);
        assert!(Verdict::of(SLACK[3], 0.004, Some(0.001), None).fails());
        assert_eq!(Verdict::of(SLACK[2], 0.095, Some(0.09), Some(0.1)), Verdict::Fine);
        assert_eq!(Verdict::of(SLACK[2], 0.101, Some(0.1), Some(0.1)), Verdict::OverBudget(0.1));
        assert!(Verdict::of(SLACK[2], 1.1, Some(0.1), None).fails());
    }

    #[test]
    fn the_file_is_read_as_it_is_written_and_only_lowered() {
        let mut baseline = Baseline::default();
        baseline.lower("unary-1x1", &[5000.5, 2.0, 0.0, 1.0, 1.0]);
        baseline.lower("unary-1x1", &[4000.5, 3.0, 0.0, 1.0, 1.0]);
        let text = baseline.text();
        assert_eq!(Baseline::parse(&text), Ok(baseline));
        let again = Baseline::parse(&text).unwrap();
        assert_eq!(again.get("unary-1x1"), Some(&[4000.5, 2.0, 0.0, 1.0, 1.0]));
        assert_eq!(again.get("other"), None);
    }

    #[test]
    fn a_file_with_a_gap_is_an_error() {
        assert!(Baseline::parse("[a]\ninstructions = 5\n").unwrap_err().contains("allocations"));
        assert!(Baseline::parse("[a\n").is_err());
        assert!(Baseline::parse("a = 1\n").is_err());
    }
}
