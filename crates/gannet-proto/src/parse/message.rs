//! Messages: their statements, ranges of extensions, what is reserved, oneofs.

use super::{DEPTH_MAX, Parsed, Parser, Skip, step};
use crate::diagnostic::Span;
use crate::lexer::{Kind, Token};
use crate::tree::{
    Edition, ExtensionRange, FIELD_NUMBER_MAX, Label, Message, Name, Oneof, Options, Range,
    Reserved, Visibility,
};

/// Which field of a descriptor holds its `reserved_range`, and which its `reserved_name`.
#[derive(Clone, Copy)]
pub(super) struct ReservedPaths {
    pub(super) ranges: i32,
    pub(super) names: i32,
}

impl Parser<'_, '_> {
    pub(super) fn message(
        &mut self,
        parent: Option<usize>,
        visibility: Option<Visibility>,
    ) -> Parsed {
        let index = self.add_message(parent);
        self.file.messages[index].visibility = visibility;
        let steps = self.message_steps(parent);
        self.located(&steps, |parser, location| {
            parser.deeper(|parser| {
                parser.expect("message")?;
                let name = parser.located(&[1], |parser, _| parser.name("the message's name"))?;
                parser.file.messages[index].name = name;
                parser.message_block(index, location)
            })
        })?;
        if self.file.edition == Edition::Proto3 {
            add_synthetic_oneofs(&mut self.file.messages[index]);
        }
        Ok(())
    }

    /// Adds a message without content, as the last one of its parent or of the file.
    pub(super) fn add_message(&mut self, parent: Option<usize>) -> usize {
        let index = self.file.messages.len();
        self.file.messages.push(Message { parent, ..Message::default() });
        match parent {
            Some(parent) => self.file.messages[parent].children.messages.push(index),
            None => self.file.top.messages.push(index),
        }
        index
    }

    /// The path from the parent to its last message.
    pub(super) fn message_steps(&self, parent: Option<usize>) -> [i32; 2] {
        match parent {
            Some(parent) => [3, step(self.file.messages[parent].children.messages.len() - 1)],
            None => [4, step(self.file.top.messages.len() - 1)],
        }
    }

    pub(super) fn deeper(&mut self, body: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth == DEPTH_MAX {
            let span = self.current().span;
            self.error(format!("messages lie in each other {DEPTH_MAX} deep at most"), span);
            return Err(Skip);
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    /// From `{` to `}`.
    pub(super) fn message_block(&mut self, message: usize, location: usize) -> Parsed {
        self.expect_end_of_declaration("{", location)?;
        let result = self.block("a message", |parser| parser.message_statement(message));
        self.check_map_entry(message);
        self.set_max(message);
        result
    }

    fn check_map_entry(&mut self, message: usize) {
        let options = &self.file.messages[message].options;
        if let Some(option) = options.declared("map_entry") {
            let span = option.name_span();
            self.error_with_help(
                "the option map_entry cannot be set",
                span,
                "declare the field as map<KeyType, ValueType>",
            );
        }
    }

    /// In a message set, numbers go further; so what `max` means is known only at the end.
    fn set_max(&mut self, message: usize) {
        let message = &mut self.file.messages[message];
        let is_set = message.options.declared.iter().any(|option| {
            let yes =
                matches!(&option.value, crate::tree::OptionValue::Identifier(v) if v == "true");
            option.simple_name() == Some("message_set_wire_format") && yes
        });
        let max = if is_set { i32::MAX - 1 } else { FIELD_NUMBER_MAX };
        for range in &mut message.extension_ranges {
            if range.to_max {
                range.range.end = max;
            }
        }
        for range in &mut message.reserved.ranges {
            if range.end == i32::MAX {
                range.end = max;
            }
        }
    }

    fn message_statement(&mut self, message: usize) -> Parsed {
        let visibility = self.visibility()?;
        match self.text() {
            "message" => self.message(Some(message), visibility),
            "enum" => self.enumeration(Some(message), visibility),
            "extensions" => self.extensions(message),
            "reserved" => {
                let mut reserved = std::mem::take(&mut self.file.messages[message].reserved);
                let paths = ReservedPaths { ranges: 9, names: 10 };
                let result = self.reserved(&mut reserved, paths, Self::field_number_range);
                self.file.messages[message].reserved = reserved;
                result
            }
            "extend" => self.extend(Some(message)),
            "option" => self.located(&[7], |parser, _| {
                let option = parser.option_statement()?;
                parser.file.messages[message].options.declared.push(option);
                Ok(())
            }),
            "oneof" => self.oneof(message),
            _ => self.message_field(message),
        }
    }

    fn extensions(&mut self, message: usize) -> Parsed {
        self.located(&[5], |parser, location| {
            parser.next();
            let first = parser.file.messages[message].extension_ranges.len();
            loop {
                let index = parser.file.messages[message].extension_ranges.len();
                let range =
                    parser.located(&[step(index)], |parser, _| parser.field_number_range(false))?;
                let to_max = range.end == i32::MAX;
                let (options, features) = Default::default();
                let range = ExtensionRange { range, to_max, options, features };
                parser.file.messages[message].extension_ranges.push(range);
                if !parser.take(",") {
                    break;
                }
            }
            parser.extension_options(message, first)?;
            parser.expect_end_of_declaration(";", location)
        })
    }

    /// Options of the ranges from `first` on: each range has all of them.
    fn extension_options(&mut self, message: usize, first: usize) -> Parsed {
        let index_at = self.path.len();
        let mark = self.file.locations.len();
        let mut options = Options::default();
        self.option_list(&[step(first), 3], &mut options)?;
        let locations = self.file.locations.split_off(mark);
        for index in first..self.file.messages[message].extension_ranges.len() {
            let base = self.file.locations.len();
            let moved = locations.iter().cloned().map(|mut location| {
                location.path[index_at] = step(index);
                location
            });
            self.file.locations.extend(moved);
            let mut options = options.clone();
            for option in &mut options.declared {
                option.location = option.location.map(|location| location - mark + base);
            }
            self.file.messages[message].extension_ranges[index].options = options;
        }
        Ok(())
    }

    /// `4`, `4 to 10` or `4 to max`, for which the end is `i32::MAX` at first.
    fn field_number_range(&mut self, may_be_name: bool) -> Parsed<Range> {
        let what = if may_be_name { "a field's name or number" } else { "a field number" };
        self.range(what, Self::int32, |parser, number, span| {
            if number == i32::MAX {
                parser.error("this number is out of range", span);
                return Err(Skip);
            }
            Ok(())
        })
    }

    pub(super) fn range(
        &mut self,
        what: &str,
        number: fn(&mut Self, &str) -> Parsed<(i32, Span)>,
        check: fn(&mut Self, i32, Span) -> Parsed,
    ) -> Parsed<Range> {
        let first = self.current();
        let (start, span) = self.located(&[1], |parser, _| {
            number(parser, what).and_then(|found| {
                check(parser, found.0, found.1)?;
                Ok(found)
            })
        })?;
        if !self.take("to") {
            self.record(&[2], first, first);
            return Ok(Range { start, end: start, span });
        }
        let (end, end_span) = self.located(&[2], |parser, _| {
            let span = parser.current().span;
            if parser.take("max") {
                return Ok((i32::MAX, span));
            }
            let found = number(parser, "a number or 'max'")?;
            check(parser, found.0, found.1)?;
            Ok(found)
        })?;
        Ok(Range { start, end, span: span.to(end_span) })
    }

    /// `reserved`, of messages and enums, which differ in what a number is.
    pub(super) fn reserved(
        &mut self,
        reserved: &mut Reserved,
        paths: ReservedPaths,
        range: fn(&mut Self, bool) -> Parsed<Range>,
    ) -> Parsed {
        let start = self.current();
        self.next();
        let kind = self.current().kind;
        let (field, len) = match kind {
            Kind::String | Kind::Identifier => (paths.names, reserved.names.len()),
            _ => (paths.ranges, reserved.ranges.len()),
        };
        self.check_reserved_syntax(kind)?;
        self.located(&[field], |parser, location| {
            parser.start_at(location, start);
            for index in len.. {
                parser.located(&[step(index)], |parser, _| {
                    match kind {
                        Kind::String => reserved.names.push(parser.reserved_string()?),
                        Kind::Identifier => reserved.names.push(parser.name("a name")?),
                        _ => reserved.ranges.push(range(parser, index == len)?),
                    }
                    Ok(())
                })?;
                if !parser.take(",") {
                    break;
                }
            }
            parser.expect_end_of_declaration(";", location)
        })
    }

    pub(super) fn start_at(&mut self, location: usize, token: Token) {
        self.file.locations[location].start = (token.line, token.column);
    }

    fn check_reserved_syntax(&mut self, kind: Kind) -> Parsed {
        let message = match (kind, self.file.edition.has_features()) {
            (Kind::String, true) => "in editions, reserved names stand without quotes",
            (Kind::Identifier, false) => "reserved names stand in quotes",
            _ => return Ok(()),
        };
        let span = self.current().span;
        self.error(message, span);
        Err(Skip)
    }

    fn reserved_string(&mut self) -> Parsed<Name> {
        let name = self.string("a name in quotes")?;
        if !crate::lexer::is_identifier(&name.text) {
            let message = format!("\"{}\" cannot be a name, so it need not be reserved", name.text);
            let place = name.span.of(&self.file.name);
            self.findings.add(crate::diagnostic::Diagnostic::warning(message, place));
        }
        Ok(name)
    }

    fn oneof(&mut self, message: usize) -> Parsed {
        let index = self.file.messages[message].oneofs.len();
        self.file.messages[message].oneofs.push(Oneof::default());
        let outer = self.path.clone();
        self.located(&[8, step(index)], |parser, location| {
            parser.next();
            let name = parser.located(&[1], |parser, _| parser.name("the oneof's name"))?;
            parser.file.messages[message].oneofs[index].name = name;
            parser.expect_end_of_declaration("{", location)?;
            parser.fields("a oneof", |parser| {
                if parser.looking_at("option") {
                    return parser.located(&[2], |parser, _| {
                        let option = parser.option_statement()?;
                        let oneof = &mut parser.file.messages[message].oneofs[index];
                        oneof.options.declared.push(option);
                        Ok(())
                    });
                }
                let inner = std::mem::replace(&mut parser.path, outer.clone());
                let result = parser.oneof_field(message, index);
                parser.path = inner;
                result
            })
        })
    }

    fn oneof_field(&mut self, message: usize, oneof: usize) -> Parsed {
        if matches!(self.text(), "required" | "optional" | "repeated") {
            let span = self.current().span;
            self.error("fields of a oneof have no label", span);
            self.next();
        }
        let number = step(self.file.messages[message].fields.len());
        self.located(&[2, number], |parser, location| {
            let field = crate::tree::Field {
                label: Label::Optional,
                oneof: Some(oneof),
                ..Default::default()
            };
            let field = parser.field_without_label(field, Some(message), location)?;
            parser.file.messages[message].fields.push(field);
            Ok(())
        })
    }
}

/// In proto3, a field that is labelled `optional` is in a oneof of its own.
fn add_synthetic_oneofs(message: &mut Message) {
    let fields = message.fields.iter().map(|field| field.name.text.clone());
    let oneofs = message.oneofs.iter().map(|oneof| oneof.name.text.clone());
    let mut taken: std::collections::HashSet<String> = fields.chain(oneofs).collect();
    for field in message.fields.iter_mut().filter(|field| field.proto3_optional) {
        let mut name = field.name.text.clone();
        if !name.starts_with('_') {
            name.insert(0, '_');
        }
        while !taken.insert(name.clone()) {
            name.insert(0, 'X');
        }
        field.oneof = Some(message.oneofs.len());
        let name = Name { text: name, span: field.name.span };
        message.oneofs.push(Oneof { name, ..Oneof::default() });
    }
}
