//! From files to files whose names are looked up, whose options are interpreted, and which keep
//! the rules.
//!
//! A file is linked when all that it imports is; a file with mistakes ends the compilation, as
//! those that import it would only have mistakes that follow from its own.

pub(crate) mod pool;
mod symbols;
mod types;

use self::pool::{Lookup, Pool};
use crate::check;
use crate::diagnostic::Findings;
use crate::options::element::elements;
use crate::options::interpret::{self, Phase};
use crate::tree::{FileId, Label, Type};

/// Links the file, the last one of the pool; what it imports is linked. `is_requested` says that
/// the file itself was asked for, so that what it imports and does not use is told.
pub(crate) fn link(pool: &mut Pool, id: FileId, is_requested: bool, findings: &mut Findings) {
    let before = findings.errors();
    symbols::name(&mut pool.files[id]);
    symbols::enter(pool, id, findings);
    check::declared(&pool.files[id], findings);
    let lookup = Lookup::new(pool, id);
    let resolved = types::resolve(pool, id, &lookup, findings);
    let mut used = lookup.into_used();
    set_types(pool, id, resolved);
    check::resolved(pool, id, findings);
    if findings.errors() > before {
        return;
    }
    enter_extensions(pool, id);
    for phase in [Phase::Standard, Phase::Custom] {
        let lookup = Lookup::new(pool, id);
        let interpreted = interpret::interpret(pool, id, phase, &lookup, findings);
        used.extend(lookup.into_used());
        interpret::set(&mut pool.files[id], interpreted);
        if phase == Phase::Standard {
            set_features(pool, id);
        }
    }
    if findings.errors() > before {
        return;
    }
    check::interpreted(pool, id, findings);
    if is_requested && findings.errors() == before {
        check::unused_imports(pool, id, &used, findings);
    }
}

fn set_types(pool: &mut Pool, id: FileId, resolved: types::Resolved) {
    let file = &mut pool.files[id];
    let set = |field: &mut crate::tree::Field, types: types::FieldTypes| {
        if let Some(ty) = types.ty {
            field.ty = ty;
        }
        if let Some(extendee) = &mut field.extendee {
            extendee.message = types.extendee;
        }
    };
    for (message, fields) in file.messages.iter_mut().zip(resolved.fields) {
        message.fields.iter_mut().zip(fields).for_each(|(field, types)| set(field, types));
    }
    let extensions = file.extensions.iter_mut().zip(resolved.extensions);
    extensions.for_each(|(field, types)| set(field, types));
    for (service, methods) in file.services.iter_mut().zip(resolved.methods) {
        for (method, (input, output)) in service.methods.iter_mut().zip(methods) {
            method.input.message = input;
            method.output.message = output;
        }
    }
}

fn enter_extensions(pool: &mut Pool, id: FileId) {
    for (index, extension) in pool.files[id].extensions.iter().enumerate() {
        let message = extension.extendee.as_ref().and_then(|extendee| extendee.message);
        if let Some(message) = message {
            let extension = (message, extension.number);
            pool.extensions.entry(extension).or_insert(crate::tree::Id { file: id, index });
        }
    }
}

/// Sets the features of all elements: those of the parent, with what the options say.
fn set_features(pool: &mut Pool, id: FileId) {
    let file = &mut pool.files[id];
    for element in elements(file) {
        let inherited = match element.parent(file) {
            Some(parent) => parent.features(file),
            None => crate::features::Features::of(file.edition),
        };
        let options = &element.options(file).records;
        let mut features = inherited.with(element.kind(), options);
        if let Some(field) = element.field(file) {
            field_features(field, file.edition, &mut features);
        }
        *element.parts_mut(file).1 = features;
    }
    for message in &mut file.messages {
        let is_entry = message.map_entry;
        message.fields.iter_mut().for_each(|field| set_by_features(field, is_entry));
    }
    file.extensions.iter_mut().for_each(|field| set_by_features(field, false));
    // A map is a repeated message, but never a group.
    for index in 0..file.messages.len() {
        for field in 0..file.messages[index].fields.len() {
            if let Type::Group(group) = file.messages[index].fields[field].ty
                && group.file == id
                && file.messages[group.index].map_entry
            {
                file.messages[index].fields[field].ty = Type::Message(group);
            }
        }
    }
}

/// What proto2 and proto3 say by other means.
fn field_features(
    field: &crate::tree::Field,
    edition: crate::tree::Edition,
    features: &mut crate::features::Features,
) {
    use crate::features::{self as f, Feature};
    if edition.has_features() {
        return;
    }
    if field.label == Label::Required {
        features.set(Feature::FieldPresence, f::PRESENCE_LEGACY_REQUIRED);
    }
    if field.proto3_optional {
        features.set(Feature::FieldPresence, f::PRESENCE_EXPLICIT);
    }
    if matches!(field.ty, Type::Group(_)) {
        features.set(Feature::MessageEncoding, f::MESSAGE_DELIMITED);
    }
    let packed = crate::options::number::FIELD_PACKED;
    match crate::options::wire::find_varint(&field.options.records, packed) {
        Some(1) => features.set(Feature::RepeatedFieldEncoding, f::REPEATED_PACKED),
        Some(_) => features.set(Feature::RepeatedFieldEncoding, f::REPEATED_EXPANDED),
        None => {}
    }
}

/// In editions, features make fields required, and messages groups.
fn set_by_features(field: &mut crate::tree::Field, is_entry: bool) {
    use crate::features::{self as f, Feature};
    let required = field.features.is(Feature::FieldPresence, f::PRESENCE_LEGACY_REQUIRED);
    if required && field.label == Label::Optional {
        field.label = Label::Required;
    }
    if let Type::Message(id) = field.ty
        && field.features.is(Feature::MessageEncoding, f::MESSAGE_DELIMITED)
        && !is_entry
    {
        field.ty = Type::Group(id);
    }
}
