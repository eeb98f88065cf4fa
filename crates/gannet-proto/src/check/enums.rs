//! Enums: their values' numbers and names.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Findings};
use crate::features::{ENUM_CLOSED, Feature};
use crate::options::number::{ENUM_ALLOW_ALIAS, ENUM_LEGACY_JSON_CONFLICTS};
use crate::options::wire::find_bool;
use crate::tree::{Edition, Enum, EnumValue, File};

pub(super) fn declared(file: &File, declared: &Enum, findings: &mut Findings) {
    if declared.values.is_empty() {
        let text = format!("the enum '{}' has no values", declared.name.text);
        findings.add(Diagnostic::error(text, file.place(declared.name.span)));
    }
    for value in &declared.values {
        let number = value.number;
        let range = declared.reserved.ranges.iter().find(|range| range.contains(number));
        let name = declared.reserved.names.iter().find(|name| name.text == value.name.text);
        let clash = match (range, name) {
            (Some(range), _) => {
                let text = format!("the value '{}' has a reserved number", value.name.text);
                Some((text, value.number_span, range.span))
            }
            (None, Some(name)) => {
                let text = format!("the name '{}' is reserved", value.name.text);
                Some((text, value.name.span, name.span))
            }
            (None, None) => None,
        };
        if let Some((text, here, there)) = clash {
            let error = Diagnostic::error(text, file.place(here));
            findings.add(error.related("reserved here", file.place(there)));
        }
    }
}

pub(super) fn interpreted(file: &File, declared: &Enum, findings: &mut Findings) {
    let closed = declared.features.is(Feature::EnumType, ENUM_CLOSED);
    if let Some(first) = declared.values.first().filter(|first| first.number != 0 && !closed) {
        let text = "the first value of an open enum must be 0";
        let error = Diagnostic::error(text, file.place(first.number_span));
        findings.add(error.help("it is what fields have that are not set"));
    }
    numbers(file, declared, findings);
    prefixes(file, declared, findings);
}

fn numbers(file: &File, declared: &Enum, findings: &mut Findings) {
    if find_bool(&declared.options.records, ENUM_ALLOW_ALIAS) {
        return;
    }
    let mut seen: HashMap<i32, &EnumValue> = HashMap::new();
    for value in &declared.values {
        let earlier = *seen.entry(value.number).or_insert(value);
        if !std::ptr::eq(earlier, value) {
            let text = format!(
                "'{}' has the number of '{}', {}",
                value.name.text, earlier.name.text, value.number
            );
            let error = Diagnostic::error(text, file.place(value.number_span));
            findings.add(
                error
                    .related("first used here", file.place(earlier.number_span))
                    .help("if this is meant, say `option allow_alias = true;` in the enum"),
            );
        }
    }
}

/// Names must differ without the enum's name before them, and whatever their case: languages
/// shorten them.
fn prefixes(file: &File, declared: &Enum, findings: &mut Findings) {
    let mut seen: HashMap<String, &EnumValue> = HashMap::new();
    for value in &declared.values {
        let short = pascal(without_prefix(&declared.name.text, &value.name.text));
        let earlier = *seen.entry(short).or_insert(value);
        if earlier.name.text == value.name.text || earlier.number == value.number {
            continue;
        }
        let text = format!(
            "'{}' and '{}' are the same without the enum's name before them and without case",
            earlier.name.text, value.name.text
        );
        let place = file.place(value.name.span);
        let legacy = find_bool(&declared.options.records, ENUM_LEGACY_JSON_CONFLICTS);
        let found = if legacy && file.edition == Edition::Proto2 {
            Diagnostic::warning(text, place)
        } else {
            Diagnostic::error(text, place)
        };
        findings.add(found.related("the other one", file.place(earlier.name.span)));
    }
}

/// A value's name without the enum's, of which case and underscores do not count; but not if
/// nothing or a number would be left.
fn without_prefix<'v>(name: &str, value: &'v str) -> &'v str {
    let mut prefix = name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase());
    let mut wanted = prefix.next();
    let mut rest = value.char_indices();
    while let Some(expected) = wanted {
        match rest.next() {
            Some((_, '_')) => {}
            Some((_, found)) if found.to_ascii_lowercase() == expected => wanted = prefix.next(),
            _ => return value,
        }
    }
    let short = rest.as_str().trim_start_matches('_');
    if short.is_empty() { value } else { short }
}

fn pascal(name: &str) -> String {
    let mut out = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.extend(letters.map(|letter| letter.to_ascii_lowercase()));
    }
    out
}
