//! Which files of a descriptor set to generate: those asked for, and those that define a type
//! that a generated message or method refers to. An import that only brings in options is not
//! generated, nor is anything that is mapped to code elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use buffa_descriptor::generated::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use crate::error::{Diagnostic, Error, Position};
use crate::options::Options;

/// The names of the files to generate, sorted, so that the output does not depend on the order of
/// arguments.
pub(crate) fn files_to_generate(
    files: &[FileDescriptorProto],
    options: &Options,
) -> Result<Vec<String>, Error> {
    let index = Index::new(files)?;
    let mapped = Mapped::new(files, options);
    let mut planned = BTreeSet::new();
    let mut pending = requested(files, options, &mapped)?;
    while let Some(file) = pending.pop() {
        if !planned.insert(name(file).to_owned()) {
            continue;
        }
        for reference in references(file) {
            if mapped.covers(reference) {
                continue;
            }
            let defining = index.defining.get(reference).ok_or_else(|| {
                Diagnostic::new(format!("type {reference} is not defined in the descriptor set"))
                    .at(Some(Position::of_file(name(file))))
                    .help("include the imports when compiling the descriptor set")
            })?;
            pending.push(defining);
        }
    }
    Ok(planned.into_iter().collect())
}

fn requested<'a>(
    files: &'a [FileDescriptorProto],
    options: &Options,
    mapped: &Mapped,
) -> Result<Vec<&'a FileDescriptorProto>, Error> {
    if options.files.is_empty() {
        let wanted = files.iter().filter(|file| !mapped.covers_package(package(file)));
        return Ok(wanted.collect());
    }
    let find = |wanted: &String| {
        files.iter().find(|file| name(file) == wanted).ok_or_else(|| {
            Error::new(format!("{wanted}: not in the descriptor set, so it cannot be generated"))
        })
    };
    options.files.iter().map(find).collect()
}

/// Where each type is defined, by its full name with a leading dot.
struct Index<'a> {
    defining: BTreeMap<String, &'a FileDescriptorProto>,
}

impl<'a> Index<'a> {
    fn new(files: &'a [FileDescriptorProto]) -> Result<Self, Error> {
        let mut index = Self { defining: BTreeMap::new() };
        for file in files {
            let scope = match package(file) {
                "" => String::new(),
                package => format!(".{package}"),
            };
            for message in &file.message_type {
                index.add_message(file, &scope, message);
            }
            for enumeration in &file.enum_type {
                index.add(file, &scope, enumeration.name.as_deref());
            }
            for import in &file.dependency {
                if !files.iter().any(|file| name(file) == import) {
                    let message = format!("import '{import}' is not in the descriptor set");
                    return Err(Diagnostic::new(message)
                        .at(Some(Position::of_file(name(file))))
                        .help("include the imports when compiling the descriptor set")
                        .into());
                }
            }
        }
        Ok(index)
    }

    fn add_message(&mut self, file: &'a FileDescriptorProto, scope: &str, of: &DescriptorProto) {
        let full_name = self.add(file, scope, of.name.as_deref());
        for nested in &of.nested_type {
            self.add_message(file, &full_name, nested);
        }
        for enumeration in &of.enum_type {
            self.add(file, &full_name, enumeration.name.as_deref());
        }
    }

    fn add(&mut self, file: &'a FileDescriptorProto, scope: &str, name: Option<&str>) -> String {
        let full_name = format!("{scope}.{}", name.unwrap_or_default());
        self.defining.insert(full_name.clone(), file);
        full_name
    }
}

/// What is mapped to code that exists elsewhere.
struct Mapped {
    prefixes: Vec<String>,
}

impl Mapped {
    fn new(files: &[FileDescriptorProto], options: &Options) -> Self {
        let mut prefixes: Vec<String> =
            options.extern_paths.iter().map(|(proto, _)| proto.clone()).collect();
        // The message generator maps the well-known types unless it is asked to generate them.
        let asked_for = |file: &&FileDescriptorProto| options.files.iter().any(|f| f == name(file));
        let generated =
            files.iter().filter(asked_for).any(|file| package(file) == WELL_KNOWN_PACKAGE);
        if !generated {
            prefixes.push(format!(".{WELL_KNOWN_PACKAGE}"));
        }
        Self { prefixes }
    }

    fn covers(&self, full_name: &str) -> bool {
        self.prefixes.iter().any(|prefix| {
            let rest = full_name.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn covers_package(&self, package: &str) -> bool {
        self.covers(&format!(".{package}"))
    }
}

const WELL_KNOWN_PACKAGE: &str = "google.protobuf";

/// The types that `file`'s own messages, extensions and methods refer to.
fn references(file: &FileDescriptorProto) -> Vec<&str> {
    let mut found = Vec::new();
    for field in &file.extension {
        found.extend(field_type(field));
    }
    let mut messages: Vec<&DescriptorProto> = file.message_type.iter().collect();
    while let Some(message) = messages.pop() {
        for field in message.field.iter().chain(&message.extension) {
            found.extend(field_type(field));
        }
        messages.extend(&message.nested_type);
    }
    for service in &file.service {
        for method in &service.method {
            found.extend(method.input_type.as_deref());
            found.extend(method.output_type.as_deref());
        }
    }
    found
}

fn field_type(field: &FieldDescriptorProto) -> Option<&str> {
    field.type_name.as_deref().filter(|name| !name.is_empty())
}

pub(crate) fn name(file: &FileDescriptorProto) -> &str {
    file.name.as_deref().unwrap_or_default()
}

pub(crate) fn package(file: &FileDescriptorProto) -> &str {
    file.package.as_deref().unwrap_or_default()
}
