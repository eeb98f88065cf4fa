//! The rules that files keep, as protoc has them: each once enough is known to see to it.

mod declarations;
mod edition;
mod enums;
mod fields;
mod json;
mod numbers;
mod options;
mod resolved;
mod style;

use std::collections::HashSet;

use crate::diagnostic::{Diagnostic, Findings};
use crate::link::pool::Pool;
use crate::tree::{File, FileId, ImportKind};

/// What is seen without looking names up, even where parts could not be read.
pub(crate) fn parsed(file: &File, findings: &mut Findings) {
    imports(file, findings);
    numbers::check(file, findings);
}

/// What is seen without looking names up, where all was read.
pub(crate) fn declared(file: &File, findings: &mut Findings) {
    fields::check(file, findings);
    for declared in &file.enums {
        enums::declared(file, declared, findings);
    }
}

/// What is seen when types are known.
pub(crate) fn resolved(pool: &Pool, id: FileId, findings: &mut Findings) {
    resolved::check(pool, id, findings);
}

/// What is seen when options and features are known.
pub(crate) fn interpreted(pool: &Pool, id: FileId, findings: &mut Findings) {
    let file = &pool.files[id];
    options::check(pool, id, findings);
    edition::check(pool, id, findings);
    for message in &file.messages {
        json::check(file, message, findings);
        declarations::check(file, message, findings);
    }
    declarations::extensions(pool, id, findings);
    for declared in &file.enums {
        enums::interpreted(file, declared, findings);
    }
    style::check(file, findings);
}

fn imports(file: &File, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for import in &file.imports {
        if !seen.insert(&import.name.text) {
            let message = format!("\"{}\" is imported twice", import.name.text);
            findings.add(Diagnostic::error(message, file.place(import.statement)));
        }
    }
}

/// Imports in which no name was found, except those that are passed on.
pub(crate) fn unused_imports(
    pool: &Pool,
    id: FileId,
    used: &HashSet<FileId>,
    findings: &mut Findings,
) {
    let file = &pool.files[id];
    for import in &file.imports {
        let Some(target) = import.file else { continue };
        let passes_on = |import: &crate::tree::Import| import.kind == ImportKind::Public;
        let passed_on = passes_on(import) || pool.files[target].imports.iter().any(passes_on);
        if !passed_on && !used.contains(&target) {
            let message = format!("nothing of the import \"{}\" is used", import.name.text);
            findings.add(Diagnostic::warning(message, file.place(import.statement)));
        }
    }
}
