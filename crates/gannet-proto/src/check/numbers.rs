//! Numbers and names of messages: which can be, which are reserved, and none twice.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Findings};
use crate::tree::{FIELD_NUMBER_MAX, Field, File, Message, Range, Reserved};

/// Numbers that no field can have: of the implementation of protobuf.
const RESERVED: std::ops::RangeInclusive<i32> = 19_000..=19_999;

pub(super) fn check(file: &File, findings: &mut Findings) {
    for message in &file.messages {
        for field in &message.fields {
            number(file, field, findings);
        }
        reserved_twice(file, &message.reserved, findings);
        duplicates(file, message, findings);
        against_ranges(file, message, findings);
        extension_ranges(file, message, findings);
    }
    for declared in &file.enums {
        reserved_twice(file, &declared.reserved, findings);
    }
    for extension in &file.extensions {
        if extension.number <= 0 {
            number(file, extension, findings);
        }
    }
}

fn number(file: &File, field: &Field, findings: &mut Findings) {
    let message = if !(1..=FIELD_NUMBER_MAX).contains(&field.number) {
        format!("field numbers must be between 1 and {FIELD_NUMBER_MAX}")
    } else if RESERVED.contains(&field.number) {
        format!(
            "the numbers {} to {} are reserved for the implementation of protobuf",
            RESERVED.start(),
            RESERVED.end()
        )
    } else {
        return;
    };
    findings.add(Diagnostic::error(message, file.place(field.number_span)));
}

fn duplicates(file: &File, message: &Message, findings: &mut Findings) {
    let mut seen: HashMap<i32, &Field> = HashMap::new();
    for field in &message.fields {
        let earlier = *seen.entry(field.number).or_insert(field);
        if std::ptr::eq(earlier, field) || field.number <= 0 {
            continue;
        }
        let error = format!("field number '{}' is already used", field.number);
        let mut error = Diagnostic::error(error, file.place(field.number_span))
            .related("first defined here", file.place(earlier.number_span));
        if let Some(free) = next_free(message) {
            error = error.help(format!("the next free number is {free}"));
        }
        findings.add(error);
    }
}

/// The lowest number that nothing has.
fn next_free(message: &Message) -> Option<i32> {
    let fields = message.fields.iter().map(|field| (field.number, field.number));
    let extensions = message.extension_ranges.iter().map(|range| &range.range);
    let ranges = extensions.chain(&message.reserved.ranges);
    let implementation = [(*RESERVED.start(), *RESERVED.end())];
    let mut taken: Vec<(i32, i32)> =
        fields.chain(ranges.map(|range| (range.start, range.end))).chain(implementation).collect();
    taken.sort_unstable();
    let mut free = 1;
    for (start, end) in taken {
        if start > free {
            break;
        }
        free = free.max(end.saturating_add(1));
    }
    (free <= FIELD_NUMBER_MAX).then_some(free)
}

/// Fields against what is reserved and what is for extensions.
fn against_ranges(file: &File, message: &Message, findings: &mut Findings) {
    for field in &message.fields {
        let mut clash = |what: String, there: &Range, note: &str| {
            let error = Diagnostic::error(what, file.place(field.number_span));
            findings.add(error.related(note, file.place(there.span)));
        };
        let (name, number) = (&field.name.text, field.number);
        let in_range = |range: &&Range| range.contains(number);
        if let Some(range) = message.reserved.ranges.iter().find(in_range) {
            clash(format!("field '{name}' has a reserved number"), range, "reserved here");
        }
        let mut extensions = message.extension_ranges.iter().map(|range| &range.range);
        if let Some(range) = extensions.find(in_range) {
            let what = format!("field '{name}' has a number that is for extensions");
            clash(what, range, "declared here");
        }
        let reserved = message.reserved.names.iter().find(|reserved| reserved.text == *name);
        if let Some(reserved) = reserved {
            let what = format!("the field name '{name}' is reserved");
            let error = Diagnostic::error(what, file.place(field.name.span));
            findings.add(error.related("reserved here", file.place(reserved.span)));
        }
    }
}

/// Ranges and names that are reserved more than once, or that are none.
fn reserved_twice(file: &File, reserved: &Reserved, findings: &mut Findings) {
    for (index, range) in reserved.ranges.iter().enumerate() {
        order(file, range, findings);
        if let Some(other) = reserved.ranges[..index].iter().find(|other| other.overlaps(range)) {
            let error = Diagnostic::error("this is reserved already", file.place(range.span));
            findings.add(error.related("reserved here", file.place(other.span)));
        }
    }
    for (index, name) in reserved.names.iter().enumerate() {
        if let Some(other) = reserved.names[..index].iter().find(|n| n.text == name.text) {
            let message = format!("the name '{}' is reserved twice", name.text);
            let error = Diagnostic::error(message, file.place(name.span));
            findings.add(error.related("reserved here", file.place(other.span)));
        }
    }
}

fn order(file: &File, range: &Range, findings: &mut Findings) {
    if range.start > range.end {
        let message = "the end of a range is not below its start";
        findings.add(Diagnostic::error(message, file.place(range.span)));
    }
}

fn extension_ranges(file: &File, message: &Message, findings: &mut Findings) {
    for range in &message.reserved.ranges {
        positive(file, range, findings);
    }
    for (index, range) in message.extension_ranges.iter().enumerate() {
        let range = &range.range;
        order(file, range, findings);
        positive(file, range, findings);
        let mut earlier = message.extension_ranges[..index].iter().map(|range| &range.range);
        let reserved = message.reserved.ranges.iter().find(|other| other.overlaps(range));
        let clash = match (earlier.find(|other| other.overlaps(range)), reserved) {
            (Some(other), _) => Some((other, "these numbers are for extensions already")),
            (None, Some(other)) => Some((other, "some of these numbers are reserved")),
            (None, None) => None,
        };
        if let Some((other, message)) = clash {
            let error = Diagnostic::error(message, file.place(range.span));
            findings.add(error.related("declared here", file.place(other.span)));
        }
    }
}

fn positive(file: &File, range: &Range, findings: &mut Findings) {
    if range.start <= 0 {
        let message = format!("field numbers must be between 1 and {FIELD_NUMBER_MAX}");
        findings.add(Diagnostic::error(message, file.place(range.span)));
    }
}
