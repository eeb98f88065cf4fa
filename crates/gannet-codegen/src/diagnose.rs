//! What `gannet-proto` finds in files as errors: file, line and column, the line itself, and what
//! to do.

use gannet_proto::{Failure, Place, Severity};

use crate::error::{Diagnostic, Error, Position};
use crate::search::{Search, display};

/// Why files did not compile.
pub(crate) fn error(failure: &Failure, search: &Search) -> Error {
    let errors = failure.diagnostics().iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    Error::from_diagnostics(errors.map(|found| diagnostic(found, search)).collect())
}

/// One finding, with its lines.
fn diagnostic(found: &gannet_proto::Diagnostic, search: &Search) -> Diagnostic {
    let mut diagnostic =
        Diagnostic::new(found.message.clone()).at(Some(position(&found.place, search)));
    for (what, place) in &found.related {
        diagnostic.related.push((what.clone(), position(place, search)));
    }
    diagnostic.help.clone_from(&found.help);
    if found.message.starts_with("import '") && found.message.ends_with("' not found") {
        diagnostic.help = Some(format!("looked in {}", search.list()));
    }
    diagnostic
}

/// What is no mistake, in one line.
pub(crate) fn warning(found: &gannet_proto::Diagnostic, search: &Search) -> String {
    let help = found.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}: {}{help}", position(&found.place, search), found.message)
}

fn position(place: &Place, search: &Search) -> Position {
    let Some(found) = search.found(&place.file) else { return Position::of_file(&place.file) };
    let path = display(&found.path);
    match &found.text {
        Some(text) => Position::in_source(path, text, place.bytes.start, place.bytes.len()),
        None => Position::of_file(path),
    }
}
