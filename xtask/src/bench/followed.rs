//! What the gate has counted, as a page of bench/results: what a call costs that is followed, or
//! carries a token, beside the plain one, and every case.

use super::baseline::{Figures, METRICS};
use super::results::Origin;
use super::runner::{create, write};
use super::table::{aligned, figure};
use crate::exec::{self, Result};

/// A case's name and figures.
type Counted = (&'static str, Figures);

/// Writes the page.
pub(super) fn save(name: &str, origin: &Origin, counted: &[Counted]) -> Result {
    let folder = exec::root().join("bench/results");
    create(&folder)?;
    let file = folder.join(format!("{name}.md"));
    write(&file, &page(origin, counted))?;
    println!("saved in {}", file.display());
    Ok(())
}

/// Versions that say what was counted, and with what.
const VERSIONS: [&str; 3] = ["gannet", "rustc", "Linux"];

fn page(origin: &Origin, counted: &[Counted]) -> String {
    let mut out = String::from("# What calls cost Gannet\n\n");
    out.push_str(&format!("{}, {}.\n\n    {}\n\n", origin.date, origin.cpu, origin.command));
    for (name, version) in &origin.versions {
        if VERSIONS.contains(&name.as_str()) {
            out.push_str(&format!("- {name} {version}\n"));
        }
    }
    out.push_str(
        "\nCounted by callgrind per call, or per message of a stream, as the difference of two\n\
         runs, in user space; locks in a build without inlining. Cases that begin with `client`\n\
         count the client, the others the server. What the cases are, bench/README.md says.\n",
    );
    let more: Vec<Vec<String>> = counted.iter().filter_map(|case| more(case, counted)).collect();
    if !more.is_empty() {
        out.push_str("\n## What is added to a plain call\n\n");
        out.push_str(&aligned(&with_head(&["case", "plain"], more)));
    }
    let all = counted.iter().map(|(name, figures)| line(vec![(*name).to_owned()], figures));
    out.push_str("\n## Every case\n\n");
    out.push_str(&aligned(&with_head(&["case"], all.collect())));
    out
}

fn with_head(first: &[&str], lines: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let head = first.iter().chain(&METRICS).map(|name| (*name).to_owned()).collect();
    std::iter::once(head).chain(lines).collect()
}

/// `BASE-WHAT` less `BASE`, where that was counted, too; of several the longest.
fn more((name, figures): &Counted, counted: &[Counted]) -> Option<Vec<String>> {
    let is_base = |base: &str| name.strip_prefix(base).is_some_and(|what| what.starts_with('-'));
    let bases = counted.iter().filter(|(base, _)| is_base(base));
    let (base, plain) = bases.max_by_key(|(base, _)| base.len())?;
    let mut added = *figures;
    added.iter_mut().zip(plain).for_each(|(figure, plain)| *figure -= plain);
    Some(line(vec![(*name).to_owned(), (*base).to_owned()], &added))
}

fn line(mut cells: Vec<String>, figures: &Figures) -> Vec<String> {
    let digits = |at: usize| if at == 0 { 0 } else { 2 };
    cells.extend((0..METRICS.len()).map(|at| {
        let text = figure(Some(figures[at]), digits(at));
        if text.trim_start_matches('-').bytes().all(|byte| matches!(byte, b'0' | b'.')) {
            return text.trim_start_matches('-').to_owned();
        }
        text
    }));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_told_beside_the_plain_call() {
        let counted = [
            ("client-1", [9_000.0, 5.0, 6.0, 1.0, 1.0]),
            ("client-100", [6_000.0, 5.0, 0.0, 0.01, 0.01]),
            ("client-100-metrics", [9_350.0, 14.0, 4.0, 0.01, 0.009]),
            ("unary-1x1", [5_800.0, 2.0, 5.0, 1.0, 1.0]),
        ];
        let origin = Origin { date: "today".into(), ..Origin::default() };
        let page = page(&origin, &counted);
        let added = page.split("## Every case").next().unwrap();
        let lines: Vec<&str> = added.lines().filter(|line| line.starts_with("| c")).collect();
        assert_eq!(lines.len(), 2, "{page}");
        for part in ["client-100-metrics", "| client-100 ", "3 350", "9.00", "4.00", " 0.00 "] {
            assert!(lines[1].contains(part), "{part}: {page}");
        }
        assert!(!lines[1].contains("-0.00"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("| unary-1x1")).count(), 1);
        assert!(page.contains("14.00") && page.contains("today"), "{page}");
    }
}
