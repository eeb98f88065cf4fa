//! Reads .proto files: proto2, proto3 and the editions 2023 and 2024 in, encoded descriptors out.
//!
//! What comes out for each file is a `google.protobuf.FileDescriptorProto` as protoc writes it,
//! byte for byte, with the places and comments of `SourceCodeInfo`, and with all options
//! interpreted, custom ones too. What is wrong is told with its place, several mistakes at once.
//!
//! ```
//! let text = b"syntax = \"proto3\"; message Greeting { string text = 1; }";
//! let mut read = |name: &str| Ok((name == "greet.proto").then(|| text.to_vec()));
//! let compiled = gannet_proto::compile(&["greet.proto"], &mut read)?;
//! assert_eq!(compiled.files[0].name, "greet.proto");
//! # Ok::<(), gannet_proto::Failure>(())
//! ```
//!
//! # How
//!
//! `lexer` cuts text into tokens, `parse` makes the tree of a file of them, `link` looks names up
//! and has `options` interpreted and `check` see to the rules, `encode` writes. Files are read by
//! whoever calls; those of `google/protobuf/…` are here if the caller has none.
//!
//! Deep nesting is bounded, and no input makes it panic; `fuzz/` holds it to that.
//!
//! # What is not here
//!
//! No code generation, no reflection, no reading of descriptors. Editions that are not released
//! are refused. A file must be UTF-8, which protoc does not ask of comments.

mod check;
mod comments;
mod diagnostic;
mod embedded;
mod encode;
mod features;
mod lexer;
mod link;
mod literal;
mod load;
mod options;
mod parse;
mod tree;

use std::fmt;
use std::io;

pub use diagnostic::{Diagnostic, Place, Severity};

/// What files compiled to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The files that were asked for and all that they import, each after what it imports.
    pub files: Vec<CompiledFile>,
    /// What is no mistake, but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

impl Compiled {
    /// All files as an encoded `google.protobuf.FileDescriptorSet`.
    pub fn descriptor_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for file in &self.files {
            options::wire::write_bytes_field(1, &file.descriptor, &mut out);
        }
        out
    }
}

/// A file that was compiled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompiledFile {
    /// Its name in imports.
    pub name: String,
    /// Its `google.protobuf.FileDescriptorProto`, encoded.
    pub descriptor: Vec<u8>,
}

/// Why files did not compile: at least one error, and perhaps warnings.
#[derive(Clone, Debug)]
pub struct Failure {
    diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// The single findings, those of one file in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Compiles the files called `names`, as they would be imported, and all that they import. `read`
/// gives the bytes of a file by its name in imports, or `None` if there is no such file.
///
/// # Errors
///
/// When a file is not found, cannot be read, or has mistakes.
pub fn compile(
    names: &[&str],
    read: &mut dyn FnMut(&str) -> io::Result<Option<Vec<u8>>>,
) -> Result<Compiled, Failure> {
    let mut loader = load::Loader::new(read);
    for name in names {
        loader.load(name, true);
    }
    if loader.findings.errors() > 0 {
        return Err(Failure { diagnostics: loader.findings.into_sorted() });
    }
    let files = in_order(&loader, names).into_iter().map(|id| CompiledFile {
        name: loader.pool.files[id].name.clone(),
        descriptor: encode::file(&loader.pool, id),
    });
    let files = files.collect();
    let mut warnings = loader.findings.into_sorted();
    // What others wrote is theirs to mend.
    warnings.retain(|warning| names.contains(&&warning.place.file[..]));
    Ok(Compiled { files, warnings })
}

/// The files that come out, each after what it imports; not the one that was only read for its
/// declarations of options.
fn in_order(loader: &load::Loader<'_>, names: &[&str]) -> Vec<usize> {
    let mut seen = vec![false; loader.pool.files.len()];
    let mut order = Vec::new();
    for root in names.iter().filter_map(|name| loader.id(name)) {
        let mut open = vec![(root, 0)];
        while let Some((id, next)) = open.last_mut() {
            let (id, import) = (*id, loader.pool.files[*id].imports.get(*next));
            *next += 1;
            match import {
                Some(import) => {
                    let unseen = import.file.filter(|file| !seen[*file]);
                    open.extend(unseen.map(|file| (file, 0)));
                }
                None => {
                    open.pop();
                    if !std::mem::replace(&mut seen[id], true) {
                        order.push(id);
                    }
                }
            }
        }
    }
    order
}
