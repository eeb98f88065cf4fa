//! `protox`'s errors as ours: file, line and column, the line itself, and what to do.
//!
//! `protox` says where by labelled byte spans behind `miette`'s trait; the paths in them are the
//! names of imports, which are turned back into paths that an editor can open.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic as _, LabeledSpan};

use crate::error::{Diagnostic, Error, Position};

/// Converts `error`, from compiling `requested` with files looked for in `includes`.
pub(crate) fn from_protox(
    error: &protox::Error,
    includes: &[PathBuf],
    requested: Option<&Path>,
) -> Error {
    let file = File::of(error, includes);
    if let Some(diagnostic) = import_cycle(error, includes) {
        return diagnostic.into();
    }
    if error.is_file_not_found() && error.labels().is_none() {
        return not_found(includes, requested).into();
    }
    let mut diagnostics = vec![convert(error, &file)];
    for related in error.related().into_iter().flatten() {
        diagnostics.push(convert(related, &file));
    }
    if error.is_file_not_found() {
        diagnostics[0].help = Some(format!("looked in {}", list(includes)));
    }
    if file.source.as_deref().is_some_and(uses_editions) {
        diagnostics[0].help = Some(
            "editions are not parsed here yet: compile the file with another compiler to a \
             descriptor set with its imports, and generate from that"
                .to_owned(),
        );
    }
    Error::from_diagnostics(diagnostics)
}

/// The file that an error is in, read again for its text.
struct File {
    path: Option<String>,
    source: Option<String>,
}

impl File {
    fn of(error: &protox::Error, includes: &[PathBuf]) -> Self {
        match error.file() {
            Some(name) => Self::named(name, includes),
            None => Self { path: None, source: None },
        }
    }

    fn named(name: &str, includes: &[PathBuf]) -> Self {
        let path = includes.iter().map(|include| include.join(name)).find(|path| path.exists());
        let source = path.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let path = path.map_or_else(|| name.to_owned(), |path| display(&path));
        Self { path: Some(path), source }
    }

    fn position(&self, offset: usize, len: usize) -> Option<Position> {
        let path = self.path.clone()?;
        Some(match &self.source {
            Some(source) => Position::in_source(path, source, offset, len),
            None => Position::of_file(path),
        })
    }
}

fn convert(error: &dyn miette::Diagnostic, file: &File) -> Diagnostic {
    let mut labels: Vec<LabeledSpan> = error.labels().into_iter().flatten().collect();
    let mut diagnostic = Diagnostic::new(error.to_string());
    diagnostic.help = error.help().map(|help| help.to_string());
    if labels.is_empty() {
        return diagnostic.at(file.path.as_ref().map(Position::of_file));
    }
    let primary = labels.remove(primary_label(&labels));
    for label in labels {
        if let Some(position) = file.position(label.offset(), label.len()) {
            diagnostic.related.push((label.label().unwrap_or("see here").to_owned(), position));
        }
    }
    diagnostic.at(file.position(primary.offset(), primary.len()))
}

/// The label where the mistake is, rather than what it clashes with: the one that says "found" or
/// "again" if there is one; else the first that does not speak of an earlier definition.
fn primary_label(labels: &[LabeledSpan]) -> usize {
    let says = |label: &LabeledSpan, word: &str| label.label().is_some_and(|l| l.contains(word));
    let mistake = |label: &LabeledSpan| says(label, "found") || says(label, "again");
    let earlier = |label: &LabeledSpan| says(label, "first") || says(label, "range");
    labels
        .iter()
        .position(mistake)
        .or_else(|| labels.iter().position(|label| !earlier(label)))
        .unwrap_or(0)
}

fn not_found(includes: &[PathBuf], requested: Option<&Path>) -> Diagnostic {
    let Some(requested) = requested else {
        return Diagnostic::new("file not found");
    };
    let shown = requested.display();
    if !requested.exists() {
        return Diagnostic::new(format!("{shown}: file not found"))
            .help(format!("looked in {}", list(includes)));
    }
    let parent = requested.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    Diagnostic::new(format!("{shown}: not below any of the include folders, {}", list(includes)))
        .help(format!("add {} to them", parent.display()))
}

/// The import that closes a cycle. `protox` names the cycle, but not the place.
fn import_cycle(error: &protox::Error, includes: &[PathBuf]) -> Option<Diagnostic> {
    let message = error.to_string();
    let cycle = message.strip_prefix("import cycle detected: ")?;
    let mut names = cycle.rsplit(" -> ");
    let imported = names.next()?;
    let file = File::named(names.next()?, includes);
    let place = file.source.as_deref().and_then(|source| find_import(source, imported));
    let position = match place {
        Some((offset, len)) => file.position(offset, len),
        None => file.path.as_ref().map(Position::of_file),
    };
    let help = "move what both files need into a third one, and import that";
    Some(Diagnostic::new(message.clone()).at(position).help(help))
}

/// The quoted name in the statement of `source` that imports `name`.
fn find_import(source: &str, name: &str) -> Option<(usize, usize)> {
    let mut line_start = 0;
    for line in source.split_inclusive('\n') {
        if line.trim_start().starts_with("import") {
            for quote in ['"', '\''] {
                if let Some(column) = line.find(&format!("{quote}{name}{quote}")) {
                    return Some((line_start + column, name.len() + 2));
                }
            }
        }
        line_start += line.len();
    }
    None
}

/// Whether the first statement is `edition = …`, going by line comments only.
fn uses_editions(source: &str) -> bool {
    let mut lines = source.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("//"));
    first
        .and_then(|line| line.strip_prefix("edition"))
        .is_some_and(|rest| rest.trim_start().starts_with('='))
}

fn list(includes: &[PathBuf]) -> String {
    includes.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A path without the `./` that an include folder of `.` puts before it.
pub(crate) fn display(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
