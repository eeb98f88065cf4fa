//! Generates Gannet code from a build script: a thin wrapper around `gannet-codegen`.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), gannet_build::Error> {
//!     gannet_build::compile(&["proto/greet.proto"])
//! }
//! ```
//!
//! ```text
//! // src/lib.rs: one module per proto package, such as `greet`
//! include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
//! ```
//!
//! Put the `include!` into a module of its own to have the packages below it. [`configure`] has
//! the rest: folders to look in, packages generated elsewhere, servers or clients alone.
//!
//! The wrapper tells cargo to run the script again when one of the proto files that were read has
//! changed, imports included. It formats no text and knows no names; all that is
//! `gannet-codegen`'s.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use gannet_codegen::Error;
use gannet_codegen::{Layout, Options, Source};

/// Generates code for `files`, which are paths relative to the crate, into `OUT_DIR`. Imports are
/// looked for in the files' own folders.
///
/// # Errors
///
/// When a file is not found or has mistakes, or there is no `OUT_DIR` because this is not a build
/// script.
pub fn compile(files: &[impl AsRef<Path>]) -> Result<(), Error> {
    configure().compile(files)
}

/// Starts with the default: servers and clients, into `OUT_DIR`, as `gannet.rs`.
pub fn configure() -> Builder {
    Builder {
        source: Source::new(),
        options: Options::new(),
        out_dir: None,
        file_name: "gannet.rs".to_owned(),
    }
}

/// What to generate, and where to.
#[derive(Clone, Debug)]
#[must_use = "nothing is generated before `compile`"]
pub struct Builder {
    source: Source,
    options: Options,
    out_dir: Option<PathBuf>,
    file_name: String,
}

impl Builder {
    /// Looks for files and imports below `dir`, relative to the crate, after the folders added
    /// before. Without any, each file's own folder is looked in.
    pub fn include(mut self, dir: impl Into<PathBuf>) -> Self {
        self.source = self.source.include(dir);
        self
    }

    /// Reads descriptors from an encoded `FileDescriptorSet` instead of compiling proto files.
    pub fn descriptor_set(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = self.source.descriptor_set(path);
        self
    }

    /// Takes the code of a proto package or type from elsewhere: `.google.rpc` from
    /// `::my_protos::google::rpc`.
    pub fn extern_path(mut self, proto: &str, rust: &str) -> Self {
        self.options = self.options.extern_path(proto, rust);
        self
    }

    /// Whether to generate service traits and servers; on by default.
    pub fn server(mut self, yes: bool) -> Self {
        self.options.server = yes;
        self
    }

    /// Whether the methods of service traits have bodies; on by default: one that is left out
    /// answers UNIMPLEMENTED. Off, it is an error of the compiler, also when the proto file has one
    /// more.
    pub fn default_methods(mut self, yes: bool) -> Self {
        self.options.default_methods = yes;
        self
    }

    /// Whether to generate clients; on by default.
    pub fn client(mut self, yes: bool) -> Self {
        self.options.client = yes;
        self
    }

    /// Whether to generate borrowed views of messages too; off by default.
    pub fn views(mut self, yes: bool) -> Self {
        self.options.views = yes;
        self
    }

    /// Writes to this folder instead of `OUT_DIR`.
    pub fn out_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(dir.into());
        self
    }

    /// Writes to this file instead of `gannet.rs`, for scripts that generate more than once.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = name.into();
        self
    }

    /// Generates code for `files`: paths relative to the crate, or as they are imported.
    ///
    /// # Errors
    ///
    /// When a file is not found or has mistakes, or there is no `OUT_DIR` because this is not a
    /// build script.
    pub fn compile(self, files: &[impl AsRef<Path>]) -> Result<(), Error> {
        let Self { mut source, mut options, out_dir, file_name } = self;
        let Some(out_dir) = out_dir.or_else(|| env::var_os("OUT_DIR").map(PathBuf::from)) else {
            return Err(Error::other(
                "OUT_DIR is not set: call this from a build script, or choose a folder",
            ));
        };
        for file in files {
            source = source.file(file.as_ref());
        }
        let compiled = source.compile()?;
        options.layout = Layout::Single { file_name };
        let generated = compiled.generate(&options)?;
        for file in &generated.files {
            gannet_codegen::write_file(&out_dir, file)?;
        }
        for path in &compiled.read {
            tell_cargo("rerun-if-changed", &path.display().to_string());
        }
        for warning in &generated.warnings {
            tell_cargo("warning", warning);
        }
        Ok(())
    }
}

/// One line of standard output, which is what cargo reads. There is nothing to do if it is closed.
fn tell_cargo(key: &str, value: &str) {
    let _ = writeln!(io::stdout(), "cargo::{key}={}", value.replace('\n', " "));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PROTO: &str = "syntax = \"proto3\";\npackage greet;\nmessage Name { string name = 1; }\n\
        service Greeter { rpc Greet(Name) returns (Name); }\n";

    #[test]
    fn one_file_holds_everything() {
        let dir = tempfile::tempdir().unwrap();
        let proto = dir.path().join("greet.proto");
        fs::write(&proto, PROTO).unwrap();
        let out = dir.path().join("out");
        configure().out_dir(&out).compile(&[&proto]).unwrap();
        let text = fs::read_to_string(out.join("gannet.rs")).unwrap();
        for item in ["pub mod greet {", "trait Greeter", "struct GreeterClient", "struct Name"] {
            assert!(text.contains(item), "{item}");
        }

        configure()
            .include(dir.path())
            .server(false)
            .client(false)
            .extern_path(".other", "::other")
            .views(true)
            .out_dir(&out)
            .file_name("messages.rs")
            .compile(&["greet.proto"])
            .unwrap();
        let text = fs::read_to_string(out.join("messages.rs")).unwrap();
        assert!(text.contains("NameView") && !text.contains("trait Greeter"));
        let all = configure().default_methods(false).out_dir(&out).file_name("all.rs");
        all.compile(&[&proto]).unwrap();
        let text = fs::read_to_string(out.join("all.rs")).unwrap();
        assert!(text.contains("trait Greeter") && !text.contains("is not implemented"));
        // Another script's file, which this one leaves alone.
        assert!(out.join("gannet.rs").exists());
    }

    #[test]
    fn errors_read_well_when_main_returns_them() {
        let dir = tempfile::tempdir().unwrap();
        let proto = dir.path().join("bad.proto");
        fs::write(&proto, "syntax = \"proto3\";\nmessage {}\n").unwrap();
        let error = configure().out_dir(dir.path()).compile(&[&proto]).unwrap_err();
        assert!(format!("{error:?}").contains("bad.proto:2:9: error: expected the message's name"));
    }
}
