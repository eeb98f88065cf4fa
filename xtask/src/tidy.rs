//! `cargo xtask tidy`: the house rules of STYLE.md that a machine can check.
//!
//! Each rule is a function from source text to findings, in a module below. What rustc, clippy
//! and rustfmt check already is not repeated here.

mod banned;
mod crates;
mod functions;
mod ignored;
mod security;
mod source;
mod text;

use std::fmt;

use crate::exec::{self, Result};

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the workspace's root.
    file: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    /// What is wrong, and what to do.
    advice: String,
    /// False: worth knowing, breaks nothing.
    fatal: bool,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { file: file.to_string(), line, rule, advice: advice.into(), fatal: true }
    }

    fn warning(self) -> Self {
        Self { fatal: false, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.fatal { "" } else { "warning: " };
        write!(f, "{}:{}: {word}[{}] {}", self.file, self.line, self.rule, self.advice)
    }
}

/// Checks the whole workspace; any finding that is not a mere warning is an error.
pub(crate) fn run() -> Result {
    let root = exec::root();
    let files = source::load(&root)?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(text::check(file));
        if let Some(tree) = &file.tree {
            if !file.is_generated() {
                findings.extend(functions::check(&file.path, tree));
            }
            findings.extend(banned::check(file, tree));
        }
        findings.extend(file.parse_error.clone().map(|(line, error)| {
            Finding::new(&file.path, line, "parse", format!("not valid Rust: {error}"))
        }));
    }
    findings.extend(crates::check(&root, &files)?);
    findings.extend(security::check(&files));
    findings.extend(ignored::check(&root)?);
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    let fatal = findings.iter().filter(|finding| finding.fatal).count();
    let warnings = findings.len() - fatal;
    println!("tidy: {} files, {fatal} findings, {warnings} warnings", files.len());
    if fatal == 0 { Ok(()) } else { Err(format!("{fatal} findings")) }
}
