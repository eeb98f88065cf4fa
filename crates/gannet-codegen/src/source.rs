//! From proto files, or from an already compiled descriptor set, to descriptors.
//!
//! Proto files are compiled by `gannet-proto`; this module decides which files, and puts together
//! what came out. It does not generate anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use buffa_descriptor::generated::descriptor::FileDescriptorSet;

use crate::diagnose;
use crate::error::{Diagnostic, Error, Position};
use crate::generate::{self, Generated};
use crate::options::Options;
use crate::search::{Search, display};

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
        let mut search = Search::new(self.effective_includes())?;
        let mut names = Vec::new();
        for file in &self.files {
            names.push(search.name_of(file)?);
        }
        let roots: Vec<&str> = names.iter().map(String::as_str).collect();
        let compiled = gannet_proto::compile(&roots, &mut |name| search.read(name))
            .map_err(|failure| diagnose::error(&failure, &search))?;
        let descriptors = decode(&compiled.descriptor_set(), "the compiled proto files")?;
        let warnings = compiled.warnings.iter();
        let warnings = warnings.map(|found| diagnose::warning(found, &search)).collect();
        let requested = compiled.files.into_iter().map(|file| file.name);
        let files = requested.filter(|name| names.contains(name)).collect();
        let paths = search.into_paths();
        Ok(Compiled {
            descriptors,
            files,
            read: paths.values().cloned().collect(),
            warnings,
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
        let (warnings, paths) = (Vec::new(), BTreeMap::new());
        Ok(Compiled { descriptors, files, read, warnings, paths })
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
    /// What is no mistake, but hardly meant, in the files that were asked for.
    warnings: Vec<String>,
    /// Where each file was read from, by its name in imports.
    paths: BTreeMap<String, PathBuf>,
}

impl Compiled {
    /// Generates code from what was compiled. The same as [`generate`], for which
    /// [`Options::files`] is [`Compiled::files`] unless it is set, but errors show the lines of the
    /// files that were read, and warnings tell what is hardly meant in them, such as an import that
    /// is not used.
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
        let mut generated = generate::generate(&self.descriptors, &options)
            .map_err(|error| error.map_positions(|position| self.show(position)))?;
        generated.warnings.splice(0..0, self.warnings.iter().cloned());
        Ok(generated)
    }

    /// Gives a position that names an import the path and the line that go with it.
    fn show(&self, position: &mut Position) {
        let Some(path) = self.paths.get(&position.file) else { return };
        position.file = display(path);
        if let Ok(source) = fs::read_to_string(path)
            && let Some(line) = position.line.checked_sub(1)
            && let Some(text) = source.lines().nth(line)
        {
            position.show(text);
        }
    }
}

fn decode(encoded: &[u8], what: &str) -> Result<FileDescriptorSet, Error> {
    let options = buffa_codegen::tooling_decode_options().map_err(Error::new)?;
    options
        .decode_from_slice(encoded)
        .map_err(|error| Error::new(format!("{what}: not a FileDescriptorSet: {error}")))
}
