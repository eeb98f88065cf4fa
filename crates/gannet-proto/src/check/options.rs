//! Options on elements: which options are for them, in which editions, and what they ask of a
//! field.

use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::link::pool::Pool;
use crate::options::Kind;
use crate::options::element::{Element, elements};
use crate::options::number::{
    FIELD_FEATURE_SUPPORT, FIELD_JSTYPE, FIELD_LAZY, FIELD_PACKED, FIELD_TARGETS,
    FIELD_UNVERIFIED_LAZY, FILE_CC_GENERIC_SERVICES, FILE_JAVA_GENERIC_SERVICES, FILE_OPTIMIZE_FOR,
    MESSAGE_SET_WIRE_FORMAT, VALUE_FEATURE_SUPPORT,
};
use crate::options::wire::{Record, Value, find_bool, find_message, find_text, find_varint};
use crate::tree::{Edition, Field, File, FileId, Id, Label, Name, Options, Scalar, Type};

const LITE_RUNTIME: u64 = 3;

pub(super) fn check(pool: &Pool, id: FileId, findings: &mut Findings) {
    let file = &pool.files[id];
    for element in elements(file) {
        let options = element.options(file);
        let Some(message) = pool.message_named(element.kind().message()) else { continue };
        let in_entry =
            matches!(element, Element::Field(message, _) if file.messages[message].map_entry);
        if !options.records.is_empty() && !in_entry {
            let mut usage = Usage { pool, file, kind: element.kind(), options, findings };
            usage.records(message, &options.records, None);
        }
        if let Some(field) = element.field(file) {
            of_field(pool, file, element, field, findings);
        }
    }
    for message in &file.messages {
        let is_set = find_bool(&message.options.records, MESSAGE_SET_WIRE_FORMAT);
        if is_set && file.edition == Edition::Proto3 {
            let text = "there are no message sets in proto3";
            findings.add(Diagnostic::error(text, file.place(message.name.span)));
        }
        for field in message.fields.iter().filter(|_| is_set) {
            let text = "a message set has extensions only, and no fields";
            findings.add(Diagnostic::error(text, file.place(field.name.span)));
        }
    }
    lite(pool, file, findings);
}

/// Whether options are for what they are set on, and for the edition of the file.
struct Usage<'p, 'f> {
    pool: &'p Pool,
    file: &'p File,
    kind: Kind,
    options: &'p Options,
    findings: &'f mut Findings,
}

impl Usage<'_, '_> {
    fn records(&mut self, message: Id, records: &[Record], top: Option<&Field>) {
        let pool = self.pool;
        let features = crate::features::option_number(self.kind);
        for record in records {
            // Features where there are none are told as a whole.
            if top.is_none() && record.number == features && !self.file.edition.has_features() {
                continue;
            }
            let extension = pool.extensions.get(&(message, record.number));
            let fields = &pool.message(message).fields;
            let declared = fields.iter().find(|field| field.number == record.number);
            let field = declared.or_else(|| extension.map(|id| pool.extension(*id)));
            let Some(field) = field else { continue };
            let top = top.unwrap_or(field);
            self.targets(field, top);
            self.lifetime(field, top);
            if let (Type::Enum(id), Value::Varint(value)) = (&field.ty, &record.value) {
                self.value_lifetime(*id, *value, field, top);
            }
            if let (Some(inner), Value::Message(records) | Value::Group(records)) =
                (field.message(), &record.value)
            {
                self.records(inner, records, Some(top));
            }
        }
    }

    fn targets(&mut self, field: &Field, top: &Field) {
        let targets = field.options.records.iter();
        let targets = targets.filter(|record| record.number == FIELD_TARGETS);
        let mut targets = targets.map(|record| &record.value).peekable();
        let wanted = Value::Varint(self.kind.target());
        if targets.peek().is_some() && !targets.any(|target| *target == wanted) {
            let text = format!("'{}' cannot be set on {}", field.name.text, self.kind.name());
            self.error(text, top);
        }
    }

    fn lifetime(&mut self, field: &Field, top: &Field) {
        let support = find_message(&field.options.records, FIELD_FEATURE_SUPPORT);
        if let Some(support) = support {
            self.support(support, &format!("'{}'", field.name.text), top);
        }
    }

    fn value_lifetime(&mut self, id: Id, number: u64, field: &Field, top: &Field) {
        let values = &self.pool.enumeration(id).values;
        let number = i32::try_from(number).unwrap_or_default();
        let Some(value) = values.iter().find(|value| value.number == number) else { return };
        if let Some(support) = find_message(&value.options.records, VALUE_FEATURE_SUPPORT) {
            let what = format!("the value {} of '{}'", value.name.text, field.name.text);
            self.support(support, &what, top);
        }
    }

    /// `support` tells in which editions something is.
    fn support(&mut self, support: &[Record], what: &str, top: &Field) {
        let edition = self.file.edition as u64;
        let name = |edition: u64| match edition {
            998 => "proto2".to_owned(),
            999 => "proto3".to_owned(),
            1000..9999 => format!("edition {}", known_edition(edition)),
            other => format!("edition number {other}"),
        };
        let [introduced, deprecated, removed] =
            [1, 2, 4].map(|number| find_varint(support, number));
        if let Some(introduced) = introduced.filter(|introduced| edition < *introduced) {
            self.error(format!("{what} is for {} and later", name(introduced)), top);
        } else if let Some(removed) = removed.filter(|removed| edition >= *removed) {
            let text = format!("{what} is not there any more since {}", name(removed));
            let mut error = self.diagnostic(text, top);
            error.help = find_text(support, 5).map(str::to_owned);
            self.findings.add(error);
        } else if let Some(deprecated) = deprecated.filter(|from| edition >= *from) {
            let text = format!("{what} is deprecated since {}", name(deprecated));
            let error = self.diagnostic(text, top);
            let help = find_text(support, 3).map(str::to_owned);
            let severity = crate::diagnostic::Severity::Warning;
            self.findings.add(Diagnostic { severity, help, ..error });
        }
    }

    fn error(&mut self, text: String, top: &Field) {
        let error = self.diagnostic(text, top);
        self.findings.add(error);
    }

    fn diagnostic(&self, text: String, top: &Field) -> Diagnostic {
        let names = |name: &Name| {
            name.text == top.name.text || top.full_name.ends_with(name.text.trim_start_matches('.'))
        };
        let mut declared = self.options.declared.iter();
        let option = declared.find(|option| option.name.first().is_some_and(|p| names(&p.name)));
        let option = option.or(self.options.declared.first());
        let span = option.map_or(Span::default(), |option| option.name_span());
        Diagnostic::error(text, self.file.place(span))
    }
}

/// The year of an edition, by its number.
fn known_edition(number: u64) -> String {
    match number {
        1000 | 1001 => (number + 1023).to_string(),
        // One was left out.
        _ => (number + 1024).to_string(),
    }
}

fn of_field(pool: &Pool, file: &File, element: Element, field: &Field, findings: &mut Findings) {
    let records = &field.options.records;
    let span = |name: &str| {
        field.options.declared(name).map_or(field.name.span, |option| option.name_span())
    };
    let mut error =
        |text: &str, span: Span| findings.add(Diagnostic::error(text, file.place(span)));
    let (lazy, unverified) =
        (find_bool(records, FIELD_LAZY), find_bool(records, FIELD_UNVERIFIED_LAZY));
    let lazy_span = span(if lazy { "lazy" } else { "unverified_lazy" });
    if (lazy || unverified) && !matches!(field.ty, Type::Message(_)) {
        error("only messages can be lazy", lazy_span);
    }
    if unverified && matches!(element, Element::Extension(_)) {
        error("an extension cannot be unverified_lazy", lazy_span);
    }
    if find_bool(records, FIELD_PACKED) && !field.is_packable() {
        error("only repeated numbers and enums can be packed", span("packed"));
    }
    if find_varint(records, FIELD_JSTYPE).unwrap_or_default() != 0 {
        use Scalar::{Fixed64, Int64, Sfixed64, Sint64, Uint64};
        let wide = matches!(field.ty, Type::Scalar(Int64 | Uint64 | Sint64 | Fixed64 | Sfixed64));
        if !wide {
            error("jstype is for integers of 64 bits only", span("jstype"));
        }
    }
    let extendee = field.extendee.as_ref().and_then(|extendee| extendee.message);
    let Some(extendee) = extendee else { return };
    let of_set = find_bool(&pool.message(extendee).options.records, MESSAGE_SET_WIRE_FORMAT);
    let fits = matches!(field.ty, Type::Message(_)) && field.label == Label::Optional;
    if of_set && !fits {
        error("extensions of a message set are optional messages", field.ty_span);
    }
    if is_lite(file) && !is_lite(&pool.files[extendee.file]) {
        error("a file with optimize_for = LITE_RUNTIME cannot extend one without", field.span);
    }
}

fn is_lite(file: &File) -> bool {
    find_varint(&file.options.records, FILE_OPTIMIZE_FOR) == Some(LITE_RUNTIME)
}

fn lite(pool: &Pool, file: &File, findings: &mut Findings) {
    if is_lite(file) {
        let generic = [FILE_CC_GENERIC_SERVICES, FILE_JAVA_GENERIC_SERVICES];
        if generic.iter().any(|number| find_bool(&file.options.records, *number)) {
            for service in &file.services {
                let text = "a file with optimize_for = LITE_RUNTIME cannot have generic services";
                findings.add(Diagnostic::error(text, file.place(service.name.span)));
            }
        }
        return;
    }
    for import in &file.imports {
        if import.file.is_some_and(|imported| is_lite(&pool.files[imported])) {
            let text = "a file without optimize_for = LITE_RUNTIME cannot import one with it";
            findings.add(Diagnostic::error(text, file.place(import.statement)));
        }
    }
}
