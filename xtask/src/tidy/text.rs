//! Rules on plain text: module docs, lengths of lines and files, strings that must not appear.

use super::Finding;
use super::source::Source;

/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 100;
/// From here on a file's length is worth a look, in lines.
const FILE_LINES_AIM: usize = 500;
/// Above this a file's module doc must give the reason, in lines.
const FILE_LINES_MAX: usize = 1_000;
/// Starts the line of a module doc that gives the reason for a long file.
const LENGTH_REASON: &str = "//! Length:";
/// Paths of one machine; the project must stand alone on any.
const FORBIDDEN: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Applies every rule of this module to one file.
pub(super) fn check(file: &Source) -> Vec<Finding> {
    let mut findings = forbidden(file);
    if file.is_generated() {
        return findings;
    }
    findings.extend(long_lines(file));
    if file.is_rust() {
        findings.extend(module_doc(file));
        findings.extend(file_length(file));
    }
    findings
}

fn module_doc(file: &Source) -> Option<Finding> {
    let first = file.text.lines().position(|line| !line.trim().is_empty());
    let line = first.and_then(|index| file.text.lines().nth(index)).unwrap_or_default();
    let advice = "open the file with `//!`: what it does, what it does not do, which RFC or gRFC";
    (!line.starts_with("//!"))
        .then(|| Finding::new(&file.path, first.unwrap_or_default() + 1, "module-doc", advice))
}

fn file_length(file: &Source) -> Option<Finding> {
    let lines = file.text.lines().count();
    let reason = file.text.lines().take_while(|line| line.starts_with("//!"));
    let has_reason = reason.into_iter().any(|line| line.starts_with(LENGTH_REASON));
    if lines > FILE_LINES_MAX && !has_reason {
        let advice = format!(
            "{lines} lines: split the file by concept, or give the reason for more than \
             {FILE_LINES_MAX} on a `{LENGTH_REASON}` line of the module doc"
        );
        return Some(Finding::new(&file.path, lines, "file-length", advice));
    }
    let advice = format!("{lines} lines; aim at {FILE_LINES_AIM}");
    (lines > FILE_LINES_AIM)
        .then(|| Finding::new(&file.path, lines, "file-length", advice).warning())
}

fn long_lines(file: &Source) -> Vec<Finding> {
    let limited = [".rs", ".py", ".proto"].iter().any(|end| file.path.ends_with(end));
    let is_long = |line: &str| line.chars().count() > LINE_CHARS_MAX && !line.contains("://");
    let finding = |(index, line): (usize, &str)| {
        let advice =
            format!("{} characters: break the line at {LINE_CHARS_MAX}", line.chars().count());
        Finding::new(&file.path, index + 1, "line-length", advice)
    };
    let lines = file.text.lines().enumerate();
    lines.filter(|(_, line)| limited && is_long(line)).map(finding).collect()
}

fn forbidden(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for text in FORBIDDEN.iter().filter(|text| line.contains(**text)) {
            let advice = format!("`{text}` is a path of one machine: take it out");
            findings.push(Finding::new(&file.path, index + 1, "machine-path", advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str, bool)> {
        check(&Source::new(path, text)).iter().map(|f| (f.line, f.rule, f.fatal)).collect()
    }

    #[test]
    fn a_module_opens_with_its_doc() {
        assert_eq!(rules("a.rs", "//! Doc.\nfn a() {}\n"), []);
        assert_eq!(rules("a.rs", "\n//! Doc.\n"), []);
        assert_eq!(rules("a.rs", "use std::fmt;\n//! late\n"), [(1, "module-doc", true)]);
        assert_eq!(rules("a.rs", ""), [(1, "module-doc", true)]);
        assert_eq!(rules("a.md", "text"), []);
    }

    #[test]
    fn lines_are_counted_in_characters_and_urls_may_be_long() {
        let fits = format!("//! {}\n", "é".repeat(96));
        assert_eq!(rules("a.rs", &fits), []);
        assert_eq!(rules("a.rs", &format!("//! x\n// {fits}")), [(2, "line-length", true)]);
        assert_eq!(rules("a.rs", &format!("//! https://{}\n", "x".repeat(100))), []);
        assert_eq!(rules("a.py", &"x".repeat(101)), [(1, "line-length", true)]);
        assert_eq!(rules("a.md", &"x".repeat(101)), []);
        let generated = format!("// {}generated\n// {}", '@', "x".repeat(200));
        assert_eq!(rules("a.rs", &generated), []);
    }

    #[test]
    fn long_files_warn_and_very_long_ones_need_a_reason() {
        let lines = |n: usize| "// x\n".repeat(n);
        assert_eq!(rules("a.rs", &format!("//! Doc.\n{}", lines(499))), []);
        let warned = rules("a.rs", &format!("//! Doc.\n{}", lines(500)));
        assert_eq!(warned, [(501, "file-length", false)]);
        let failed = rules("a.rs", &format!("//! Doc.\n{}", lines(1_000)));
        assert_eq!(failed, [(1_001, "file-length", true)]);
        let excused = format!("//! Doc.\n//!\n//! Length: one table.\n{}", lines(1_000));
        assert_eq!(rules("a.rs", &excused), [(1_003, "file-length", false)]);
        let late = format!("//! Doc.\nfn a() {{}}\n//! Length: late.\n{}", lines(1_000));
        assert!(rules("a.rs", &late).contains(&(1_003, "file-length", true)));
    }

    #[test]
    fn machine_paths_are_found_in_any_file() {
        let text = format!("a\nsee {}x\n", FORBIDDEN[0]);
        assert_eq!(rules("docs/a.md", &text), [(2, "machine-path", true)]);
    }
}
