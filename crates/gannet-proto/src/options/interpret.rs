//! One option after the other: its name is followed through the fields of messages, its value
//! becomes that of the last one.

use std::collections::HashMap;

use super::element::{Element, elements};
use super::scalar;
use super::text;
use super::wire::{self, Known, Record, Value};
use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::link::pool::{Lookup, Pool, Wanted};
use crate::tree::{Field, File, FileId, Id, NamePart, OptionDecl, OptionValue, Scalar, Type};

/// How many fields a name may go through: what it comes to is messages in messages.
const NAME_PARTS_MAX: usize = 100;

/// Standard options come first, because features are among them, and custom options' own
/// declarations can have features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Standard,
    Custom,
}

/// What the options of an element came to.
#[derive(Debug)]
pub(crate) struct Interpreted {
    element: Element,
    records: Vec<Record>,
    /// Places, and the paths that they get.
    paths: Vec<(usize, Vec<i32>)>,
}

/// Interprets the options of one phase, of all elements of the file.
pub(crate) fn interpret(
    pool: &Pool,
    id: FileId,
    phase: Phase,
    lookup: &Lookup<'_>,
    findings: &mut Findings,
) -> Vec<Interpreted> {
    let file = &pool.files[id];
    let mut interpreted = Vec::new();
    for element in elements(file) {
        let options = element.options(file);
        let is_custom =
            |option: &OptionDecl| option.name.first().is_some_and(|part| part.is_extension);
        let wanted = |option: &&OptionDecl| is_custom(option) == (phase == Phase::Custom);
        let declared: Vec<&OptionDecl> = options.declared.iter().filter(wanted).collect();
        if declared.is_empty() {
            continue;
        }
        let Some(message) = pool.message_named(element.kind().message()) else {
            let text = format!("{} is not declared", element.kind().message());
            let place = file.place(declared[0].name_span());
            let help = "the file google/protobuf/descriptor.proto that was found lacks it";
            findings.add(Diagnostic::error(text, place).help(help));
            continue;
        };
        let scope = element.scope(file);
        let records = options.records.clone();
        let (counts, paths) = (HashMap::new(), Vec::new());
        let context = Context { pool, id, lookup, findings, scope };
        let mut options = OptionsOf { context, message, records, counts, paths };
        for option in declared {
            // What is wrong is told; the options that follow may be right.
            let _ = options.option(option);
        }
        let (records, paths) = (in_order(pool, message, options.records), options.paths);
        interpreted.push(Interpreted { element, records, paths });
    }
    interpreted
}

/// Puts options into their elements, and their paths to their places.
pub(crate) fn set(file: &mut File, interpreted: Vec<Interpreted>) {
    for Interpreted { element, records, paths } in interpreted {
        element.parts_mut(file).0.records = records;
        for (location, steps) in paths {
            let path = &mut file.locations[location].path;
            path.pop();
            path.extend(steps);
        }
    }
}

/// The records of `message` in the order in which they are written.
fn in_order(pool: &Pool, message: Id, records: Vec<Record>) -> Vec<Record> {
    let known = |message: Id, number: i32| {
        let field = pool.message(message).fields.iter().find(|field| field.number == number);
        match field.map(|field| (field, field.message())) {
            None => Known::No,
            Some((field, Some(inner))) if !field.is_repeated() => Known::Message(inner),
            Some(_) => Known::Yes,
        }
    };
    wire::in_order(records, message, &known)
}

/// What is wrong was told.
pub(super) struct Wrong;

/// What interpreting needs to know.
pub(super) struct Context<'p, 'l, 'f> {
    pub(super) pool: &'p Pool,
    pub(super) id: FileId,
    pub(super) lookup: &'l Lookup<'p>,
    findings: &'f mut Findings,
    scope: String,
}

impl Context<'_, '_, '_> {
    pub(super) fn wrong<T>(&mut self, message: impl Into<String>, span: Span) -> Result<T, Wrong> {
        let place = self.pool.files[self.id].place(span);
        self.findings.add(Diagnostic::error(message, place));
        Err(Wrong)
    }

    fn wrong_with_help<T>(
        &mut self,
        message: impl Into<String>,
        span: Span,
        help: impl Into<String>,
    ) -> Result<T, Wrong> {
        let place = self.pool.files[self.id].place(span);
        self.findings.add(Diagnostic::error(message, place).help(help));
        Err(Wrong)
    }
}

/// The options of one element.
struct OptionsOf<'p, 'l, 'f> {
    context: Context<'p, 'l, 'f>,
    message: Id,
    records: Vec<Record>,
    /// How often a repeated option was set, by its path.
    counts: HashMap<Vec<i32>, i32>,
    paths: Vec<(usize, Vec<i32>)>,
}

impl<'p> OptionsOf<'p, '_, '_> {
    fn option(&mut self, option: &OptionDecl) -> Result<(), Wrong> {
        let fields = self.fields(option)?;
        let Some((leaf, outer)) = fields.split_last() else { return Err(Wrong) };
        let mut path: Vec<i32> = fields.iter().map(|field| field.number).collect();
        if leaf.is_repeated() {
            let count = self.counts.entry(path.clone()).or_default();
            path.push(*count);
            *count += 1;
        } else if is_set(&self.records, &fields) {
            let message = format!("the option {} is set twice", shown(&option.name));
            return self.context.wrong(message, option.name_span());
        }
        let value = self.value(leaf, option)?;
        let mut record = Record { number: leaf.number, value };
        for field in outer.iter().rev() {
            let value = match field.ty {
                Type::Group(_) => Value::Group(vec![record]),
                _ => Value::Message(vec![record]),
            };
            record = Record { number: field.number, value };
        }
        self.records.push(record);
        if let Some(location) = option.location {
            self.paths.push((location, path));
        }
        Ok(())
    }

    /// The fields that the parts of the name are, each of the message that the one before is.
    fn fields(&mut self, option: &OptionDecl) -> Result<Vec<&'p Field>, Wrong> {
        let mut message = self.message;
        let mut fields = Vec::new();
        if option.name.len() > NAME_PARTS_MAX {
            let message = format!("the name of an option has {NAME_PARTS_MAX} parts at most");
            return self.context.wrong(message, option.name_span());
        }
        for (index, part) in option.name.iter().enumerate() {
            let so_far = &option.name[..=index];
            let (field, file) = self.part(message, part, so_far)?;
            if file == self.context.id
                && option.name[0].name.text == "features"
                && !option.name[0].is_extension
            {
                let message = format!("the feature {} is declared in this file", shown(so_far));
                let help = "features can be set in other files only";
                return self.context.wrong_with_help(message, part.name.span, help);
            }
            fields.push(field);
            if index + 1 == option.name.len() {
                break;
            }
            match field.message() {
                None => {
                    let message = format!("{} is not a message, and has no fields", shown(so_far));
                    return self.context.wrong(message, part.name.span);
                }
                Some(_) if field.is_repeated() => {
                    let message = format!("{} is repeated", shown(so_far));
                    let help = "set each of them as a whole, as in `name = { field: value }`";
                    return self.context.wrong_with_help(message, part.name.span, help);
                }
                Some(inner) => message = inner,
            }
        }
        Ok(fields)
    }

    fn part(
        &mut self,
        message: Id,
        part: &NamePart,
        so_far: &[NamePart],
    ) -> Result<(&'p Field, FileId), Wrong> {
        let pool = self.context.pool;
        let (name, span) = (&part.name.text, part.name.span);
        let full_name = &pool.message(message).full_name;
        if !part.is_extension {
            let field = pool.message(message).fields.iter().find(|field| field.name.text == *name);
            return match field {
                Some(field) if name != "uninterpreted_option" => Ok((field, message.file)),
                _ => {
                    let what = format!("there is no option {}", shown(so_far));
                    let help = format!(
                        "{full_name} has no field '{name}'; names of custom options are in \
                         parentheses"
                    );
                    self.context.wrong_with_help(what, span, help)
                }
            };
        }
        let symbol = self.context.lookup.resolve(name, &self.context.scope, Wanted::All);
        match symbol.as_ref().map(|symbol| symbol.extension()) {
            Ok(Some(id)) => {
                let field = pool.extension(id);
                let extendee = field.extendee.as_ref().and_then(|extendee| extendee.message);
                if extendee == Some(message) {
                    return Ok((field, id.file));
                }
                let what = format!("{} does not extend {full_name}", shown(so_far));
                self.context.wrong(what, span)
            }
            Ok(None) => {
                let what = format!("there is no option {}", shown(so_far));
                let help = format!("'{name}' is something else here; a dot before it may help");
                self.context.wrong_with_help(what, span, help)
            }
            Err(not_found) => {
                let what = format!("there is no option {}", shown(so_far));
                let help = match (&not_found.not_imported, &not_found.taken_for) {
                    (Some(file), _) => {
                        let file = &pool.files[*file].name;
                        format!("it is defined in \"{file}\", which is not imported here")
                    }
                    (None, Some(taken_for)) => format!(
                        "it was looked for as '{taken_for}', in the innermost scope that fits; \
                         with a dot before it, '(.{name})' starts from the outermost"
                    ),
                    (None, None) => "import the file that defines it".to_owned(),
                };
                self.context.wrong_with_help(what, span, help)
            }
        }
    }

    fn value(&mut self, field: &Field, option: &OptionDecl) -> Result<Value, Wrong> {
        let (span, name) = (option.value_span, shown(&option.name));
        match (&field.ty, &option.value) {
            (Type::Message(id) | Type::Group(id), OptionValue::Aggregate(pieces)) => {
                let records = text::parse(&mut self.context, *id, pieces, span)?;
                Ok(match field.ty {
                    Type::Group(_) => Value::Group(records),
                    _ => Value::Message(records),
                })
            }
            (Type::Message(_) | Type::Group(_), _) => {
                let message = format!("the option {name} is a message");
                let help = "set all of it by `name = { field: value }`, or a part by \
                            `name.field = value`";
                self.context.wrong_with_help(message, span, help)
            }
            (Type::Enum(id), OptionValue::Identifier(value)) => {
                let declared = self.context.pool.enumeration(*id);
                let found = declared.values.iter().find(|known| known.name.text == *value);
                match found {
                    Some(found) => Ok(Value::Varint(wire::from_i64(found.number.into()))),
                    None => {
                        let message = format!("{} has no value '{value}'", declared.full_name);
                        self.context.wrong(message, span)
                    }
                }
            }
            (Type::Scalar(scalar), value) => match scalar_value(*scalar, value) {
                Ok(value) => Ok(value),
                Err(wanted) => {
                    let message = format!("the option {name} is {wanted}");
                    self.context.wrong(message, span)
                }
            },
            (Type::Enum(id), _) => {
                let full_name = &self.context.pool.enumeration(*id).full_name;
                let message = format!("the option {name} is a value of {full_name}, by name");
                self.context.wrong(message, span)
            }
            (Type::Named(_), _) => Err(Wrong),
        }
    }
}

/// The value for a field of `scalar`, or what it should be.
fn scalar_value(scalar: Scalar, value: &OptionValue) -> Result<Value, String> {
    let number = match value {
        OptionValue::Positive(value) => Some(i128::from(*value)),
        OptionValue::Negative(value) => Some(i128::from(*value)),
        _ => None,
    };
    match (scalar, value) {
        (Scalar::Bool, OptionValue::Identifier(value)) if value == "true" => Ok(Value::Varint(1)),
        (Scalar::Bool, OptionValue::Identifier(value)) if value == "false" => Ok(Value::Varint(0)),
        (Scalar::Bool, _) => Err("'true' or 'false'".to_owned()),
        (Scalar::String | Scalar::Bytes, OptionValue::String(value)) => {
            Ok(Value::Bytes(value.clone()))
        }
        (Scalar::String | Scalar::Bytes, _) => Err("a string in quotes".to_owned()),
        (Scalar::Float | Scalar::Double, _) => {
            #[allow(clippy::cast_precision_loss, reason = "the nearest double is meant")]
            let value = match value {
                OptionValue::Float(value) => Some(*value),
                OptionValue::Identifier(value) if value == "inf" => Some(f64::INFINITY),
                OptionValue::Identifier(value) if value == "nan" => Some(f64::NAN),
                _ => number.map(|number| number as f64),
            };
            let value = value.and_then(|value| scalar::float(scalar, value));
            value.ok_or_else(|| "a number".to_owned())
        }
        _ => match number.and_then(|number| scalar::integer(scalar, number)) {
            Some(Ok(value)) => Ok(value),
            Some(Err((min, max))) => Err(format!("an integer from {min} to {max}")),
            None => Err("an integer".to_owned()),
        },
    }
}

/// Whether the last of `fields` has a value, each in the message that the one before is.
fn is_set(records: &[Record], fields: &[&Field]) -> bool {
    let Some((field, inner)) = fields.split_first() else { return true };
    records.iter().filter(|record| record.number == field.number).any(|record| {
        match &record.value {
            Value::Message(records) | Value::Group(records) if !inner.is_empty() => {
                is_set(records, inner)
            }
            _ => true,
        }
    })
}

fn shown(name: &[NamePart]) -> String {
    let parts = name.iter().map(|part| match part.is_extension {
        true => format!("({})", part.name.text),
        false => part.name.text.clone(),
    });
    format!("'{}'", parts.collect::<Vec<_>>().join("."))
}
