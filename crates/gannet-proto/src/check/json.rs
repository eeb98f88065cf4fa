//! Names of fields in JSON: no two alike.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Findings};
use crate::encode::json_name;
use crate::features::{Feature, JSON_LEGACY_BEST_EFFORT};
use crate::options::number::MESSAGE_LEGACY_JSON_CONFLICTS;
use crate::options::wire::find_bool;
use crate::tree::{Field, File, Message};

struct Name<'m> {
    field: &'m Field,
    text: String,
    is_custom: bool,
}

pub(super) fn check(file: &File, message: &Message, findings: &mut Findings) {
    if find_bool(&message.options.records, MESSAGE_LEGACY_JSON_CONFLICTS) {
        return;
    }
    // Field masks know names without those that are set, so both are looked at.
    for with_custom in [false, true] {
        names(file, message, with_custom, findings);
    }
}

fn names(file: &File, message: &Message, with_custom: bool, findings: &mut Findings) {
    let mut seen: HashMap<String, Name<'_>> = HashMap::new();
    for field in &message.fields {
        let name = name_of(field, with_custom);
        let place = file.place(field.json_name.as_ref().map_or(field.name.span, |n| n.span));
        if name.is_custom && name.text.starts_with('[') && name.text.ends_with(']') {
            let text = "a json_name cannot be in brackets, as extensions are";
            findings.add(Diagnostic::error(text, place));
            continue;
        }
        let Some(other) = seen.get(&name.text) else {
            seen.insert(name.text.clone(), name);
            continue;
        };
        if with_custom && !name.is_custom && !other.is_custom {
            continue;
        }
        let text = format!(
            "'{}' and '{}' are both '{}' in JSON",
            other.field.name.text, field.name.text, name.text
        );
        let lenient = message.features.is(Feature::JsonFormat, JSON_LEGACY_BEST_EFFORT);
        let found = if lenient && !(name.is_custom && other.is_custom) {
            Diagnostic::warning(text, place)
        } else {
            Diagnostic::error(text, place)
        };
        findings.add(found.related("the other one", file.place(other.field.name.span)));
    }
}

fn name_of(field: &Field, with_custom: bool) -> Name<'_> {
    let default = json_name(&field.name.text);
    match &field.json_name {
        Some(custom) if with_custom && custom.text != default => {
            Name { field, text: custom.text.clone(), is_custom: true }
        }
        _ => Name { field, text: default, is_custom: false },
    }
}
