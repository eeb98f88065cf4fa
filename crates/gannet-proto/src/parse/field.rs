//! Fields: of messages, of oneofs, and those that extend; with groups and maps, which declare a
//! message beside the field.

use super::{Parsed, Parser, Skip, step};
use crate::diagnostic::Span;
use crate::lexer::{Kind, Token};
use crate::literal;
use crate::tree::{
    Edition, Extendee, Field, Id, Label, Name, OptionDecl, Options, Scalar, Type, UNLINKED,
};

/// The type of a field as it is declared.
enum Declared {
    Plain(Type),
    Group,
    Map { key: Type, key_span: Span, value: Type, value_span: Span },
}

impl Parser<'_, '_> {
    pub(super) fn message_field(&mut self, message: usize) -> Parsed {
        let number = step(self.file.messages[message].fields.len());
        self.located(&[2, number], |parser, location| {
            let field = parser.labelled_field(Field::default(), Some(message), location)?;
            parser.file.messages[message].fields.push(field);
            Ok(())
        })
    }

    /// `extend`, in a message or not: fields for a message that is declared elsewhere.
    pub(super) fn extend(&mut self, scope: Option<usize>) -> Parsed {
        let outer = self.path.clone();
        let steps: &[i32] = if scope.is_some() { &[6] } else { &[7] };
        self.located(steps, |parser, location| {
            parser.next();
            let first = parser.current();
            let name = parser.type_name()?;
            let last = parser.previous();
            parser.expect_end_of_declaration("{", location)?;
            if parser.looking_at("}") {
                let span = parser.current().span;
                parser.error("an extend block has at least one field", span);
            }
            parser.fields("an extend block", |parser| {
                parser.extension(&name, (first, last), scope, &outer)
            })
        })
    }

    fn extension(
        &mut self,
        extendee: &Name,
        (first, last): (Token, Token),
        scope: Option<usize>,
        outer: &[i32],
    ) -> Parsed {
        let index = match scope {
            Some(message) => self.file.messages[message].children.extensions.len(),
            None => self.file.top.extensions.len(),
        };
        self.located(&[step(index)], |parser, location| {
            parser.record(&[2], first, last);
            let extendee = Some(Extendee { name: extendee.clone(), message: None });
            let field = Field { extendee, scope, ..Field::default() };
            // A group in it is declared where the extend block is.
            let field = parser.labelled_field_at(field, scope, location, outer)?;
            let at = parser.file.extensions.len();
            parser.file.extensions.push(field);
            match scope {
                Some(message) => parser.file.messages[message].children.extensions.push(at),
                None => parser.file.top.extensions.push(at),
            }
            Ok(())
        })
    }

    fn labelled_field(
        &mut self,
        field: Field,
        parent: Option<usize>,
        location: usize,
    ) -> Parsed<Field> {
        let outer = self.path[..self.path.len() - 2].to_vec();
        self.labelled_field_at(field, parent, location, &outer)
    }

    fn labelled_field_at(
        &mut self,
        mut field: Field,
        parent: Option<usize>,
        location: usize,
        outer: &[i32],
    ) -> Parsed<Field> {
        let label = match self.text() {
            "optional" => Some(Label::Optional),
            "required" => Some(Label::Required),
            "repeated" => Some(Label::Repeated),
            _ => None,
        };
        let span = self.current().span;
        if let Some(label) = label {
            self.check_label(label, span);
            self.located(&[4], |parser, _| {
                parser.next();
                Ok(())
            })?;
            field.label = label;
            field.label_span = Some(span);
            let proto3 = self.file.edition == Edition::Proto3;
            field.proto3_optional = proto3 && label == Label::Optional;
        } else if self.file.edition == Edition::Proto2 && !self.looking_at_map() {
            let help = "say 'optional', 'repeated' or 'required' before the type";
            let message = match self.current().kind {
                Kind::Identifier => "a field of proto2 needs a label",
                _ => return self.expected("a field or another statement of a message"),
            };
            self.error_with_help(message, span, help);
        }
        self.field(field, parent, location, outer)
    }

    fn check_label(&mut self, label: Label, span: Span) {
        if !self.file.edition.has_features() {
            return;
        }
        let (message, help) = match label {
            Label::Optional => (
                "there is no label 'optional' in editions",
                "leave it out: fields have presence unless features.field_presence says otherwise",
            ),
            Label::Required => (
                "there is no label 'required' in editions",
                "say [features.field_presence = LEGACY_REQUIRED]",
            ),
            Label::Repeated => return,
        };
        self.error_with_help(message, span, help);
    }

    fn looking_at_map(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|token| token.span);
        let next = next.map(|span| &self.source[span.start..span.end]);
        self.looking_at("map") && next == Some("<")
    }

    pub(super) fn field_without_label(
        &mut self,
        field: Field,
        parent: Option<usize>,
        location: usize,
    ) -> Parsed<Field> {
        let outer = self.path[..self.path.len() - 2].to_vec();
        self.field(field, parent, location, &outer)
    }

    fn field(
        &mut self,
        mut field: Field,
        parent: Option<usize>,
        location: usize,
        outer: &[i32],
    ) -> Parsed<Field> {
        let start = self.current().span;
        let declared = self.field_type(&mut field)?;
        let name = self.current();
        field.name = self.located(&[1], |parser, _| parser.name("the field's name"))?;
        if !self.take("=") {
            return self.expected("'=' and the field's number");
        }
        let (number, span) =
            self.located(&[3], |parser, _| parser.integer(u64::MAX, "the field's number"))?;
        // What is too great for a number of a field is told with those that are too small.
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        (field.number, field.number_span) = (number, span);
        field.span = start.to(span);
        self.field_options(&mut field)?;
        match declared {
            Declared::Group => self.group(&mut field, parent, name, location, outer)?,
            Declared::Plain(_) => self.expect_end_of_declaration(";", location)?,
            Declared::Map { key, key_span, value, value_span } => {
                self.expect_end_of_declaration(";", location)?;
                self.map_entry(&mut field, parent, (key, key_span), (value, value_span));
            }
        }
        Ok(field)
    }

    fn field_type(&mut self, field: &mut Field) -> Parsed<Declared> {
        let location = self.start_location();
        let start = self.current().span;
        let declared = if self.looking_at_map() {
            self.map_type(field)?
        } else if self.looking_at("group") {
            self.check_group();
            self.next();
            Declared::Group
        } else {
            let (ty, _) = self.plain_type()?;
            field.ty = ty.clone();
            Declared::Plain(ty)
        };
        field.ty_span = start.to(self.previous().span);
        self.end_location(location);
        let scalar = matches!(declared, Declared::Plain(Type::Scalar(_)) | Declared::Group);
        self.file.locations[location].path.push(if scalar { 5 } else { 6 });
        Ok(declared)
    }

    /// Groups went with the editions; the word is theirs all the same.
    fn check_group(&mut self) {
        if self.file.edition.has_features() {
            let span = self.current().span;
            let help = "declare a message, and its field with \
                        [features.message_encoding = DELIMITED]";
            self.error_with_help("there are no groups in editions", span, help);
        }
    }

    fn plain_type(&mut self) -> Parsed<(Type, Span)> {
        let span = self.current().span;
        if let Some(scalar) = Scalar::of(self.text()) {
            self.next();
            return Ok((Type::Scalar(scalar), span));
        }
        let name = self.type_name()?;
        Ok((Type::Named(name.text), name.span))
    }

    fn map_type(&mut self, field: &mut Field) -> Parsed<Declared> {
        let span = self.current().span;
        let mistake = if field.oneof.is_some() {
            Some("a map cannot be in a oneof")
        } else if field.label_span.is_some() {
            Some("a map has no label")
        } else if field.extendee.is_some() {
            Some("a map cannot be an extension")
        } else {
            None
        };
        if let Some(mistake) = mistake {
            self.error(mistake, span);
            return Err(Skip);
        }
        field.label = Label::Repeated;
        self.next();
        self.expect("<")?;
        let (key, key_span) = self.plain_type()?;
        self.expect(",")?;
        let (value, value_span) = self.plain_type()?;
        self.expect(">")?;
        Ok(Declared::Map { key, key_span, value, value_span })
    }

    fn field_options(&mut self, field: &mut Field) -> Parsed {
        if !self.looking_at("[") {
            return Ok(());
        }
        // The default and the JSON name are in the same brackets, but are no options.
        let path = self.path.clone();
        self.located(&[8], |parser, _| {
            parser.next();
            loop {
                match parser.text() {
                    "default" => parser.default(field, &path)?,
                    "json_name" => parser.json_name(field, &path)?,
                    _ => {
                        let option = parser.assignment()?;
                        field.options.declared.push(option);
                    }
                }
                if !parser.take(",") {
                    return parser.expect("]");
                }
            }
        })
    }

    fn json_name(&mut self, field: &mut Field, path: &[i32]) -> Parsed {
        if field.json_name.is_some() {
            let span = self.current().span;
            self.error("json_name is set twice", span);
        }
        self.located_at(path, 10, |parser| {
            parser.next();
            parser.expect("=")?;
            field.json_name = Some(parser.located(&[], |parser, _| parser.string("a string"))?);
            Ok(())
        })
    }

    fn located_at(
        &mut self,
        path: &[i32],
        last: i32,
        body: impl FnOnce(&mut Self) -> Parsed,
    ) -> Parsed {
        let inner = std::mem::replace(&mut self.path, path.to_vec());
        let result = self.located(&[last], |parser, _| body(parser));
        self.path = inner;
        result
    }

    fn default(&mut self, field: &mut Field, path: &[i32]) -> Parsed {
        if field.default.is_some() {
            let span = self.current().span;
            self.error("the default is set twice", span);
        }
        self.next();
        self.expect("=")?;
        let start = self.current().span;
        let mut text = String::new();
        self.located_at(path, 7, |parser| {
            text = parser.default_text(&field.ty)?;
            Ok(())
        })?;
        field.default = Some(Name { text, span: start.to(self.previous().span) });
        Ok(())
    }

    /// The default as text, the way descriptors hold it.
    fn default_text(&mut self, ty: &Type) -> Parsed<String> {
        let Type::Scalar(scalar) = *ty else {
            // Of an enum, if this is one: it is known only when its type is.
            let text = self.text().to_owned();
            self.next();
            return Ok(text);
        };
        match scalar {
            Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => {
                self.signed_default(i32::MAX.unsigned_abs().into())
            }
            Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => {
                self.signed_default(i64::MAX.unsigned_abs())
            }
            Scalar::Uint32 | Scalar::Fixed32 => self.unsigned_default(u32::MAX.into()),
            Scalar::Uint64 | Scalar::Fixed64 => self.unsigned_default(u64::MAX),
            Scalar::Float | Scalar::Double => {
                let negative = self.take("-");
                let value = self.number()?;
                let value = if negative && !value.is_nan() { -value } else { value };
                // Of a float, what is too great for it is infinite.
                #[allow(clippy::cast_possible_truncation, reason = "to the nearest float")]
                let text = match scalar {
                    Scalar::Float => literal::float_text(value as f32),
                    _ => literal::double_text(value),
                };
                Ok(text)
            }
            Scalar::Bool => match self.text() {
                text @ ("true" | "false") => {
                    self.next();
                    Ok(text.to_owned())
                }
                _ => self.expected("'true' or 'false'"),
            },
            Scalar::String => Ok(self.string("a string")?.text),
            Scalar::Bytes => Ok(literal::escape(&self.bytes("a string")?.0)),
        }
    }

    fn signed_default(&mut self, max: u64) -> Parsed<String> {
        let negative = self.take("-");
        let (value, _) = self.integer(max + u64::from(negative), "an integer")?;
        Ok(if negative { format!("-{value}") } else { value.to_string() })
    }

    fn unsigned_default(&mut self, max: u64) -> Parsed<String> {
        let span = self.current().span;
        if self.take("-") {
            self.error("this type has no numbers below 0", span);
        }
        Ok(self.integer(max, "an integer")?.0.to_string())
    }

    /// The block of a group: a message beside the field, which the field is named after.
    fn group(
        &mut self,
        field: &mut Field,
        parent: Option<usize>,
        name: Token,
        location: usize,
        outer: &[i32],
    ) -> Parsed {
        let index = self.add_message(parent);
        let steps = self.message_steps(parent);
        let start = self.file.locations[location].start;
        let field_path = std::mem::replace(&mut self.path, outer.to_vec());
        let result = self.located(&steps, |parser, group| {
            parser.file.locations[group].start = start;
            parser.record(&[1], name, name);
            let inner = std::mem::replace(&mut parser.path, field_path.clone());
            parser.record(&[6], name, name);
            parser.path = inner;
            parser.file.messages[index].name = field.name.clone();
            if !field.name.text.starts_with(|first: char| first.is_ascii_uppercase()) {
                parser.error("the name of a group starts with a capital letter", field.name.span);
            }
            if !parser.looking_at("{") {
                return parser.expected("'{' and the fields of the group");
            }
            parser.deeper(|parser| parser.message_block(index, group))
        });
        self.path = field_path;
        field.name.text.make_ascii_lowercase();
        field.ty = Type::Group(Id { file: UNLINKED, index });
        result
    }

    /// The message that a map's entries are.
    fn map_entry(
        &mut self,
        field: &mut Field,
        parent: Option<usize>,
        key: (Type, Span),
        value: (Type, Span),
    ) {
        let index = self.add_message(parent);
        field.ty = Type::Message(Id { file: UNLINKED, index });
        let entry_field = |name: &str, number, (ty, ty_span): (Type, Span)| Field {
            name: Name { text: name.to_owned(), span: ty_span },
            span: ty_span,
            number,
            number_span: ty_span,
            options: entry_options(&field.options),
            ty,
            ty_span,
            ..Field::default()
        };
        let fields = vec![entry_field("key", 1, key), entry_field("value", 2, value)];
        let entry = &mut self.file.messages[index];
        entry.name = Name { text: map_entry_name(&field.name.text), span: field.name.span };
        entry.map_entry = true;
        entry.fields = fields;
    }
}

/// Features of a map hold for its keys and values as well.
fn entry_options(options: &Options) -> Options {
    let is_features = |option: &&OptionDecl| {
        option.name.first().is_some_and(|part| !part.is_extension && part.name.text == "features")
    };
    let without_location = |option: &OptionDecl| OptionDecl { location: None, ..option.clone() };
    let declared = options.declared.iter().filter(is_features).map(without_location).collect();
    Options { declared, ..Options::default() }
}

/// `foo_bar` has entries of `FooBarEntry`.
pub(crate) fn map_entry_name(field: &str) -> String {
    let mut name = String::new();
    let mut upper = true;
    for character in field.chars() {
        if character == '_' {
            upper = true;
        } else {
            name.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
    }
    name + "Entry"
}
