//! From proto files, or from an already compiled descriptor set, to descriptors.
//!
//! Proto files are parsed and linked by `protox`; this module decides where files are looked for
//! and turns `protox`'s errors into ours. It does not generate anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use buffa_descriptor::generated::descriptor::FileDescriptorSet;

use crate::diagnose;
use crate::error::{Diagnostic, Error, Position};
use crate::generate::{self, Generated};
use crate::options::Options;

/// Proto files to compile, and where to look for what they import.
///
/// ```no_run
/// # fn main() -> Result<(), gannet_codegen::Error> {
/// let compiled = gannet_codegen::Source::new().include("proto").file("greet.proto").compile()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    descriptor_sets: Vec<PathBuf>,
}

impl Source {
    /// Nothing to compile yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for files and imports below `dir`, after the folders added before. Without any, each
    /// file's own folder is looked in. Imports of `google/protobuf/…` need no folder.
    #[must_use]
    pub fn include(mut self, dir: impl Into<PathBuf>) -> Self {
        self.includes.push(dir.into());
        self
    }

    /// Compiles `file`: a path to a file below one of the included folders, or a path relative to
    /// one of them, as in an import.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }

    /// Takes descriptors from `path` instead of compiling proto files: an encoded
    /// `FileDescriptorSet` with all imports, as other compilers write. The files are then names in
    /// it; without any, all of it is meant.
    #[must_use]
    pub fn descriptor_set(mut self, path: impl Into<PathBuf>) -> Self {
        self.descriptor_sets.push(path.into());
        self
    }

    /// Compiles the files and all that they import.
    ///
    /// # Errors
    ///
    /// When a file is not found or has mistakes; see [`Error::diagnostics`] for where.
    pub fn compile(&self) -> Result<Compiled, Error> {
        if !self.descriptor_sets.is_empty() {
            return self.read_descriptor_sets();
        }
        if self.files.is_empty() {
            return Err(Diagnostic::new("no proto files given")
                .help("name at least one file to compile")
                .into());
        }
        let includes = self.effective_includes();
        for include in &includes {
            if !include.is_dir() {
                return Err(Diagnostic::new(format!("{} is not a folder", include.display()))
                    .help("the folders to look for proto files in must exist")
                    .into());
            }
        }
        let mut compiler = protox::Compiler::new(&includes)
            .map_err(|error| diagnose::from_protox(&error, &includes, None))?;
        compiler.include_imports(true).include_source_info(true);
        for file in &self.files {
            compiler
                .open_file(file)
                .map_err(|error| diagnose::from_protox(&error, &includes, Some(file)))?;
        }
        let encoded = compiler.encode_file_descriptor_set();
        let descriptors = decode(&encoded, "the compiled proto files")?;
        let requested = compiler.files().filter(|file| !file.is_import());
        let on_disk =
            compiler.files().filter_map(|file| Some((file.name().to_owned(), file.path()?)));
        let paths: BTreeMap<String, PathBuf> =
            on_disk.map(|(name, path)| (name, path.to_owned())).collect();
        Ok(Compiled {
            descriptors,
            files: requested.map(|file| file.name().to_owned()).collect(),
            read: paths.values().cloned().collect(),
            paths,
        })
    }

    fn effective_includes(&self) -> Vec<PathBuf> {
        if !self.includes.is_empty() {
            return self.includes.clone();
        }
        let mut folders = Vec::new();
        for file in &self.files {
            let folder = match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            };
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    fn read_descriptor_sets(&self) -> Result<Compiled, Error> {
        let mut descriptors = FileDescriptorSet::default();
        let mut names = BTreeSet::new();
        for path in &self.descriptor_sets {
            let encoded = fs::read(path)
                .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
            let set = decode(&encoded, &path.display().to_string())?;
            for file in set.file {
                if names.insert(file.name.clone().unwrap_or_default()) {
                    descriptors.file.push(file);
                }
            }
        }
        let mut files = Vec::new();
        for file in &self.files {
            let name = file.to_string_lossy().replace('\\', "/");
            if !names.contains(&name) {
                return Err(Diagnostic::new(format!("{name}: not in the descriptor set"))
                    .help("files are named in it as they are in imports")
                    .into());
            }
            files.push(name);
        }
        let read = self.descriptor_sets.clone();
        Ok(Compiled { descriptors, files, read, paths: BTreeMap::new() })
    }
}

/// What a [`Source`] compiled to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The files and all that they import, each after what it imports, with source positions.
    pub descriptors: FileDescriptorSet,
    /// The names in `descriptors` of the files that were asked for, for
    /// [`Options::files`](crate::Options::files). Empty where a whole descriptor set was meant.
    pub files: Vec<String>,
    /// Every file that was read from disk: what to watch for changes.
    pub read: Vec<PathBuf>,
    /// Where each file was read from, by its name in imports.
    paths: BTreeMap<String, PathBuf>,
}

impl Compiled {
    /// Generates code from what was compiled. The same as [`generate`], for which
    /// [`Options::files`] is [`Compiled::files`] unless it is set, but errors show the lines of the
    /// files that were read.
    ///
    /// # Errors
    ///
    /// As [`generate`].
    ///
    /// [`generate`]: crate::generate()
    pub fn generate(&self, options: &Options) -> Result<Generated, Error> {
        let mut options = options.clone();
        if options.files.is_empty() {
            options.files.clone_from(&self.files);
        }
        generate::generate(&self.descriptors, &options)
            .map_err(|error| error.map_positions(|position| self.show(position)))
    }

    /// Gives a position that names an import the path and the line that go with it.
    fn show(&self, position: &mut Position) {
        let Some(path) = self.paths.get(&position.file) else { return };
        position.file = diagnose::display(path);
        if let Ok(source) = fs::read_to_string(path) {
            let line = position.line.checked_sub(1).and_then(|line| source.lines().nth(line));
            position.text = line.map(str::to_owned);
        }
    }
}

fn decode(encoded: &[u8], what: &str) -> Result<FileDescriptorSet, Error> {
    let options = buffa_codegen::tooling_decode_options().map_err(Error::new)?;
    options
        .decode_from_slice(encoded)
        .map_err(|error| Error::new(format!("{what}: not a FileDescriptorSet: {error}")))
}
