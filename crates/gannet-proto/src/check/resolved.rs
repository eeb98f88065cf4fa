//! Fields by their types: defaults, keys of maps, extensions and what they extend.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Findings};
use crate::lexer::is_identifier;
use crate::link::pool::Pool;
use crate::tree::{Edition, Field, FileId, Id, Scalar, Type};

pub(super) fn check(pool: &Pool, id: FileId, findings: &mut Findings) {
    let file = &pool.files[id];
    for (index, message) in file.messages.iter().enumerate() {
        for field in &message.fields {
            default(pool, id, field, findings);
            entry_as_type(pool, Id { file: id, index }, field, findings);
            map(pool, id, field, findings);
        }
    }
    let mut numbers: HashMap<(Id, i32), &Field> = HashMap::new();
    for field in &file.extensions {
        default(pool, id, field, findings);
        let extendee = field.extendee.as_ref().and_then(|extendee| extendee.message);
        let Some(extendee) = extendee else { continue };
        extension(pool, id, field, extendee, findings);
        let earlier = *numbers.entry((extendee, field.number)).or_insert(field);
        if !std::ptr::eq(earlier, field) {
            let full_name = &pool.message(extendee).full_name;
            let text =
                format!("the extension number {} of {full_name} is used twice", field.number);
            let error = Diagnostic::error(text, file.place(field.number_span));
            findings.add(error.related("first used here", file.place(earlier.number_span)));
        } else if let Some(other) = pool.extensions.get(&(extendee, field.number)) {
            let (there, other) = (&pool.files[other.file].name, pool.extension(*other));
            let text = format!(
                "the extension number {} is used by {}, too, in \"{there}\"",
                field.number, other.full_name
            );
            findings.add(Diagnostic::warning(text, file.place(field.number_span)));
        }
    }
}

fn default(pool: &Pool, id: FileId, field: &Field, findings: &mut Findings) {
    let Some(default) = &field.default else { return };
    let text = match field.ty {
        Type::Message(_) => "a message cannot have a default".to_owned(),
        Type::Enum(of) => {
            let declared = pool.enumeration(of);
            if !is_identifier(&default.text) {
                "the default of an enum is one of its values, by name".to_owned()
            } else if declared.values.iter().any(|value| value.name.text == default.text) {
                return;
            } else {
                format!("{} has no value '{}'", declared.full_name, default.text)
            }
        }
        _ => return,
    };
    findings.add(Diagnostic::error(text, pool.files[id].place(default.span)));
}

/// Messages that are made for maps are not types for others.
fn entry_as_type(pool: &Pool, message: Id, field: &Field, findings: &mut Findings) {
    let Some(of) = field.message().filter(|of| pool.message(*of).map_entry) else { return };
    let entry = pool.message(of);
    let is_own = of.file == message.file
        && entry.parent == Some(message.index)
        && field.name.span == entry.name.span;
    if !is_own {
        let text = format!("'{}' is made for a map, and no type for fields", entry.full_name);
        findings.add(Diagnostic::error(text, pool.files[message.file].place(field.ty_span)));
    }
}

fn map(pool: &Pool, id: FileId, field: &Field, findings: &mut Findings) {
    if !pool.is_map(field) {
        return;
    }
    let Some(entry) = field.message().map(|entry| pool.message(entry)) else { return };
    let [key, value] = &entry.fields[..] else { return };
    let file = &pool.files[id];
    let fits = match key.ty {
        Type::Scalar(Scalar::Float | Scalar::Double | Scalar::Bytes) => false,
        Type::Scalar(_) => true,
        // Not found, which was told.
        Type::Named(_) => true,
        Type::Message(_) | Type::Group(_) | Type::Enum(_) => false,
    };
    if !fits {
        let text = "the keys of a map are integers, strings or bools";
        findings.add(Diagnostic::error(text, file.place(key.ty_span)));
    }
    if let Type::Enum(of) = value.ty
        && pool.enumeration(of).values.first().is_some_and(|first| first.number != 0)
    {
        let text = "the first value of this enum is not 0: others refuse it in a map";
        findings.add(Diagnostic::warning(text, file.place(value.ty_span)));
    }
}

fn extension(pool: &Pool, id: FileId, field: &Field, extendee: Id, findings: &mut Findings) {
    let file = &pool.files[id];
    let message = pool.message(extendee);
    let mut ranges = message.extension_ranges.iter();
    if !ranges.any(|range| range.range.contains(field.number)) {
        let text =
            format!("{} has no range of extensions with {}", message.full_name, field.number);
        let place = pool.files[extendee.file].place(message.name.span);
        let error = Diagnostic::error(text, file.place(field.number_span));
        findings.add(error.related("declared here", place));
    }
    let of_options = message.full_name.strip_prefix("google.protobuf.");
    let of_options = of_options.is_some_and(|name| OPTIONS.contains(&name));
    if file.edition == Edition::Proto3 && !of_options {
        let span = field.extendee.as_ref().map_or(field.span, |extendee| extendee.name.span);
        let text = "in proto3, only options can be extended";
        findings.add(Diagnostic::error(text, file.place(span)));
    }
}

/// What proto3 files may extend.
const OPTIONS: &[&str] = &[
    "FileOptions",
    "MessageOptions",
    "FieldOptions",
    "EnumOptions",
    "EnumValueOptions",
    "ServiceOptions",
    "MethodOptions",
    "OneofOptions",
    "ExtensionRangeOptions",
    "StreamOptions",
    "SourceCodeInfo",
    "FeatureSet",
];
