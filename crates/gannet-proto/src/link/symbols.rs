//! Full names: every element gets its own, and none is given twice.

use super::pool::{Kind, Pool, Symbol};
use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::tree::{File, FileId};

/// How many names of packages may lie in each other.
const PACKAGE_DEPTH_MAX: usize = 100;

/// Sets the full names of all that `file` declares.
pub(super) fn name(file: &mut File) {
    let package = file.package().to_owned();
    let join = |scope: &str, name: &str| match scope {
        "" => name.to_owned(),
        _ => format!("{scope}.{name}"),
    };
    for index in 0..file.messages.len() {
        let scope = match file.messages[index].parent {
            Some(parent) => file.messages[parent].full_name.clone(),
            None => package.clone(),
        };
        let message = &mut file.messages[index];
        message.full_name = join(&scope, &message.name.text);
        for field in &mut message.fields {
            field.full_name = join(&message.full_name, &field.name.text);
        }
    }
    let messages = &file.messages;
    let scope_of = |parent: Option<usize>| match parent {
        Some(parent) => &messages[parent].full_name,
        None => &package,
    };
    for declared in &mut file.enums {
        declared.full_name = join(scope_of(declared.parent), &declared.name.text);
    }
    for extension in &mut file.extensions {
        extension.full_name = join(scope_of(extension.scope), &extension.name.text);
    }
    for service in &mut file.services {
        service.full_name = join(&package, &service.name.text);
    }
}

/// Enters all that the file declares, and tells what was there already.
pub(super) fn enter(pool: &mut Pool, id: FileId, findings: &mut Findings) {
    let mut found = declared(&pool.files[id]);
    if let Some(package) = &pool.files[id].package {
        if package.text.matches('.').count() >= PACKAGE_DEPTH_MAX {
            let place = package.span.of(&pool.files[id].name);
            findings.add(Diagnostic::error("this package has too many parts", place));
        }
        let dots = package.text.match_indices('.').map(|(at, _)| at);
        let ends = dots.chain([package.text.len()]);
        let packages =
            ends.map(|end| (package.text[..end].to_owned(), Kind::Package, package.span));
        found.splice(0..0, packages);
    }
    for (full_name, kind, span) in found {
        let earlier = pool.symbols.get(&full_name).copied();
        match earlier {
            None => {
                pool.symbols.insert(full_name, Symbol { kind, file: id, span });
            }
            Some(earlier) if earlier.kind == Kind::Package && kind == Kind::Package => {}
            Some(earlier) if pool.hidden == Some(earlier.file) => {
                pool.symbols.insert(full_name, Symbol { kind, file: id, span });
            }
            Some(earlier) => {
                findings.add(clash(pool, id, &full_name, span, earlier));
            }
        }
    }
}

fn clash(pool: &Pool, id: FileId, full_name: &str, span: Span, earlier: Symbol) -> Diagnostic {
    let file = &pool.files[id];
    let (scope, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
    let message = match scope {
        "" => format!("'{name}' is defined twice"),
        _ => format!("'{name}' is defined twice in '{scope}'"),
    };
    let what = match earlier.kind {
        Kind::Package => "a package has this name",
        _ => "first defined here",
    };
    let there = earlier.span.of(&pool.files[earlier.file].name);
    let error = Diagnostic::error(message, file.place(span)).related(what, there);
    let is_value = |value: &crate::tree::EnumValue| value.name.span == span;
    let value_of = file.enums.iter().find(|declared| declared.values.iter().any(is_value));
    match value_of {
        Some(declared) => error.help(format!(
            "the values of an enum are beside it, not in it: give this one a prefix, as in \
             {}_{name}",
            upper_snake(&declared.name.text)
        )),
        None => error,
    }
}

fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for (index, character) in name.chars().enumerate() {
        if index > 0 && character.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_uppercase());
    }
    out
}

/// All that a file declares, by full name.
fn declared(file: &File) -> Vec<(String, Kind, Span)> {
    let mut found = Vec::new();
    for (index, message) in file.messages.iter().enumerate() {
        found.push((message.full_name.clone(), Kind::Message(index), message.name.span));
        for field in &message.fields {
            found.push((field.full_name.clone(), Kind::Field, field.name.span));
        }
        for oneof in &message.oneofs {
            let name = format!("{}.{}", message.full_name, oneof.name.text);
            found.push((name, Kind::Oneof, oneof.name.span));
        }
    }
    for (index, declared) in file.enums.iter().enumerate() {
        found.push((declared.full_name.clone(), Kind::Enum(index), declared.name.span));
        for value in &declared.values {
            let name = format!("{}{}", declared.scope(), value.name.text);
            found.push((name, Kind::EnumValue, value.name.span));
        }
    }
    for (index, extension) in file.extensions.iter().enumerate() {
        found.push((extension.full_name.clone(), Kind::Extension(index), extension.name.span));
    }
    for service in &file.services {
        found.push((service.full_name.clone(), Kind::Service, service.name.span));
        for method in &service.methods {
            let name = format!("{}.{}", service.full_name, method.name.text);
            found.push((name, Kind::Method, method.name.span));
        }
    }
    // In the order of the file, the later of two is the one that is told.
    found.sort_by_key(|(_, _, span)| span.start);
    found
}
