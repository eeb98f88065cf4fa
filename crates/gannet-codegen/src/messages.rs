//! Messages and enums: `buffa-codegen`'s work, as syntax trees per package, with what it leaves
//! out (`deprecated`) put in.

use std::collections::BTreeMap;

use buffa_codegen::context::CodeGenContext;
use buffa_codegen::idents::{is_rust_keyword, make_field_ident};
use buffa_codegen::{BytesRepr, CodeGenConfig, CodeGenError, GeneratedFileKind};
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto,
};
use syn::{Item, parse_quote};

use crate::error::{Diagnostic, Error};
use crate::locate::{self, path};
use crate::options::Options;
use crate::plan;

/// Items by package, and what the message generator warns of.
pub(crate) struct Messages {
    pub(crate) packages: BTreeMap<String, Vec<Item>>,
    pub(crate) warnings: Vec<String>,
}

/// The message generator's configuration for `options`.
pub(crate) fn config(files: &[FileDescriptorProto], options: &Options) -> CodeGenConfig {
    let mut config = CodeGenConfig::default();
    config.generate_views = options.views;
    config.extern_paths.clone_from(&options.extern_paths);
    // One file per package is what the layout starts from; names of fields as Rust has them.
    config.file_per_package = true;
    config.idiomatic_field_names = true;
    // Long ones are kept and sent by reference; see the runtime's codec.
    config.bytes_fields = vec![(".".to_owned(), BytesRepr::Bytes)];
    // Only JSON and text format register types.
    config.emit_register_fn = false;
    for file in files {
        let scope = scope_of(file);
        for message in &file.message_type {
            deprecated_fields(&scope, message, &mut config.field_attributes);
        }
    }
    config
}

/// Generates the messages and enums of `planned` files.
pub(crate) fn generate(
    files: &[FileDescriptorProto],
    planned: &[String],
    context: &CodeGenContext<'_>,
    config: &CodeGenConfig,
) -> Result<Messages, Error> {
    for file in files.iter().filter(|file| planned.iter().any(|name| name == plan::name(file))) {
        check_type_names(file)?;
    }
    let (generated, warnings) = buffa_codegen::generate_with_diagnostics(files, planned, config)
        .map_err(|error| convert(&error, files))?;
    let mut packages = BTreeMap::new();
    for file in generated {
        if file.kind != GeneratedFileKind::PackageMod {
            continue;
        }
        let syntax = syn::parse_file(&file.content).map_err(|error| {
            Error::new(format!("messages of package '{}': {error}", file.package))
        })?;
        packages.insert(file.package, syntax.items);
    }
    for file in files {
        let wanted = planned.iter().any(|name| name == plan::name(file));
        if let (true, Some(items)) = (wanted, packages.get_mut(plan::package(file))) {
            mark_deprecated(file, context, items);
        }
    }
    let warnings = warnings.iter().map(ToString::to_string).collect();
    Ok(Messages { packages, warnings })
}

/// Refuses types whose names are keywords, which the message generator writes as they are.
fn check_type_names(file: &FileDescriptorProto) -> Result<(), Error> {
    let names = |enums: &[EnumDescriptorProto]| -> Vec<String> {
        enums.iter().filter_map(|enumeration| enumeration.name.clone()).collect()
    };
    let mut pending: Vec<(Vec<i32>, &DescriptorProto)> = Vec::new();
    push_messages(&[], path::FILE_MESSAGE, &file.message_type, &mut pending);
    let mut found = keyword_at(&[], path::FILE_ENUM, &names(&file.enum_type));
    while let Some((at, message)) = pending.pop() {
        let name = message.name.as_deref().unwrap_or_default();
        if is_rust_keyword(name) {
            found.push((at.clone(), name.to_owned()));
        }
        found.extend(keyword_at(&at, path::MESSAGE_ENUM, &names(&message.enum_type)));
        push_messages(&at, path::MESSAGE_NESTED, &message.nested_type, &mut pending);
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    let diagnostic = |(at, name): (Vec<i32>, String)| {
        Diagnostic::new(format!("type `{name}` has the name of a keyword of Rust"))
            .at(locate::position(file, &at))
            .help("give the type another name, in UpperCamelCase as is the custom")
    };
    Err(Error::from_diagnostics(found.into_iter().map(diagnostic).collect()))
}

fn push_messages<'a>(
    at: &[i32],
    field: i32,
    messages: &'a [DescriptorProto],
    pending: &mut Vec<(Vec<i32>, &'a DescriptorProto)>,
) {
    for (message, index) in messages.iter().zip(0..) {
        pending.push(([at, &[field, index]].concat(), message));
    }
}

fn keyword_at(at: &[i32], field: i32, names: &[String]) -> Vec<(Vec<i32>, String)> {
    let keywords = names.iter().zip(0..).filter(|(name, _)| is_rust_keyword(name));
    keywords.map(|(name, index)| ([at, &[field, index]].concat(), name.clone())).collect()
}

fn convert(error: &CodeGenError, files: &[FileDescriptorProto]) -> Error {
    let full_name = match error {
        CodeGenError::ModuleNameConflict { scope, name_b, .. } if scope.is_empty() => {
            Some(name_b.clone())
        }
        CodeGenError::ModuleNameConflict { scope, name_b, .. } => Some(format!("{scope}.{name_b}")),
        CodeGenError::ReservedFieldName { message_name, .. }
        | CodeGenError::MessageSetNotSupported { message_name } => Some(message_name.clone()),
        _ => None,
    };
    let position = full_name.and_then(|full_name| locate::type_position(files, &full_name));
    let diagnostic = Diagnostic::new(error.to_string()).at(position);
    match error {
        CodeGenError::ModuleNameConflict { .. } => {
            diagnostic.help("rename one of the messages: both need a Rust module of that name")
        }
        _ => diagnostic,
    }
    .into()
}

fn scope_of(file: &FileDescriptorProto) -> String {
    match plan::package(file) {
        "" => String::new(),
        package => format!(".{package}"),
    }
}

fn deprecated_fields(
    scope: &str,
    message: &DescriptorProto,
    attributes: &mut Vec<(String, String)>,
) {
    let scope = format!("{scope}.{}", message.name.as_deref().unwrap_or_default());
    for field in &message.field {
        let options = field.options.as_option();
        if options.is_some_and(|options| options.deprecated.unwrap_or_default()) {
            let path = format!("{scope}.{}", field.name.as_deref().unwrap_or_default());
            attributes.push((path, "#[deprecated]".to_owned()));
        }
    }
    for nested in &message.nested_type {
        deprecated_fields(&scope, nested, attributes);
    }
}

fn mark_deprecated(file: &FileDescriptorProto, context: &CodeGenContext<'_>, items: &mut [Item]) {
    let mut marker = Marker { package: plan::package(file), context, items };
    let scope = scope_of(file);
    for message in &file.message_type {
        marker.message(&scope, message);
    }
    for enumeration in &file.enum_type {
        marker.enumeration(&scope, enumeration);
    }
}

/// Puts `#[deprecated]` on the types of one package.
struct Marker<'a> {
    package: &'a str,
    context: &'a CodeGenContext<'a>,
    items: &'a mut [Item],
}

impl Marker<'_> {
    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let full_name = format!("{scope}.{}", message.name.as_deref().unwrap_or_default());
        let options = message.options.as_option();
        if options.is_some_and(|options| options.deprecated.unwrap_or_default())
            && let Some(Item::Struct(item)) = self.find(&full_name)
        {
            item.attrs.push(parse_quote!(#[deprecated]));
        }
        for nested in &message.nested_type {
            self.message(&full_name, nested);
        }
        for enumeration in &message.enum_type {
            self.enumeration(&full_name, enumeration);
        }
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptorProto) {
        let full_name = format!("{scope}.{}", enumeration.name.as_deref().unwrap_or_default());
        let options = enumeration.options.as_option();
        let whole = options.is_some_and(|options| options.deprecated.unwrap_or_default());
        let Some(Item::Enum(item)) = self.find(&full_name) else { return };
        if whole {
            item.attrs.push(parse_quote!(#[deprecated]));
        }
        for value in &enumeration.value {
            let options = value.options.as_option();
            if !options.is_some_and(|options| options.deprecated.unwrap_or_default()) {
                continue;
            }
            let ident = make_field_ident(value.name.as_deref().unwrap_or_default());
            if let Some(variant) = item.variants.iter_mut().find(|v| v.ident == ident) {
                variant.attrs.push(parse_quote!(#[deprecated]));
            }
        }
    }

    /// The item of the type called `full_name`, with a leading dot.
    fn find(&mut self, full_name: &str) -> Option<&mut Item> {
        let path = self.context.rust_type_relative(full_name, self.package, 0)?;
        let mut segments: Vec<&str> = path.split("::").collect();
        let name = make_field_ident(segments.pop()?);
        let mut items: &mut [Item] = self.items;
        for segment in segments {
            let module = make_field_ident(segment);
            items = items.iter_mut().find_map(|item| match item {
                Item::Mod(item) if item.ident == module => {
                    item.content.as_mut().map(|(_, items)| items.as_mut_slice())
                }
                _ => None,
            })?;
        }
        items.iter_mut().find(|item| match item {
            Item::Struct(item) => item.ident == name,
            Item::Enum(item) => item.ident == name,
            _ => false,
        })
    }
}
