//! What features and syntax make of fields: what can be set on which, and what fits together.

use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::features::{
    ENUM_CLOSED, Feature, PRESENCE_IMPLICIT, PRESENCE_LEGACY_REQUIRED, REPEATED_PACKED, explicit,
};
use crate::link::pool::Pool;
use crate::options::Kind;
use crate::options::element::elements;
use crate::options::number::{FIELD_CTYPE, FIELD_PACKED, FILE_JAVA_STRING_CHECK_UTF8};
use crate::options::wire::{find_bool, find_varint};
use crate::tree::{Edition, Field, File, FileId, Scalar, Type};

pub(super) fn check(pool: &Pool, id: FileId, findings: &mut Findings) {
    let file = &pool.files[id];
    if file.edition.has_features() {
        of_file(file, findings);
    } else {
        no_features(file, findings);
    }
    let fields = file
        .messages
        .iter()
        .flat_map(|message| message.fields.iter().map(move |field| (field, message.map_entry)));
    for (field, in_entry) in fields.chain(file.extensions.iter().map(|field| (field, false))) {
        let mut rules = Rules { pool, file, field, findings };
        match file.edition {
            Edition::Proto2 => {}
            Edition::Proto3 => rules.open_enum(in_entry),
            _ => rules.features(in_entry),
        }
    }
}

fn of_file(file: &File, findings: &mut Findings) {
    if file.features.is(Feature::FieldPresence, PRESENCE_LEGACY_REQUIRED) {
        let span = file.options.declared("features").map_or(file.edition_span, |o| o.name_span());
        let text = "not all fields of a file can be required";
        findings.add(Diagnostic::error(text, file.place(span)));
    }
    if find_bool(&file.options.records, FILE_JAVA_STRING_CHECK_UTF8) {
        let option = file.options.declared("java_string_check_utf8");
        let span = option.map_or(file.edition_span, |option| option.name_span());
        let error = Diagnostic::error("there is no such option in editions", file.place(span));
        findings.add(error.help("features.(pb.java).utf8_validation says this"));
    }
}

fn no_features(file: &File, findings: &mut Findings) {
    for element in elements(file) {
        if let Some(option) = element.options(file).declared("features") {
            let text = "features are for editions only";
            let error = Diagnostic::error(text, file.place(option.name_span()));
            findings.add(error.help("start the file with `edition = \"2023\";`"));
        }
    }
}

struct Rules<'p, 'f> {
    pool: &'p Pool,
    file: &'p File,
    field: &'p Field,
    findings: &'f mut Findings,
}

impl Rules<'_, '_> {
    fn error(&mut self, text: &str, span: Span) {
        self.findings.add(Diagnostic::error(text, self.file.place(span)));
    }

    /// The place of the option that starts with `name`, or else of the field's name.
    fn option(&self, name: &str) -> Span {
        let option = self.field.options.declared(name);
        option.map_or(self.field.name.span, |option| option.name_span())
    }

    fn closed_enum(&self) -> bool {
        let Type::Enum(id) = self.field.ty else { return false };
        self.pool.enumeration(id).features.is(Feature::EnumType, ENUM_CLOSED)
    }

    fn open_enum(&mut self, in_entry: bool) {
        // Of a map, the value's place is that of its type.
        if self.closed_enum() && self.field.extendee.is_none() {
            let span = if in_entry { self.field.span } else { self.field.ty_span };
            let text = "proto3 messages can have open enums only, not those of proto2";
            self.error(text, span);
        }
    }

    fn features(&mut self, in_entry: bool) {
        let records = &self.field.options.records;
        if find_varint(records, FIELD_PACKED).is_some() {
            let span = self.option("packed");
            self.error("say features.repeated_field_encoding instead of packed", span);
        }
        if self.file.edition >= Edition::Edition2024 && find_varint(records, FIELD_CTYPE).is_some()
        {
            let span = self.option("ctype");
            self.error("say features.(pb.cpp).string_type instead of ctype", span);
        }
        let implicit = self.field.features.is(Feature::FieldPresence, PRESENCE_IMPLICIT)
            && !self.field.is_repeated()
            && self.field.message().is_none()
            && self.field.oneof.is_none()
            && self.field.extendee.is_none();
        if implicit && let Some(default) = &self.field.default {
            self.error("a field without presence cannot have a default", default.span);
        }
        if implicit && self.closed_enum() && !in_entry {
            self.error("a field without presence cannot be of a closed enum", self.field.ty_span);
        }
        if self.field.extendee.is_some() && self.field.label == crate::tree::Label::Required {
            self.error("an extension cannot be required", self.option("features"));
        }
        // What a map says was given to its keys and values, whether or not it is for them.
        if !in_entry {
            self.explicit();
        }
    }

    fn explicit(&mut self) {
        let field = self.field;
        let said = |feature: Feature| explicit(Kind::Field, &field.options.records, feature as i32);
        let is_map = self.pool.is_map(field);
        let span = self.option("features");
        if let Some(presence) = said(Feature::FieldPresence) {
            let text = if field.oneof.is_some() {
                "fields of a oneof have presence"
            } else if field.is_repeated() {
                "repeated fields have no presence"
            } else if field.extendee.is_some() && presence != PRESENCE_LEGACY_REQUIRED {
                "extensions have presence"
            } else if field.message().is_some() && presence == PRESENCE_IMPLICIT {
                "messages have presence"
            } else {
                ""
            };
            if !text.is_empty() {
                self.error(text, span);
            }
        }
        let encoding = said(Feature::RepeatedFieldEncoding);
        if encoding.is_some() && !field.is_repeated() {
            self.error("only repeated fields have a repeated_field_encoding", span);
        }
        if encoding == Some(REPEATED_PACKED) && !field.is_packable() && field.is_repeated() {
            self.error("only numbers and enums can be packed", span);
        }
        let is_text = matches!(field.ty, Type::Scalar(Scalar::String));
        if said(Feature::Utf8Validation).is_some() && !is_text && !self.map_of_text() {
            self.error("only strings have a utf8_validation", span);
        }
        if said(Feature::MessageEncoding).is_some() && (field.message().is_none() || is_map) {
            self.error("only messages have a message_encoding", span);
        }
    }

    fn map_of_text(&self) -> bool {
        let entry = self.field.message().filter(|_| self.pool.is_map(self.field));
        let mut fields = entry.into_iter().flat_map(|entry| &self.pool.message(entry).fields);
        fields.any(|field| matches!(field.ty, Type::Scalar(Scalar::String)))
    }
}
