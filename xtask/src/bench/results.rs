//! What the samples come to: medians, and the file that keeps them.

use std::collections::BTreeMap;

use super::json;
use super::plan::Row;
use super::sample::Sample;

/// The outcome of one program in one row.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) row: &'static Row,
    pub(super) program: String,
    /// Medians.
    pub(super) figures: Sample,
    /// Of how many.
    pub(super) samples: usize,
}

/// Where and how the figures came about.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) date: String,
    pub(super) cpu: String,
    pub(super) command: String,
    pub(super) versions: Vec<(String, String)>,
    /// Programs that could not be built or measured, and why.
    pub(super) missing: Vec<(String, String)>,
}

/// Which side a row's rate was held back by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// The program under test was as busy as its cores let it.
    Tested,
    /// The other side was: the rate is a lower bound.
    Other,
    /// Both sides were, each on its core.
    Both,
    /// Both sides together were, on cores that they share: the rate is a lower bound.
    SharedCores,
    /// Neither: time passed between them.
    Latency,
}

/// From this share of its cores on, a side counts as busy.
const BUSY: f64 = 0.9;

impl Entry {
    pub(super) fn new(row: &'static Row, program: &str, samples: &[Sample]) -> Entry {
        let figures = medians(samples);
        Entry { row, program: program.to_owned(), figures, samples: samples.len() }
    }

    pub(super) fn get(&self, figure: &str) -> Option<f64> {
        self.figures.get(figure).copied()
    }

    /// `cores`: how many the machine has, which matters where both sides share them.
    pub(super) fn bottleneck(&self, cores: usize) -> Option<Bottleneck> {
        let (server, caller) = (self.get("server_share")?, self.get("generator_share")?);
        let is_client = self.row.role == super::programs::Role::Client;
        let (tested, other) = if is_client { (caller, server) } else { (server, caller) };
        if self.row.threads > 1 && server + caller >= BUSY * cores as f64 {
            return Some(Bottleneck::SharedCores);
        }
        Some(match (tested >= BUSY * f64::from(self.row.threads), other >= BUSY) {
            (true, true) => Bottleneck::Both,
            (true, false) => Bottleneck::Tested,
            (false, true) => Bottleneck::Other,
            (false, false) => Bottleneck::Latency,
        })
    }
}

/// The median of each figure that any sample has.
fn medians(samples: &[Sample]) -> Sample {
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in samples.iter().flatten() {
        all.entry(name).or_default().push(*value);
    }
    all.into_iter().filter_map(|(name, mut values)| Some((name, median(&mut values)?))).collect()
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Everything as JSON.
pub(super) fn to_json(origin: &Origin, entries: &[Entry]) -> String {
    let pairs = |pairs: &[(String, String)]| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| format!("{}: {}", json::string(key), json::string(value)))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            format!(
                "    {{\"row\": {}, \"program\": {}, \"per\": {}, \"samples\": {}, \
                 \"figures\": {}}}",
                json::string(entry.row.name),
                json::string(&entry.program),
                json::string(entry.row.unit_name()),
                entry.samples,
                json::object(entry.figures.iter().map(|(name, value)| (*name, *value))),
            )
        })
        .collect();
    format!(
        "{{\n  \"date\": {},\n  \"cpu\": {},\n  \"command\": {},\n  \"versions\": {},\n  \
         \"missing\": {},\n  \"rows\": [\n{}\n  ]\n}}\n",
        json::string(&origin.date),
        json::string(&origin.cpu),
        json::string(&origin.command),
        pairs(&origin.versions),
        pairs(&origin.missing),
        rows.join(",\n"),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::ROWS;
    use super::*;

    /// An entry with such figures.
    pub(in super::super) fn entry(
        row: &str,
        program: &str,
        figures: &[(&'static str, f64)],
    ) -> Entry {
        let row = ROWS.iter().find(|known| known.name == row).unwrap();
        Entry::new(row, program, &[figures.iter().copied().collect()])
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        let sample = |rate, cpu| Sample::from([("rate", rate), ("cpu_us", cpu)]);
        let all = [sample(1.0, 9.0), sample(100.0, 8.0), sample(2.0, 7.0)];
        assert_eq!(medians(&all), sample(2.0, 8.0));
    }

    #[test]
    fn the_busy_side_is_named() {
        let of = |row, server, generator| {
            let figures = [("server_share", server), ("generator_share", generator)];
            entry(row, "gannet", &figures).bottleneck(2)
        };
        assert_eq!(of("unary-1x100", 0.98, 0.95), Some(Bottleneck::Both));
        assert_eq!(of("unary-1x100", 0.98, 0.85), Some(Bottleneck::Tested));
        assert_eq!(of("client-unary-1", 0.98, 0.95), Some(Bottleneck::Both));
        assert_eq!(of("unary-1x100", 0.5, 0.95), Some(Bottleneck::Other));
        assert_eq!(of("unary-1x1", 0.4, 0.5), Some(Bottleneck::Latency));
        assert_eq!(of("unary-8x100-2cores", 0.98, 0.2), Some(Bottleneck::Latency));
        assert_eq!(of("client-unary-1", 0.98, 0.5), Some(Bottleneck::Other));
        assert_eq!(entry("idle-1000", "gannet", &[("held_bytes", 1.0)]).bottleneck(2), None);
    }

    #[test]
    fn cores_that_both_sides_share_are_named() {
        let of = |row, server, generator, cores| {
            let figures = [("server_share", server), ("generator_share", generator)];
            entry(row, "gannet", &figures).bottleneck(cores)
        };
        let row = "unary-8x100-2cores";
        assert_eq!(of(row, 1.2, 0.7, 2), Some(Bottleneck::SharedCores));
        assert_eq!(of(row, 1.2, 0.5, 2), Some(Bottleneck::Latency));
        assert_eq!(of(row, 1.2, 0.95, 4), Some(Bottleneck::Other));
        assert_eq!(of(row, 1.9, 0.5, 4), Some(Bottleneck::Tested));
        assert_eq!(of("client-unary-100-2threads", 0.4, 1.5, 2), Some(Bottleneck::SharedCores));
        // Each side has a core of its own.
        assert_eq!(of("unary-1x100", 0.95, 0.88, 2), Some(Bottleneck::Tested));
    }

    #[test]
    fn everything_is_in_the_file() {
        let origin = Origin {
            date: "today".into(),
            missing: vec![("volo (Server)".into(), "no \"compiler\"".into())],
            ..Origin::default()
        };
        let entries =
            [entry("unary-1x1", "a", &[("rate", 5.0)]), entry("unary-1x1", "b", &[("rate", 6.0)])];
        let text = to_json(&origin, &entries);
        assert!(text.contains("no \\\"compiler\\\""), "{text}");
        assert!(text.contains("\"program\": \"b\", \"per\": \"call\", \"samples\": 1"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(text.contains("{\"rate\":5.0000}},\n"), "{text}");
    }
}
