//! Generates code for protos that others wrote, and has it compiled, linted and documented.
//!
//! ```text
//! corpus OUT INCLUDE[=FOLDER]...
//! corpus OUT --descriptor_set SET...
//! ```
//!
//! Every proto file below each INCLUDE (below its FOLDER, if one is named) is compiled, with all
//! INCLUDEs to look for imports in; or descriptors are read from encoded SETs. A crate with the
//! generated modules is written to OUT and compiled there. Exits with 1 if anything fails or warns.
//! `cargo xtask corpus` gets the protos and runs this. The well-known types
//! are left out: they come with the runtime.

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gannet_codegen::{Options, Source};

use support::Project;

fn main() -> ExitCode {
    match run() {
        Ok(summary) => {
            let _ = writeln!(io::stdout(), "{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let arguments = Arguments::parse(env::args().skip(1))?;
    let mut source = Source::new();
    let mut files = Vec::new();
    for (include, folder) in &arguments.corpora {
        source = source.include(include);
        proto_files(include, folder, &mut files)?;
    }
    files.sort();
    files.dedup();
    if files.is_empty() && arguments.descriptor_sets.is_empty() {
        return Err("no proto files found".to_owned());
    }
    for file in files {
        source = source.file(file);
    }
    for set in &arguments.descriptor_sets {
        source = source.descriptor_set(set);
    }
    let compiled = source.compile().map_err(|error| error.to_string())?;
    let generated = compiled.generate(&Options::new()).map_err(|error| error.to_string())?;
    let out = std::path::absolute(&arguments.out).map_err(|error| error.to_string())?;
    let project = Project::new(&out.join("crate"), &out.join("target"));
    let code = project.src().join("generated");
    gannet_codegen::write(&code, &generated.files).map_err(|error| error.to_string())?;
    project.root("//! Generated.\n#[rustfmt::skip]\npub mod generated;\n");
    project.cargo(&["clippy", "--quiet"])?;
    project.cargo(&["doc", "--quiet", "--no-deps"])?;
    let lines: usize = generated.files.iter().map(|file| file.text.lines().count()).sum();
    Ok(format!(
        "{} proto files with imports, {} generated files, {lines} lines: compiled without warnings",
        compiled.descriptors.file.len(),
        generated.files.len()
    ))
}

struct Arguments {
    out: PathBuf,
    corpora: Vec<(PathBuf, PathBuf)>,
    descriptor_sets: Vec<PathBuf>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const USAGE: &str = "usage: corpus OUT INCLUDE[=FOLDER]... | --descriptor_set SET...";
        let out = PathBuf::from(arguments.next().ok_or(USAGE)?);
        let mut parsed = Self { out, corpora: Vec::new(), descriptor_sets: Vec::new() };
        while let Some(argument) = arguments.next() {
            if argument == "--descriptor_set" {
                parsed.descriptor_sets.push(PathBuf::from(arguments.next().ok_or(USAGE)?));
                continue;
            }
            let (include, folder) = argument.split_once('=').unwrap_or((&argument, ""));
            parsed.corpora.push((include.into(), folder.into()));
        }
        if parsed.corpora.is_empty() == parsed.descriptor_sets.is_empty() {
            return Err(USAGE.to_owned());
        }
        Ok(parsed)
    }
}

/// The proto files below `include`'s `folder`, as they are imported.
fn proto_files(include: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let path = include.join(folder);
    let entries = fs::read_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", path.display()))?;
        let relative = folder.join(entry.file_name());
        if entry.path().is_dir() {
            proto_files(include, &relative, files)?;
        } else if relative.extension().is_some_and(|extension| extension == "proto")
            && !relative.starts_with("google/protobuf")
        {
            files.push(relative);
        }
    }
    Ok(())
}
