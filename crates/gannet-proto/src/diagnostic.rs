//! What is wrong with a file, and where: a place is a range of bytes, which whoever shows it turns
//! into lines and columns.

use std::fmt;
use std::ops::Range;

/// The most mistakes that are told at once; the first ones tell the most.
const DIAGNOSTICS_MAX: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// No descriptors come out.
    Error,
    /// Descriptors come out all the same.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether it is an error.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Further places that matter, each with what is there, such as an earlier definition.
    pub related: Vec<(String, Place)>,
    /// What to do about it, if more can be said than the message says.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(message: impl Into<String>, place: Place) -> Self {
        let (message, related) = (message.into(), Vec::new());
        Self { severity: Severity::Error, message, place, related, help: None }
    }

    pub(crate) fn warning(message: impl Into<String>, place: Place) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, place) }
    }

    pub(crate) fn related(mut self, what: impl Into<String>, place: Place) -> Self {
        self.related.push((what.into(), place));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Range { start, end } = self.place.bytes;
        write!(f, "{}:{start}..{end}: {severity}: {}", self.place.file, self.message)
    }
}

/// Bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file, by its name in imports.
    pub file: String,
    /// From where to where, in bytes from the file's start.
    pub bytes: Range<usize>,
}

/// Bytes of the file at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end.max(self.end) }
    }

    pub(crate) fn of(self, file: &str) -> Place {
        Place { file: file.to_owned(), bytes: self.start..self.end }
    }
}

/// Takes findings, up to [`DIAGNOSTICS_MAX`] errors.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: Vec<Diagnostic>,
    errors: usize,
}

impl Findings {
    /// Takes a finding; of several errors at one place, the first tells the most.
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        let place = &diagnostic.place;
        let same = |found: &Diagnostic| {
            found.place.file == place.file && found.place.bytes.start == place.bytes.start
        };
        if is_error(&diagnostic) {
            self.errors += 1;
            if self.all.iter().any(|found| is_error(found) && same(found)) {
                return;
            }
        }
        if self.all.len() < DIAGNOSTICS_MAX {
            self.all.push(diagnostic);
        }
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// All of them, those of one file in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        let mut files: Vec<String> = Vec::new();
        for diagnostic in &self.all {
            if !files.contains(&diagnostic.place.file) {
                files.push(diagnostic.place.file.clone());
            }
        }
        let order = |file: &str| files.iter().position(|known| known == file);
        self.all.sort_by_key(|found| (order(&found.place.file), found.place.bytes.start));
        self.all
    }
}
