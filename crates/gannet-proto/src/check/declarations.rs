//! Declarations of extensions in advance: what a range says about the extensions that use it.

use std::collections::HashSet;

use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::lexer::is_identifier;
use crate::link::pool::Pool;
use crate::options::number::{RANGE_DECLARATION, RANGE_VERIFICATION};
use crate::options::wire::{Record, find_bool, find_messages, find_text, find_varint};
use crate::tree::{ExtensionRange, Field, File, FileId, Message, Scalar, Type};

const VERIFICATION_DECLARATION: u64 = 0;
const VERIFICATION_UNVERIFIED: u64 = 1;

/// A declaration, of `google.protobuf.ExtensionRangeOptions.Declaration`.
struct Declaration<'r> {
    number: i32,
    full_name: Option<&'r str>,
    ty: Option<&'r str>,
    reserved: bool,
    repeated: bool,
}

impl<'r> Declaration<'r> {
    fn of(records: &'r [Record]) -> Self {
        let number = find_varint(records, 1).and_then(|number| i32::try_from(number).ok());
        Self {
            number: number.unwrap_or_default(),
            full_name: find_text(records, 2),
            ty: find_text(records, 3),
            reserved: find_bool(records, 5),
            repeated: find_bool(records, 6),
        }
    }
}

fn declarations(range: &ExtensionRange) -> impl Iterator<Item = Declaration<'_>> {
    find_messages(&range.options.records, RANGE_DECLARATION).map(Declaration::of)
}

/// The declarations in the ranges of a message.
pub(super) fn check(file: &File, message: &Message, findings: &mut Findings) {
    let mut names = HashSet::new();
    for range in &message.extension_ranges {
        let verification = find_varint(&range.options.records, RANGE_VERIFICATION);
        let mut any = false;
        let mut numbers = HashSet::new();
        for declaration in declarations(range) {
            any = true;
            let mistake = mistake(range, &declaration, &mut numbers, &mut names);
            if let Some(text) = mistake {
                findings.add(Diagnostic::error(text, file.place(span(range, "declaration"))));
            }
        }
        if any && verification == Some(VERIFICATION_UNVERIFIED) {
            let text = "a range with declarations cannot be UNVERIFIED";
            findings.add(Diagnostic::error(text, file.place(span(range, "verification"))));
        }
    }
}

fn span(range: &ExtensionRange, option: &str) -> Span {
    range.options.declared(option).map_or(range.range.span, |option| option.name_span())
}

fn mistake<'r>(
    range: &ExtensionRange,
    declaration: &Declaration<'r>,
    numbers: &mut HashSet<i32>,
    names: &mut HashSet<&'r str>,
) -> Option<String> {
    let number = declaration.number;
    if !range.range.contains(number) {
        return Some(format!("the declaration of {number} is outside of the range"));
    }
    if !numbers.insert(number) {
        return Some(format!("{number} is declared twice"));
    }
    let (Some(full_name), Some(ty)) = (declaration.full_name, declaration.ty) else {
        let neither = declaration.full_name.is_none() && declaration.ty.is_none();
        return (!neither || !declaration.reserved)
            .then(|| format!("the declaration of {number} needs 'full_name' and 'type'"));
    };
    if !names.insert(full_name) {
        return Some(format!("the extension '{full_name}' is declared twice"));
    }
    let named =
        |name: &str| name.strip_prefix('.').is_some_and(|name| name.split('.').all(is_identifier));
    if !named(full_name) {
        return Some(format!("'{full_name}' is not a full name with a dot before it"));
    }
    let is_type = Scalar::of(ty).is_some() || named(ty);
    (!is_type).then(|| format!("'{ty}' is not a full name with a dot before it"))
}

/// The extensions of the file, against the declarations in what they extend.
pub(super) fn extensions(pool: &Pool, id: FileId, findings: &mut Findings) {
    let file = &pool.files[id];
    for field in &file.extensions {
        let extendee = field.extendee.as_ref().and_then(|extendee| extendee.message);
        let Some(message) = extendee.map(|extendee| pool.message(extendee)) else { continue };
        let mut ranges = message.extension_ranges.iter();
        let Some(range) = ranges.find(|range| range.range.contains(field.number)) else {
            continue;
        };
        // Those of options are for everybody, and are declared for protobuf's own only.
        if message.full_name.starts_with("google.protobuf.") {
            continue;
        }
        if let Some(text) = undeclared(pool, message, range, field) {
            findings.add(Diagnostic::error(text, file.place(field.number_span)));
        }
    }
}

fn undeclared(
    pool: &Pool,
    message: &Message,
    range: &ExtensionRange,
    field: &Field,
) -> Option<String> {
    let (number, full_name) = (field.number, &message.full_name);
    let verification = find_varint(&range.options.records, RANGE_VERIFICATION);
    let must = verification == Some(VERIFICATION_DECLARATION);
    let mut any = false;
    let declaration = declarations(range).find(|declaration| {
        any = true;
        declaration.number == number
    });
    let Some(declaration) = declaration else {
        return (any || must)
            .then(|| format!("{full_name} does not declare the extension {number}"));
    };
    if declaration.reserved {
        return Some(format!("{full_name} reserves the extension number {number}"));
    }
    let actual = format!(".{}", field.full_name);
    if declaration.full_name.is_some_and(|declared| declared != actual) {
        let declared = declaration.full_name.unwrap_or_default();
        return Some(format!("{full_name} declares {number} as '{declared}', not '{actual}'"));
    }
    let ty = match &field.ty {
        Type::Message(id) | Type::Group(id) => format!(".{}", pool.message(*id).full_name),
        Type::Enum(id) => format!(".{}", pool.enumeration(*id).full_name),
        Type::Scalar(scalar) => scalar.name().to_owned(),
        Type::Named(_) => return None,
    };
    if let Some(declared) = declaration.ty.filter(|declared| *declared != ty) {
        return Some(format!("{full_name} declares {number} as of '{declared}', not of '{ty}'"));
    }
    (declaration.repeated != field.is_repeated()).then(|| {
        let label = if declaration.repeated { "repeated" } else { "not repeated" };
        format!("{full_name} declares {number} as {label}")
    })
}
