//! SECURITY.md keeps its word: each test and each limit that its tables name exists.
//!
//! A table is checked by the names of its columns. In one whose name begins with `test`, each word
//! in backticks is `file::function`, a test in a file, or a folder, of this name; in the column
//! `limit` the last part of each is a field, a function or a constant. Defaults are not compared.

use std::collections::HashSet;

use super::Finding;
use super::source::{Source, is_test};

const FILE: &str = "SECURITY.md";
/// Where limits and tests are.
const FOLDERS: [&str; 2] = ["crates/", "interop/gannet/tests/"];

/// What the sources have.
#[derive(Default)]
struct Known {
    /// `file::function` of each test, by the names of its file and of the folder above it.
    tests: HashSet<String>,
    limits: HashSet<String>,
}

/// Checks the tables, where there are any.
pub(super) fn check(files: &[Source]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == FILE) else {
        return vec![Finding::new(FILE, 1, "security", "the file is missing")];
    };
    let mut known = Known::default();
    let is_ours = |path: &str| FOLDERS.iter().any(|folder| path.starts_with(folder));
    for file in files.iter().filter(|file| is_ours(&file.path)) {
        known.add(file);
    }
    let mut findings = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            columns.clear();
            continue;
        };
        if columns.is_empty() {
            columns = cells.into_iter().map(Column::of).collect();
            continue;
        }
        for (cell, column) in cells.into_iter().zip(&columns) {
            let advice = known.judge(cell, *column);
            let found = advice.into_iter();
            findings.extend(found.map(|advice| Finding::new(FILE, index + 1, "security", advice)));
        }
    }
    findings
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Text,
    Limits,
    Tests,
}

impl Column {
    fn of(name: &str) -> Column {
        match name {
            "limit" => Column::Limits,
            _ if name.starts_with("test") => Column::Tests,
            _ => Column::Text,
        }
    }
}

impl Known {
    fn add(&mut self, file: &Source) {
        let Some(tree) = &file.tree else { return };
        let path = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let mut names = path.rsplit('/');
        let (stem, folder) = (names.next().unwrap_or(path), names.next().unwrap_or_default());
        // `x/tests.rs` holds the tests of `x`.
        let stem = if stem == "tests" { folder } else { stem };
        self.add_items(&tree.items, stem, file.only_tests);
    }

    fn add_items(&mut self, items: &[syn::Item], stem: &str, only_tests: bool) {
        for item in items {
            match item {
                syn::Item::Fn(function) if is_test_function(&function.attrs) => {
                    self.tests.insert(format!("{stem}::{}", function.sig.ident));
                }
                syn::Item::Mod(module) => {
                    let inner = module.content.as_ref().map(|(_, items)| items);
                    let only_tests = only_tests || is_test(&module.attrs);
                    self.add_items(inner.map_or(&[], |items| items), stem, only_tests);
                }
                _ if only_tests => {}
                syn::Item::Const(constant) => {
                    self.limits.insert(constant.ident.to_string());
                }
                syn::Item::Struct(item) => {
                    let fields = item.fields.iter().filter_map(|field| field.ident.as_ref());
                    self.limits.extend(fields.map(ToString::to_string));
                }
                syn::Item::Impl(block) => {
                    for item in &block.items {
                        match item {
                            syn::ImplItem::Fn(f) => self.limits.insert(f.sig.ident.to_string()),
                            syn::ImplItem::Const(c) => self.limits.insert(c.ident.to_string()),
                            _ => false,
                        };
                    }
                }
                _ => {}
            }
        }
    }

    /// What is wrong with a cell.
    fn judge(&self, cell: &str, column: Column) -> Vec<String> {
        let words = || cell.split('`').skip(1).step_by(2);
        match column {
            Column::Text => Vec::new(),
            _ if cell.starts_with("---") => Vec::new(),
            Column::Limits => words()
                .filter(|word| !self.limits.contains(word.rsplit("::").next().unwrap_or(word)))
                .map(|word| format!("there is no limit `{word}`"))
                .collect(),
            Column::Tests if words().next().is_none() => vec!["a test is missing".to_owned()],
            Column::Tests => words()
                .filter(|word| !self.tests.contains(*word))
                .map(|word| format!("there is no test `{word}`"))
                .collect(),
        }
    }
}

/// `#[test]`, or that of a runtime.
fn is_test_function(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
    })
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! Doc.
pub struct Config { pub frames_max: u32 }
const DEEP_MAX: u8 = 1;
impl Server { pub fn max_calls(self) {} }
";
    const TESTS: &str = "//! Doc.
#[tokio::test(start_paused = true)]
async fn flood() {}
fn helper() {}
const ONLY_HERE: u8 = 1;
";

    fn advice(document: &str) -> Vec<(usize, String)> {
        let files = [
            Source::new("SECURITY.md", document),
            Source::new("crates/a/src/config.rs", CODE),
            Source::new("crates/a/tests/it/attacks.rs", TESTS),
            Source::new("crates/a/src/frame/tests.rs", TESTS),
        ];
        check(&files).into_iter().map(|finding| (finding.line, finding.advice)).collect()
    }

    #[test]
    fn what_is_named_must_exist() {
        let table = |limit: &str, test: &str| {
            let head = "Text `no::such`.\n\n| attack | limit | test of it |\n|---|---|---|\n";
            format!("{head}| `x` | {limit} | {test} |\n")
        };
        let good = table("`Config::frames_max` (5), `DEEP_MAX`, `Server::max_calls`", {
            "`attacks::flood`, `frame::flood`"
        });
        assert_eq!(advice(&good), []);
        assert_eq!(advice(&table("–", "`attacks::flood`")), []);
        let told = |line: usize, text: &str| (line, text.to_owned());
        let bad = table("`Config::frames_min`, `ONLY_HERE`", "`attacks::helper`, `other::flood`");
        let want = [
            told(5, "there is no limit `Config::frames_min`"),
            told(5, "there is no limit `ONLY_HERE`"),
            told(5, "there is no test `attacks::helper`"),
            told(5, "there is no test `other::flood`"),
        ];
        assert_eq!(advice(&bad), want);
        assert_eq!(advice(&table("–", "–")), [told(5, "a test is missing")]);
    }

    #[test]
    fn the_file_must_be_there() {
        assert_eq!(check(&[]).len(), 1);
    }
}
