//! The figures as tables: on the terminal, and in markdown.

use super::plan::Unit;
use super::results::{Bottleneck, Entry, Origin};

/// Whom the others are compared with.
const REFERENCES: [&str; 2] = ["tonic", "grpc-cpp"];

/// One row's table in markdown, which a terminal shows well too: columns are padded.
pub(super) fn of_row(entries: &[&Entry]) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let held = first.row.unit == Unit::Held;
    let lines: Vec<Vec<String>> = if held {
        let head = ["", "bytes each", "of tonic", "of C++", "resident MiB"].map(str::to_owned);
        let line = |entry: &&Entry| {
            let mut line = vec![entry.program.clone(), figure(entry.get("held_bytes"), 0)];
            line.extend(ratios(entry, entries, "held_bytes"));
            line.push(figure(entry.get("resident_kib").map(|kib| kib / 1024.0), 1));
            line
        };
        std::iter::once(head.to_vec()).chain(entries.iter().map(line)).collect()
    } else {
        std::iter::once(head(first))
            .chain(entries.iter().map(|entry| line(entry, entries)))
            .collect()
    };
    aligned(&lines)
}

fn head(entry: &Entry) -> Vec<String> {
    let unit = entry.row.unit_name();
    let rate = match entry.row.unit {
        Unit::Mebibyte => "GB/s".to_owned(),
        _ => format!("{unit}s/s"),
    };
    let mut head = vec![String::new(), rate, "× tonic".into(), "× C++".into()];
    head.extend([format!("CPU µs/{unit}"), "of tonic".into(), "of C++".into()]);
    head.extend(["p50 µs", "p99 µs", "p99.9 µs", "held back by"].map(str::to_owned));
    head.extend([
        "other side".to_owned(),
        "MiB".to_owned(),
        "syscalls".to_owned(),
        "instructions".to_owned(),
        "allocations".to_owned(),
    ]);
    head
}

fn line(entry: &Entry, all: &[&Entry]) -> Vec<String> {
    let is_client = entry.row.role == super::programs::Role::Client;
    let rate = entry.get("rate");
    let rate = match entry.row.unit {
        Unit::Mebibyte => figure(rate.map(|rate| rate * f64::from(1 << 20) / 1e9), 2),
        _ => figure(rate, 0),
    };
    let mut line = vec![entry.program.clone(), rate];
    line.extend(ratios(entry, all, "rate"));
    line.push(figure(entry.get("cpu_us"), 2));
    line.extend(ratios(entry, all, "cpu_us"));
    line.extend(["p50_us", "p99_us", "p999_us"].map(|name| figure(entry.get(name), 0)));
    line.push(
        match entry.bottleneck(super::runner::cores()) {
            Some(Bottleneck::Tested) => "itself",
            Some(Bottleneck::Other) => "other side",
            Some(Bottleneck::Both) => "both",
            Some(Bottleneck::SharedCores) => "shared cores",
            Some(Bottleneck::Latency) => "latency",
            None => "",
        }
        .to_owned(),
    );
    let other = entry.get(if is_client { "server_share" } else { "generator_share" });
    line.push(other.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)));
    line.push(figure(entry.get("resident_kib").map(|kib| kib / 1024.0), 1));
    line.push(figure(entry.get("syscalls"), 3));
    line.push(figure(entry.get("instructions"), 0));
    line.push(figure(entry.get("allocations"), 2));
    line
}

/// A figure in relation to tonic's and C++'s.
fn ratios(entry: &Entry, all: &[&Entry], name: &str) -> [String; 2] {
    REFERENCES.map(|reference| {
        let reference = all.iter().find(|entry| entry.program == reference);
        let reference = reference.and_then(|reference| reference.get(name));
        match (entry.get(name), reference) {
            (Some(own), Some(reference)) if reference > 0.0 => format!("{:.2}", own / reference),
            _ => String::new(),
        }
    })
}

/// A figure with blanks between thousands; nothing where there is none.
pub(super) fn figure(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else { return String::new() };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A markdown table with columns of one width; columns that are empty but for their head are left
/// out.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let Some(head) = lines.first() else { return String::new() };
    let is_used = |at: usize| at == 0 || lines[1..].iter().any(|line| !line[at].is_empty());
    let used: Vec<usize> = (0..head.len()).filter(|at| is_used(*at)).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        for &at in &used {
            let blanks = " ".repeat(width(at) - line[at].chars().count());
            let text = &line[at];
            let cell = if at == 0 { format!("{text}{blanks}") } else { format!("{blanks}{text}") };
            out.push_str(&format!("| {cell} "));
        }
        out.push_str("|\n");
        if number == 0 {
            for &at in &used {
                let dashes = "-".repeat(width(at).max(3) - usize::from(at > 0));
                out.push_str(&format!("| {dashes}{} ", if at == 0 { "" } else { ":" }));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// All tables with what they are about, as bench/results/README.md.
pub(super) fn page(origin: &Origin, entries: &[Entry]) -> String {
    let about = "Medians. CPU is that of the side under test, own and kernel's; \"of tonic\" is\n\
         the figure in relation to tonic's. \"held back by\" says which side was busy: where\n\
         it was not the one under test alone, the rate is a lower bound.\n";
    page_about(origin, entries, about)
}

/// The tables of a run that was not timed, as bench/results/NAME.md.
pub(super) fn counts_page(origin: &Origin, entries: &[Entry]) -> String {
    let about = "Counted by callgrind per call, as the difference of two runs: instructions in\n\
         user space, and calls of the allocator. What else the machine does changes neither.\n";
    page_about(origin, entries, about)
}

fn page_about(origin: &Origin, entries: &[Entry], about: &str) -> String {
    let mut out = String::from("# Results of the benchmark\n\n");
    out.push_str(&format!("{}, {}.\n\n    {}\n\n", origin.date, origin.cpu, origin.command));
    for (name, version) in &origin.versions {
        out.push_str(&format!("- {name} {version}\n"));
    }
    out.push_str(&format!("\n{about}"));
    let mut rows: Vec<&str> = entries.iter().map(|entry| entry.row.name).collect();
    rows.dedup();
    for row in rows {
        let of: Vec<&Entry> = entries.iter().filter(|entry| entry.row.name == row).collect();
        out.push_str(&format!("\n## {row}\n\n{}", of_row(&of)));
    }
    if !origin.missing.is_empty() {
        out.push_str("\n## Not measured\n\n");
        for (name, reason) in &origin.missing {
            let reason = reason.lines().next().unwrap_or_default();
            out.push_str(&format!("- {name}: {reason}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::entry;
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0.0, 0, "0"), (999.0, 0, "999"), (1234567.0, 0, "1 234 567")];
        for (value, digits, due) in cases {
            assert_eq!(figure(Some(value), digits), due);
        }
        assert_eq!(figure(Some(-1234.5), 1), "-1 234.5");
        assert_eq!(figure(None, 1), "");
    }

    #[test]
    fn ratios_are_told_beside_figures() {
        let gannet = entry("unary-1x100", "gannet", &[("rate", 600_000.0), ("cpu_us", 1.5)]);
        let tonic = entry("unary-1x100", "tonic", &[("rate", 50_000.0), ("cpu_us", 24.0)]);
        let table = of_row(&[&gannet, &tonic]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[2].contains("600 000") && lines[2].contains("12.00"), "{table}");
        assert!(lines[2].contains("0.06"), "{table}");
        // Nobody is compared with a C++ that was not measured.
        assert!(!table.contains("C++"), "{table}");
        let widths: Vec<_> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[test]
    fn memory_has_a_table_of_its_own() {
        let held = [("held_bytes", 4096.0), ("resident_kib", 2048.0)];
        let table = of_row(&[&entry("idle-1000", "gannet", &held)]);
        assert!(table.contains("4 096") && table.contains("2.0"), "{table}");
        assert_eq!(of_row(&[]), "");
    }

    #[test]
    fn the_page_names_what_is_missing() {
        let missing = vec![("volo (Server)".to_owned(), "no compiler\nmore".to_owned())];
        let origin = Origin { missing, ..Origin::default() };
        let page = page(&origin, &[entry("unary-1x1", "gannet", &[("rate", 5.0)])]);
        assert!(page.contains("## unary-1x1\n"), "{page}");
        assert!(page.ends_with("- volo (Server): no compiler\n"), "{page}");
    }
}
