//! Generated files to a folder: written, or compared with what is there.
//!
//! To [`write()`] and [`check`] the folder belongs to the generator: a file in it that carries the
//! generator's header and is no longer produced is stale. Files without the header are never
//! touched.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::HEADER_PREFIX;
use crate::error::Error;
use crate::generate::GeneratedFile;

/// Writes `files` under `dir` and deletes stale generated files there. Files whose text is already
/// right are left alone, so that their modification times do not set off a rebuild.
///
/// # Errors
///
/// When the folder cannot be read or written, and, before anything is written, when a file that is
/// in the way was not generated.
pub fn write(dir: &Path, files: &[GeneratedFile]) -> Result<(), Error> {
    let differences = check(dir, files)?;
    for difference in &differences {
        let path = dir.join(&difference.path);
        if difference.kind == DifferenceKind::Changed && !is_generated(&path) {
            return Err(Error::other(format!(
                "{} is in the way: it was not generated; move it, or choose another folder",
                path.display()
            )));
        }
    }
    for difference in differences {
        let path = dir.join(&difference.path);
        if difference.kind == DifferenceKind::Stale {
            fs::remove_file(&path).map_err(|error| io_error("delete", &path, &error))?;
        }
    }
    files.iter().try_for_each(|file| write_file(dir, file))
}

/// Writes one file below `dir`, unless its text is already right, and touches no other: for a
/// folder that is shared with others, as `OUT_DIR` is.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_file(dir: &Path, file: &GeneratedFile) -> Result<(), Error> {
    let path = dir.join(&file.path);
    if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| io_error("create", parent, &error))?;
    }
    fs::write(&path, &file.text).map_err(|error| io_error("write", &path, &error))
}

/// Compares `files` with what is under `dir`; empty where they agree. Sorted by path.
///
/// # Errors
///
/// When the folder cannot be read. A folder that does not exist is an empty one.
pub fn check(dir: &Path, files: &[GeneratedFile]) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    let mut expected = BTreeSet::new();
    for file in files {
        expected.insert(file.path.clone());
        let path = dir.join(&file.path);
        let kind = match fs::read_to_string(&path) {
            Ok(text) if text == file.text => continue,
            Ok(_) => DifferenceKind::Changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => DifferenceKind::Missing,
            Err(error) => return Err(io_error("read", &path, &error)),
        };
        differences.push(Difference { path: file.path.clone(), kind });
    }
    for path in generated_below(dir)? {
        if !expected.contains(&path) {
            differences.push(Difference { path, kind: DifferenceKind::Stale });
        }
    }
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(differences)
}

/// A file on disk that is not as it would be generated now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The file, relative to the folder.
    pub path: PathBuf,
    /// In what way it differs.
    pub kind: DifferenceKind,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.kind {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Changed => "differs",
            DifferenceKind::Stale => "no longer generated",
        };
        write!(f, "{}: {what}", self.path.display())
    }
}

/// In what way a file on disk differs from the generated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is not there.
    Missing,
    /// Its text is another.
    Changed,
    /// It was generated once, and would not be now.
    Stale,
}

/// The files below `dir` that carry the generator's header, relative to `dir`.
fn generated_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(folder) = pending.pop() {
        let path = dir.join(&folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("read", &path, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| io_error("read", &path, &error))?;
            let kind = entry.file_type().map_err(|error| io_error("read", &path, &error))?;
            let relative = folder.join(entry.file_name());
            if kind.is_dir() {
                pending.push(relative);
            } else if kind.is_file() && is_generated(&entry.path()) {
                found.push(relative);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_generated(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
        && fs::read_to_string(path).is_ok_and(|text| text.starts_with(HEADER_PREFIX))
}

fn io_error(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> GeneratedFile {
        GeneratedFile {
            path: path.into(),
            text: format!("{HEADER_PREFIX}0.0.0. Do not edit.\n{text}"),
        }
    }

    #[test]
    fn what_was_written_agrees_and_what_changed_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let files = [file("mod.rs", "a"), file("google/rpc.rs", "b")];
        let missing = check(dir.path(), &files).unwrap();
        assert_eq!(missing.len(), 2);
        assert_eq!(missing[0].to_string(), "google/rpc.rs: missing");

        write(dir.path(), &files).unwrap();
        assert_eq!(check(dir.path(), &files).unwrap(), []);

        fs::write(dir.path().join("mod.rs"), "edited").unwrap();
        let changed = check(dir.path(), &files).unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].kind, DifferenceKind::Changed);
    }

    #[test]
    fn stale_files_go_and_other_peoples_stay() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[file("mod.rs", "a"), file("old.rs", "b")]).unwrap();
        fs::write(dir.path().join("mine.rs"), "// by hand\n").unwrap();

        let now = [file("mod.rs", "a")];
        let stale = check(dir.path(), &now).unwrap();
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].kind, DifferenceKind::Stale);
        write(dir.path(), &now).unwrap();
        assert!(!dir.path().join("old.rs").exists());
        assert!(dir.path().join("mine.rs").exists());
    }

    #[test]
    fn a_file_that_is_right_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = [file("mod.rs", "a")];
        write(dir.path(), &files).unwrap();
        let path = dir.path().join("mod.rs");
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        write(dir.path(), &files).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    }
}
