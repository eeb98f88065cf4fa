//! Where proto files are: what a path is called in imports, and what a name reads.
//!
//! What was read is kept, to show lines of it, and to tell which files to watch.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::{Diagnostic, Error};

/// The folders to look in, and what was found there.
#[derive(Debug)]
pub(crate) struct Search {
    includes: Vec<PathBuf>,
    found: BTreeMap<String, Found>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Its text, where it is text.
    pub(crate) text: Option<String>,
}

impl Search {
    /// Looks in `includes`, in their order.
    pub(crate) fn new(includes: Vec<PathBuf>) -> Result<Self, Error> {
        if let Some(missing) = includes.iter().find(|include| !include.is_dir()) {
            return Err(Diagnostic::new(format!("{} is not a folder", missing.display()))
                .help("the folders to look for proto files in must exist")
                .into());
        }
        Ok(Self { includes, found: BTreeMap::new() })
    }

    /// The name in imports of `file`: a path below one of the folders, or relative to one.
    pub(crate) fn name_of(&self, file: &Path) -> Result<String, Error> {
        let below = self.includes.iter().find_map(|include| name(below(file, include)?));
        if let Some(name) = below {
            // Found, perhaps, in a folder that is looked in before.
            return match self.path_of(&name) {
                Some(path) if !same(&path, file) => Err(shadowed(file, &name, &path).into()),
                Some(_) => Ok(name),
                None => Err(self.not_found(file).into()),
            };
        }
        match name(file).filter(|name| self.path_of(name).is_some()) {
            Some(name) => Ok(name),
            None => Err(self.not_found(file).into()),
        }
    }

    fn path_of(&self, name: &str) -> Option<PathBuf> {
        self.includes.iter().map(|include| include.join(name)).find(|path| path.is_file())
    }

    /// The bytes of the file called `name`, or `None` if no folder has it.
    pub(crate) fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.path_of(name) else { return Ok(None) };
        let bytes = fs::read(&path)?;
        let text = std::str::from_utf8(&bytes).ok().map(str::to_owned);
        self.found.insert(name.to_owned(), Found { path, text });
        Ok(Some(bytes))
    }

    /// What was read by the name of `name`.
    pub(crate) fn found(&self, name: &str) -> Option<&Found> {
        self.found.get(name)
    }

    /// Where every file was read from, by its name.
    pub(crate) fn into_paths(self) -> BTreeMap<String, PathBuf> {
        self.found.into_iter().map(|(name, found)| (name, found.path)).collect()
    }

    /// The folders, as one writes them.
    pub(crate) fn list(&self) -> String {
        let includes = self.includes.iter().map(|path| path.display().to_string());
        includes.collect::<Vec<_>>().join(", ")
    }

    fn not_found(&self, file: &Path) -> Diagnostic {
        let shown = file.display();
        let list = self.list();
        if !file.exists() {
            return Diagnostic::new(format!("{shown}: file not found"))
                .help(format!("looked in {list}"));
        }
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        Diagnostic::new(format!("{shown}: not below any of the include folders, {list}"))
            .help(format!("add {} to them", parent.display()))
    }
}

fn shadowed(file: &Path, name: &str, path: &Path) -> Diagnostic {
    let (file, path) = (file.display(), path.display());
    Diagnostic::new(format!("{file}: {name} is {path} in imports"))
        .help("that folder is looked in before: change their order, or name that file")
}

/// What is left of `path` behind `folder`, if it is below it.
fn below<'p>(path: &'p Path, folder: &Path) -> Option<&'p Path> {
    let mut parts = path.components();
    for wanted in plain(folder) {
        let mut part = parts.next();
        while part == Some(Component::CurDir) {
            part = parts.next();
        }
        if part != Some(wanted) {
            return None;
        }
    }
    Some(parts.as_path())
}

fn same(left: &Path, right: &Path) -> bool {
    plain(left).eq(plain(right))
}

/// The parts of a path but for the dots that mean nothing.
fn plain(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

/// A path as imports write it.
fn name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A path without the `./` that an include folder of `.` puts before it.
pub(crate) fn display(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_is_left_behind_a_folder() {
        for (path, folder, expected) in [
            ("proto/a/b.proto", "proto", Some("a/b.proto")),
            ("./proto/b.proto", "proto", Some("b.proto")),
            ("b.proto", ".", Some("b.proto")),
            ("/abs/b.proto", "/abs/", Some("b.proto")),
            ("other/b.proto", "proto", None),
            ("proto", "proto", None),
        ] {
            let found = below(Path::new(path), Path::new(folder)).and_then(name);
            assert_eq!(found.as_deref(), expected, "{path} below {folder}");
        }
        assert_eq!(name(Path::new("../b.proto")), None);
    }
}
