//! Fields, oneofs and extensions by themselves: what the syntax of the file lets them be.

use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::tree::{Edition, Field, File, Label, Type};

pub(super) fn check(file: &File, findings: &mut Findings) {
    for message in &file.messages {
        for field in &message.fields {
            one(file, field, findings);
        }
        for (index, oneof) in message.oneofs.iter().enumerate() {
            if !message.fields.iter().any(|field| field.oneof == Some(index)) {
                let text = format!("the oneof '{}' has no fields", oneof.name.text);
                findings.add(Diagnostic::error(text, file.place(oneof.name.span)));
            }
        }
        if file.edition == Edition::Proto3
            && let Some(range) = message.extension_ranges.first()
        {
            let text = "there are no ranges of extensions in proto3";
            findings.add(Diagnostic::error(text, file.place(range.range.span)));
        }
    }
    for extension in &file.extensions {
        one(file, extension, findings);
        if extension.label == Label::Required {
            let span = extension.label_span.unwrap_or(extension.span);
            findings.add(Diagnostic::error("an extension cannot be required", file.place(span)));
        }
        if let Some(json_name) = &extension.json_name
            && json_name.text != crate::encode::json_name(&extension.name.text)
        {
            let text = "an extension cannot have a json_name of its own";
            findings.add(Diagnostic::error(text, file.place(json_name.span)));
        }
    }
}

fn one(file: &File, field: &Field, findings: &mut Findings) {
    let mut error =
        |text: &str, span: Span| findings.add(Diagnostic::error(text, file.place(span)));
    if let Some(default) = &field.default {
        if field.is_repeated() {
            error("a repeated field cannot have a default", default.span);
        } else if matches!(field.ty, Type::Group(_)) {
            error("a message cannot have a default", default.span);
        } else if file.edition == Edition::Proto3 {
            error("there are no defaults in proto3", default.span);
        }
    }
    if let Some(json_name) = &field.json_name
        && json_name.text.contains('\0')
    {
        error("a json_name cannot have a null character", json_name.span);
    }
    if file.edition != Edition::Proto3 {
        return;
    }
    if field.label == Label::Required {
        let span = field.label_span.unwrap_or(field.span);
        error("there are no required fields in proto3", span);
    }
    if matches!(field.ty, Type::Group(_)) {
        error("there are no groups in proto3", field.ty_span);
    }
}
