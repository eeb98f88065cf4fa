//! From descriptors to files of text: plans what to generate, has messages and services generated
//! for each package, and lays the packages out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use buffa::Message as _;
use buffa_codegen::context::CodeGenContext;
use buffa_descriptor::generated::descriptor::{FileDescriptorProto, FileDescriptorSet};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::Item;

use crate::error::Error;
use crate::layout::{self, Package};
use crate::lints;
use crate::messages;
use crate::names::{FILE_DESCRIPTOR_SET, Taken};
use crate::options::Options;
use crate::plan;
use crate::rewrite;
use crate::service;

/// Generates Rust for `set`, which holds all that its files import, each before what imports it.
/// The same input gives the same text, whatever the order of [`Options::files`].
///
/// # Errors
///
/// When an import is missing from `set`, a file of [`Options::files`] is not in it, or names in
/// the proto files cannot be told apart in Rust.
pub fn generate(set: &FileDescriptorSet, options: &Options) -> Result<Generated, Error> {
    let files = &set.file;
    let planned = plan::files_to_generate(files, options)?;
    let config = messages::config(files, options);
    let context = CodeGenContext::for_generate(files, &planned, &config);
    let messages = messages::generate(files, &planned, &context, &config)?;
    let names: Vec<String> = messages.packages.keys().cloned().collect();
    let mut packages = Vec::new();
    for (name, items) in messages.packages {
        let in_package = |file: &&FileDescriptorProto| {
            plan::package(file) == name && planned.iter().any(|p| p == plan::name(file))
        };
        let mut sources: Vec<&FileDescriptorProto> = files.iter().filter(in_package).collect();
        sources.sort_by_key(|file| plan::name(file));
        let taken = Taken::new(&items, &layout::child_modules(&name, &names));
        let scope = Scope { package: &name, context: &context, options, taken };
        packages.push(package(scope, &sources, files, items)?);
    }
    let files = layout::render(packages, &options.layout);
    Ok(Generated { files, warnings: messages.warnings })
}

/// What [`generate`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generated {
    /// The files, sorted by path.
    pub files: Vec<GeneratedFile>,
    /// What is worth knowing about the names in the generated code, such as aliases left out.
    pub warnings: Vec<String>,
}

/// A file of generated text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GeneratedFile {
    /// Where it goes, relative to the folder for generated code.
    pub path: PathBuf,
    /// All of it, with a newline at the end.
    pub text: String,
}

/// What the generators of one package's items need to know.
pub(crate) struct Scope<'a> {
    pub(crate) package: &'a str,
    pub(crate) context: &'a CodeGenContext<'a>,
    pub(crate) options: &'a Options,
    pub(crate) taken: Taken,
}

fn package(
    mut scope: Scope<'_>,
    sources: &[&FileDescriptorProto],
    files: &[FileDescriptorProto],
    messages: Vec<Item>,
) -> Result<Package, Error> {
    let mut tokens = TokenStream::new();
    for file in sources {
        tokens.extend(service::generate(&mut scope, file)?);
    }
    let mut items = parse(tokens)?;
    items.extend(messages);
    items.extend(parse(descriptor_set(sources, files))?);
    rewrite::through_facade(&mut items, layout::depth(scope.package));
    Ok(Package {
        name: scope.package.to_owned(),
        sources: sources.iter().map(|file| plan::name(file).to_owned()).collect(),
        allow: lints::to_allow(&layout::module_name(scope.package), &items),
        items,
    })
}

fn parse(tokens: TokenStream) -> Result<Vec<Item>, Error> {
    // Only a bug in a generator gets here; say so rather than write text that does not compile.
    let file = syn::parse2::<syn::File>(tokens)
        .map_err(|error| Error::new(format!("generated code is not Rust: {error}")))?;
    Ok(file.items)
}

/// The constant that holds the package's files and all that they import, without comments.
fn descriptor_set(sources: &[&FileDescriptorProto], files: &[FileDescriptorProto]) -> TokenStream {
    let by_name: BTreeMap<&str, &FileDescriptorProto> =
        files.iter().map(|file| (plan::name(file), file)).collect();
    let mut wanted: BTreeMap<&str, ()> = BTreeMap::new();
    let mut pending: Vec<&str> = sources.iter().map(|file| plan::name(file)).collect();
    while let Some(name) = pending.pop() {
        if wanted.insert(name, ()).is_none()
            && let Some(file) = by_name.get(name)
        {
            pending.extend(file.dependency.iter().map(String::as_str));
        }
    }
    let mut set = FileDescriptorSet::default();
    for file in files.iter().filter(|file| wanted.contains_key(plan::name(file))) {
        let mut file = file.clone();
        file.source_code_info = Default::default();
        set.file.push(file);
    }
    let literal = byte_string(&set.encode_to_vec());
    let name = format_ident!("{FILE_DESCRIPTOR_SET}");
    quote! {
        /// The descriptors of this package's proto files and of all that they import: an encoded
        /// `google.protobuf.FileDescriptorSet`, each file after what it imports.
        pub const #name: &[u8] = #literal;
    }
}

/// `bytes` as a byte string broken into lines, so that a change is a change of a few lines.
fn byte_string(bytes: &[u8]) -> Literal {
    let mut text = String::with_capacity(bytes.len() * 2);
    text.push_str("b\"");
    // The first line is the rest of the line that the constant is declared on: nothing.
    let mut column = LITERAL_COLUMNS;
    for &byte in bytes {
        if column >= LITERAL_COLUMNS {
            text.push_str("\\\n");
            column = 0;
        }
        let before = text.len();
        match byte {
            // A space at the start of a line would be skipped.
            b' ' if column == 0 => text.push_str("\\x20"),
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
        column += text.len() - before;
    }
    text.push('"');
    text.parse().expect("escaped bytes between quotes are a byte string")
}

/// How many columns of a line a byte string fills.
const LITERAL_COLUMNS: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_string_means_its_bytes() {
        let mut bytes: Vec<u8> = (0..=u8::MAX).collect();
        bytes.extend([b' '; 300]);
        bytes.extend(b"\"\\\n \n");
        let literal = byte_string(&bytes).to_string();
        assert!(literal.lines().all(|line| line.len() <= 100), "{literal}");
        assert_eq!(syn::parse_str::<syn::LitByteStr>(&literal).unwrap().value(), bytes);
    }
}
