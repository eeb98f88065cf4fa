//! Values in braces: messages in the text format, by the descriptor of what they are.

use super::interpret::{Context, Wrong};
use super::number::MESSAGE_SET_WIRE_FORMAT;
use super::scalar;
use super::values::{Values, records, set_item, whole_entry};
use super::wire::{self, Record, Value, find_bool};
use crate::diagnostic::Span;
use crate::features::Feature;
use crate::lexer::Kind;
use crate::link::pool::{Pool, Wanted};
use crate::literal;
use crate::tree::{Field, Id, Label, Piece, Scalar, Type};

/// How deep messages may lie in each other.
const DEPTH_MAX: usize = 100;

/// The records of a `message` that is written as `pieces`, which are at `span`.
pub(super) fn parse(
    context: &mut Context<'_, '_, '_>,
    message: Id,
    pieces: &[Piece],
    span: Span,
) -> Result<Vec<Record>, Wrong> {
    let end = Piece { kind: Kind::End, text: String::new(), span };
    let mut reader = Reader { context, pieces, at: 0, depth: 0, end };
    reader.message(message, None)
}

struct Reader<'a, 'p, 'l, 'f> {
    context: &'a mut Context<'p, 'l, 'f>,
    pieces: &'a [Piece],
    at: usize,
    depth: usize,
    end: Piece,
}

impl<'p> Reader<'_, 'p, '_, '_> {
    fn current(&self) -> &Piece {
        self.pieces.get(self.at).unwrap_or(&self.end)
    }

    fn looking_at(&self, text: &str) -> bool {
        self.current().text == text
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, text: &str) -> Result<(), Wrong> {
        if self.take(text) { Ok(()) } else { self.expected(&format!("'{text}'")) }
    }

    fn expected<T>(&mut self, what: &str) -> Result<T, Wrong> {
        let Piece { kind, text, span } = self.current().clone();
        let found = match kind {
            Kind::End => "the end of the value".to_owned(),
            _ => format!("'{text}'"),
        };
        self.context.wrong(format!("expected {what}, but found {found}"), span)
    }

    /// Fields up to `close`, or to the end.
    fn message(&mut self, id: Id, close: Option<&str>) -> Result<Vec<Record>, Wrong> {
        if self.depth == DEPTH_MAX {
            let span = self.current().span;
            let message = format!("messages lie in each other {DEPTH_MAX} deep at most");
            return self.context.wrong(message, span);
        }
        self.depth += 1;
        let start = self.current().span;
        let mut values = Values::new();
        loop {
            let ends = match close {
                Some(close) => self.take(close),
                None => self.current().kind == Kind::End,
            };
            if ends {
                break;
            }
            self.field(id, &mut values)?;
            if !self.take(",") {
                self.take(";");
            }
        }
        self.depth -= 1;
        self.check_required(id, &values, start)?;
        let pool = self.context.pool;
        let records = records(values);
        if pool.message(id).map_entry {
            return Ok(whole_entry(pool, id, &records));
        }
        let is_set = find_bool(&pool.message(id).options.records, MESSAGE_SET_WIRE_FORMAT);
        Ok(if is_set { records.into_iter().map(set_item).collect() } else { records })
    }

    fn check_required(&mut self, id: Id, values: &Values<'_>, span: Span) -> Result<(), Wrong> {
        let pool = self.context.pool;
        let message = pool.message(id);
        let required = message.fields.iter().filter(|field| field.label == Label::Required);
        for field in required {
            if !values.contains_key(&field.number) {
                let text = format!("{} needs its field '{}'", message.full_name, field.name.text);
                return self.context.wrong(text, span);
            }
        }
        Ok(())
    }

    fn field(&mut self, id: Id, values: &mut Values<'p>) -> Result<(), Wrong> {
        let span = self.current().span;
        let pool = self.context.pool;
        if pool.message(id).full_name == "google.protobuf.Any" && self.looking_at("[") {
            return self.any(id, values);
        }
        let field = if self.looking_at("[") {
            let name = self.bracketed()?;
            self.extension(id, &name, span)?
        } else {
            if self.current().kind != Kind::Identifier {
                return self.expected("the name of a field");
            }
            let name = self.current().text.clone();
            self.at += 1;
            match field_named(pool, id, &name) {
                Some(field) => field,
                None if pool.message(id).reserved.names.iter().any(|n| n.text == name) => {
                    self.take(":");
                    return self.skip_value(0);
                }
                None => {
                    let full_name = &pool.message(id).full_name;
                    let text = format!("{full_name} has no field '{name}'");
                    return self.context.wrong(text, span);
                }
            }
        };
        self.check_single(id, field, values, span)?;
        let colon = self.take(":");
        if !colon && field.message().is_none() {
            return self.expected("':'");
        }
        if field.is_repeated() && self.take("[") {
            values.entry(field.number).or_insert((field, Vec::new()));
            if self.take("]") {
                return Ok(());
            }
            loop {
                let value = self.value(field)?;
                values.entry(field.number).or_insert((field, Vec::new())).1.push(value);
                if self.take("]") {
                    return Ok(());
                }
                self.expect(",")?;
            }
        }
        let value = self.value(field)?;
        values.entry(field.number).or_insert((field, Vec::new())).1.push(value);
        Ok(())
    }

    /// A field has one value, and a oneof one field.
    fn check_single(
        &mut self,
        id: Id,
        field: &Field,
        values: &Values<'_>,
        span: Span,
    ) -> Result<(), Wrong> {
        if !field.is_repeated() && values.contains_key(&field.number) {
            return self.context.wrong(format!("'{}' is set twice", field.name.text), span);
        }
        let Some(oneof) = field.oneof else { return Ok(()) };
        let mut others = values.values().map(|(other, _)| other);
        let other = others.find(|other| other.extendee.is_none() && other.oneof == Some(oneof));
        let Some(other) = other else { return Ok(()) };
        let oneof = &self.context.pool.message(id).oneofs[oneof].name.text;
        let text = format!(
            "'{}' and '{}' are in the oneof '{oneof}', and cannot both be set",
            other.name.text, field.name.text
        );
        self.context.wrong(text, span)
    }

    /// The text between `[` and `]`: the name of an extension or the URL of a type.
    fn bracketed(&mut self) -> Result<String, Wrong> {
        self.expect("[")?;
        let mut text = String::new();
        while !self.looking_at("]") {
            if self.current().kind == Kind::End {
                return self.expected("']'");
            }
            text.push_str(&self.current().text);
            self.at += 1;
        }
        self.at += 1;
        Ok(text)
    }

    fn extension(&mut self, id: Id, name: &str, span: Span) -> Result<&'p Field, Wrong> {
        let pool = self.context.pool;
        let message = pool.message(id);
        let found = self.context.lookup.resolve(name, &message.full_name, Wanted::All);
        let field = found.ok().and_then(|symbol| match symbol.message() {
            // In a message set, the type's name may stand for the extension of that type.
            Some(of) => extension_of_type(pool, id, of),
            None => symbol.extension(),
        });
        let field = field.map(|id| pool.extension(id));
        let extends =
            |field: &&Field| field.extendee.as_ref().is_some_and(|e| e.message == Some(id));
        match field.filter(extends) {
            Some(field) => Ok(field),
            None => {
                let text = format!("{} has no extension '{name}'", message.full_name);
                self.context.wrong(text, span)
            }
        }
    }

    /// `[type.googleapis.com/a.Message] { … }`: a message within a `google.protobuf.Any`.
    fn any(&mut self, id: Id, values: &mut Values<'p>) -> Result<(), Wrong> {
        let span = self.current().span;
        let url = self.bracketed()?;
        let pool = self.context.pool;
        let (prefix, name) = url.rsplit_once('/').unwrap_or(("", &url));
        let known = matches!(prefix, "type.googleapis.com" | "type.googleprod.com");
        let found = self.context.lookup.find(name).and_then(|symbol| symbol.message());
        let Some(message) = found.filter(|_| known) else {
            return self.context.wrong(format!("there is no type '{url}'"), span);
        };
        self.take(":");
        let close = self.open()?;
        let records = self.message(message, Some(close))?;
        let mut encoded = Vec::new();
        wire::write(&records, &mut encoded);
        for (number, value) in [(1, url.into_bytes()), (2, encoded)] {
            let field = pool.message(id).fields.iter().find(|field| field.number == number);
            let Some(field) = field else { return Err(Wrong) };
            self.check_single(id, field, values, span)?;
            values.insert(number, (field, vec![Value::Bytes(value)]));
        }
        Ok(())
    }

    /// The brace that opens a message; returns the one that closes it.
    fn open(&mut self) -> Result<&'static str, Wrong> {
        if self.take("<") {
            return Ok(">");
        }
        if self.take("{") {
            return Ok("}");
        }
        self.expected("'{'")
    }

    fn value(&mut self, field: &Field) -> Result<Value, Wrong> {
        match field.ty {
            Type::Message(id) => {
                let close = self.open()?;
                Ok(Value::Message(self.message(id, Some(close))?))
            }
            Type::Group(id) => {
                let close = self.open()?;
                Ok(Value::Group(self.message(id, Some(close))?))
            }
            Type::Enum(id) => self.enum_value(id),
            Type::Scalar(scalar) => self.scalar(scalar),
            Type::Named(_) => Err(Wrong),
        }
    }

    fn enum_value(&mut self, id: Id) -> Result<Value, Wrong> {
        let span = self.current().span;
        let declared = self.context.pool.enumeration(id);
        let shown = self.current().text.clone();
        let number = if self.current().kind == Kind::Identifier {
            self.at += 1;
            let value = declared.values.iter().find(|value| value.name.text == shown);
            value.map(|value| value.number)
        } else {
            let number = i32::try_from(self.integer()?).ok();
            let is_known =
                |number: &i32| declared.values.iter().any(|value| value.number == *number);
            let closed = declared.features.is(Feature::EnumType, crate::features::ENUM_CLOSED);
            number.filter(|number| !closed || is_known(number))
        };
        match number {
            Some(number) => Ok(Value::Varint(wire::from_i64(number.into()))),
            None => {
                let text = format!("{} has no value '{shown}'", declared.full_name);
                self.context.wrong(text, span)
            }
        }
    }

    fn integer(&mut self) -> Result<i128, Wrong> {
        let negative = self.take("-");
        let Piece { kind, text, span } = self.current().clone();
        if kind != Kind::Integer {
            return self.expected("an integer");
        }
        self.at += 1;
        match literal::integer(&text, u64::MAX) {
            Some(value) if negative => Ok(-i128::from(value)),
            Some(value) => Ok(i128::from(value)),
            None => self.context.wrong("this number is out of range", span),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Result<Value, Wrong> {
        let Piece { kind, text, span } = self.current().clone();
        match scalar {
            Scalar::String | Scalar::Bytes => {
                if kind != Kind::String {
                    return self.expected("a string");
                }
                let mut bytes = Vec::new();
                while self.current().kind == Kind::String {
                    literal::unescape(&self.current().text, &mut bytes);
                    self.at += 1;
                }
                Ok(Value::Bytes(bytes))
            }
            Scalar::Bool => {
                let value = match &text[..] {
                    "true" | "True" | "t" => 1,
                    "false" | "False" | "f" => 0,
                    _ if kind == Kind::Integer => match literal::integer(&text, 1) {
                        Some(value) => value,
                        None => return self.expected("'true' or 'false'"),
                    },
                    _ => return self.expected("'true' or 'false'"),
                };
                self.at += 1;
                Ok(Value::Varint(value))
            }
            Scalar::Float | Scalar::Double => {
                let value = self.double()?;
                scalar::float(scalar, value).ok_or(Wrong)
            }
            _ => {
                let value = self.integer()?;
                match scalar::integer(scalar, value) {
                    Some(Ok(value)) => Ok(value),
                    Some(Err((min, max))) => {
                        let text = format!("this number must be from {min} to {max}");
                        self.context.wrong(text, span)
                    }
                    None => Err(Wrong),
                }
            }
        }
    }

    fn double(&mut self) -> Result<f64, Wrong> {
        let negative = self.take("-");
        let Piece { kind, text, .. } = self.current().clone();
        let value = match (kind, &text.to_ascii_lowercase()[..]) {
            (Kind::Identifier, "inf" | "infinity") => Some(f64::INFINITY),
            (Kind::Identifier, "nan") => Some(f64::NAN),
            (Kind::Integer | Kind::Float, number) => literal::float(number),
            _ => None,
        };
        let Some(value) = value else { return self.expected("a number") };
        self.at += 1;
        Ok(if negative { -value } else { value })
    }

    /// The value of a field that is reserved, which is read and not kept.
    fn skip_value(&mut self, depth: usize) -> Result<(), Wrong> {
        if depth == DEPTH_MAX {
            return self.expected("less depth");
        }
        let opens = ["{", "<", "["].iter().position(|open| self.looking_at(open));
        let Some(opens) = opens else {
            self.take("-");
            if !matches!(
                self.current().kind,
                Kind::Identifier | Kind::Integer | Kind::Float | Kind::String
            ) {
                return self.expected("a value");
            }
            self.at += 1;
            return Ok(());
        };
        let close = ["}", ">", "]"][opens];
        self.at += 1;
        while !self.take(close) {
            if self.current().kind == Kind::End {
                return self.expected(&format!("'{close}'"));
            }
            if ["{", "<", "["].iter().any(|open| self.looking_at(open)) {
                self.skip_value(depth + 1)?;
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }
}

/// A field by its name; a group also by the name of its type.
fn field_named<'p>(pool: &'p Pool, id: Id, name: &str) -> Option<&'p Field> {
    let fields = &pool.message(id).fields;
    fields.iter().find(|field| field.name.text == name).or_else(|| {
        let lower = name.to_ascii_lowercase();
        let field = fields.iter().find(|field| field.name.text == lower)?;
        let Type::Group(group) = field.ty else { return None };
        (pool.message(group).name.text == name).then_some(field)
    })
}

/// The extension of `set` that is declared within the message `of`, and is of that type.
fn extension_of_type(pool: &Pool, set: Id, of: Id) -> Option<Id> {
    let declared = pool.message(of).children.extensions.iter();
    let mut ids = declared.map(|index| Id { file: of.file, index: *index });
    ids.find(|id| {
        let field = pool.extension(*id);
        let extends = field.extendee.as_ref().is_some_and(|e| e.message == Some(set));
        extends && matches!(field.ty, Type::Message(ty) if ty == of)
    })
}
