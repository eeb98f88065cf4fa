//! A linked file as an encoded `google.protobuf.FileDescriptorProto`.

use crate::link::pool::Pool;
use crate::options::wire::{
    self, write_bytes_field, write_int_field, write_message_field, write_varint, write_varint_field,
};
use crate::tree::{
    Children, Edition, Enum, Field, File, FileId, Id, Import, ImportKind, Label, Location, Message,
    Method, Options, Reserved, Service, Type,
};

/// Encodes the file, with its places and comments.
pub(crate) fn file(pool: &Pool, id: FileId) -> Vec<u8> {
    let file = &pool.files[id];
    let mut out = Vec::new();
    let encoder = Encoder { pool, file };
    encoder.file(&mut out);
    out
}

struct Encoder<'p> {
    pool: &'p Pool,
    file: &'p File,
}

impl Encoder<'_> {
    fn file(&self, out: &mut Vec<u8>) {
        let file = self.file;
        text(1, &file.name, out);
        if let Some(package) = &file.package {
            text(2, &package.text, out);
        }
        let is_option = |import: &&Import| import.kind == ImportKind::Option;
        let (options, others): (Vec<&Import>, Vec<&Import>) =
            file.imports.iter().partition(is_option);
        for import in &others {
            text(3, &import.name.text, out);
        }
        self.children(&file.top, [4, 5, 7], out, |out| {
            for service in &file.services {
                write_message_field(6, out, |out| self.service(service, out));
            }
        });
        write_options(8, &file.options, out);
        write_message_field(9, out, |out| {
            for location in &file.locations {
                write_message_field(1, out, |out| write_location(location, out));
            }
        });
        for (kind, number) in [(ImportKind::Public, 10), (ImportKind::Weak, 11)] {
            for (index, import) in others.iter().enumerate() {
                if import.kind == kind {
                    write_varint_field(number, index as u64, out);
                }
            }
        }
        match file.edition {
            Edition::Proto2 => {}
            Edition::Proto3 => text(12, "proto3", out),
            edition => {
                text(12, "editions", out);
                write_int_field(14, edition as i32, out);
            }
        }
        for import in options {
            text(15, &import.name.text, out);
        }
    }

    /// Messages, enums and extensions, in the fields of those numbers; `between` writes what has a
    /// number between those of enums and extensions.
    fn children(
        &self,
        children: &Children,
        [messages, enums, extensions]: [i32; 3],
        out: &mut Vec<u8>,
        between: impl FnOnce(&mut Vec<u8>),
    ) {
        for index in &children.messages {
            let message = &self.file.messages[*index];
            write_message_field(messages, out, |out| self.message(message, out));
        }
        for index in &children.enums {
            let declared = &self.file.enums[*index];
            write_message_field(enums, out, |out| write_enum(declared, out));
        }
        between(out);
        for index in &children.extensions {
            let extension = &self.file.extensions[*index];
            write_message_field(extensions, out, |out| self.field(extension, out));
        }
    }

    fn message(&self, message: &Message, out: &mut Vec<u8>) {
        text(1, &message.name.text, out);
        for field in &message.fields {
            write_message_field(2, out, |out| self.field(field, out));
        }
        self.children(&message.children, [3, 4, 6], out, |out| {
            for range in &message.extension_ranges {
                write_message_field(5, out, |out| {
                    write_int_field(1, range.range.start, out);
                    write_int_field(2, range.range.end.saturating_add(1), out);
                    write_options(3, &range.options, out);
                });
            }
        });
        if message.map_entry {
            // Nothing else can be set on it.
            write_message_field(7, out, |out| write_varint_field(7, 1, out));
        } else {
            write_options(7, &message.options, out);
        }
        for oneof in &message.oneofs {
            write_message_field(8, out, |out| {
                text(1, &oneof.name.text, out);
                write_options(2, &oneof.options, out);
            });
        }
        write_reserved(&message.reserved, [9, 10], 1, out);
        if let Some(visibility) = message.visibility {
            write_int_field(11, visibility as i32, out);
        }
    }

    fn field(&self, field: &Field, out: &mut Vec<u8>) {
        text(1, &field.name.text, out);
        if let Some(extendee) = field.extendee.as_ref().and_then(|extendee| extendee.message) {
            text(2, &self.absolute(extendee), out);
        }
        write_int_field(3, field.number, out);
        let editions = self.file.edition.has_features();
        // In editions, features say what is required and what a group.
        let label = match field.label {
            Label::Required if editions => Label::Optional,
            label => label,
        };
        write_int_field(4, label as i32, out);
        let (ty, name) = match &field.ty {
            Type::Scalar(scalar) => (*scalar as i32, None),
            Type::Group(id) if !editions => (10, Some(self.absolute(*id))),
            Type::Message(id) | Type::Group(id) => (11, Some(self.absolute(*id))),
            Type::Enum(id) => (14, Some(format!(".{}", self.pool.enumeration(*id).full_name))),
            Type::Named(name) => (11, Some(name.clone())),
        };
        write_int_field(5, ty, out);
        if let Some(name) = name {
            text(6, &name, out);
        }
        if let Some(default) = &field.default {
            text(7, &default.text, out);
        }
        write_options(8, &field.options, out);
        if let Some(oneof) = field.oneof {
            write_varint_field(9, oneof as u64, out);
        }
        match &field.json_name {
            Some(json_name) => text(10, &json_name.text, out),
            None => text(10, &json_name(&field.name.text), out),
        }
        if field.proto3_optional {
            write_varint_field(17, 1, out);
        }
    }

    fn absolute(&self, id: Id) -> String {
        format!(".{}", self.pool.message(id).full_name)
    }

    fn service(&self, service: &Service, out: &mut Vec<u8>) {
        text(1, &service.name.text, out);
        for method in &service.methods {
            write_message_field(2, out, |out| self.method(method, out));
        }
        write_options(3, &service.options, out);
    }

    fn method(&self, method: &Method, out: &mut Vec<u8>) {
        text(1, &method.name.text, out);
        for (number, ty) in [(2, &method.input), (3, &method.output)] {
            if let Some(id) = ty.message {
                text(number, &self.absolute(id), out);
            }
        }
        write_options(4, &method.options, out);
        for (number, streams) in [(5, method.input.streams), (6, method.output.streams)] {
            if streams {
                write_varint_field(number, 1, out);
            }
        }
    }
}

/// The name that a field has in JSON if it does not say another one.
pub(crate) fn json_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for character in field.chars() {
        if character == '_' {
            upper = true;
        } else {
            name.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
    }
    name
}

fn write_enum(declared: &Enum, out: &mut Vec<u8>) {
    text(1, &declared.name.text, out);
    for value in &declared.values {
        write_message_field(2, out, |out| {
            text(1, &value.name.text, out);
            write_int_field(2, value.number, out);
            write_options(3, &value.options, out);
        });
    }
    write_options(3, &declared.options, out);
    write_reserved(&declared.reserved, [4, 5], 0, out);
    if let Some(visibility) = declared.visibility {
        write_int_field(6, visibility as i32, out);
    }
}

/// The end of a range is in the range for enums, and behind it for messages.
fn write_reserved(reserved: &Reserved, [ranges, names]: [i32; 2], behind: i32, out: &mut Vec<u8>) {
    for range in &reserved.ranges {
        write_message_field(ranges, out, |out| {
            write_int_field(1, range.start, out);
            write_int_field(2, range.end.saturating_add(behind), out);
        });
    }
    for name in &reserved.names {
        text(names, &name.text, out);
    }
}

fn write_options(number: i32, options: &Options, out: &mut Vec<u8>) {
    if options.is_present() {
        write_message_field(number, out, |out| wire::write(&options.records, out));
    }
}

fn write_location(location: &Location, out: &mut Vec<u8>) {
    let (start_line, start_column) = location.start;
    let (end_line, end_column) = location.end.unwrap_or(location.start);
    let span: &[i32] = &[start_line, start_column, end_line, end_column];
    let on_one_line: &[i32] = &[start_line, start_column, end_column];
    packed(1, &location.path, out);
    packed(2, if end_line == start_line { on_one_line } else { span }, out);
    for (number, comment) in [(3, &location.leading), (4, &location.trailing)] {
        if !comment.is_empty() {
            text(number, comment, out);
        }
    }
    for comment in &location.detached {
        text(6, comment, out);
    }
}

fn packed(number: i32, values: &[i32], out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let mut inner = Vec::with_capacity(values.len());
    for value in values {
        write_varint(wire::from_i64((*value).into()), &mut inner);
    }
    write_bytes_field(number, &inner, out);
}

fn text(number: i32, text: &str, out: &mut Vec<u8>) {
    write_bytes_field(number, text.as_bytes(), out);
}
