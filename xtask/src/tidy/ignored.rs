//! Rust files that git ignores: they compile here and are missing from everybody else's clone.

use std::path::{Path, PathBuf};

use super::{Finding, source};
use crate::exec::Result;

/// A finding for every Rust file that `.gitignore` hides, but for those that builds put there.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for path in source::listed(root, &["--others", "--ignored", "--directory"])? {
        rust_files(&root.join(&path), &mut found)
            .map_err(|error| format!("cannot look through {path}, which git ignores: {error}"))?;
    }
    let finding = |file: PathBuf| {
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let advice = "git ignores this file, so no clone has it: mend .gitignore or rename it";
        Finding::new(&path, 1, "ignored", advice)
    };
    Ok(found.into_iter().map(finding).collect())
}

/// The Rust files at and below `path`; not in folders marked as caches, as cargo marks its own.
fn rust_files(path: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_symlink() {
        return Ok(());
    }
    if path.is_dir() {
        if path.join("CACHEDIR.TAG").exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(path)? {
            rust_files(&entry?.path(), found)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_path_buf());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::exec;

    #[test]
    fn a_source_that_git_ignores_is_found_and_what_cargo_built_is_not() {
        let root = tempfile::tempdir().unwrap();
        let git = exec::output(Command::new("git").current_dir(&root).args(["init", "-q"]));
        git.unwrap();
        for (path, text) in [
            (".gitignore", "target\nnotes/\n"),
            ("src/lib.rs", "mod target;\n"),
            ("src/target/tests.rs", ""),
            ("notes/plan.md", ""),
            ("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
            ("target/debug/build/made.rs", ""),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let findings = check(root.path()).unwrap();
        let files: Vec<_> = findings.iter().map(|finding| finding.file.as_str()).collect();
        assert_eq!(files, ["src/target/tests.rs"]);
        assert!(findings[0].fatal);
    }
}
