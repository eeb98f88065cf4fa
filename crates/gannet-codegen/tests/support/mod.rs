//! Compiles generated code for real: writes a crate around it and has cargo check, lint and
//! document it. Shared by the compile test and by the corpus example.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate that has nothing but generated modules in it.
pub(crate) struct Project {
    dir: PathBuf,
    target: PathBuf,
}

impl Project {
    /// Starts a crate in `dir`, which is emptied. Its dependencies are built in `target`, which
    /// crates can share.
    pub(crate) fn new(dir: &Path, target: &Path) -> Self {
        let facade = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gannet");
        if dir.exists() {
            fs::remove_dir_all(dir).expect("the folder can be emptied");
        }
        fs::create_dir_all(dir.join("src")).expect("the folder can be created");
        let manifest = format!(
            "[package]\nname = \"generated\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [workspace]\n\n[dependencies]\n\
             gannet = {{ path = {:?}, features = [\"descriptor\"] }}\n\n\
             [lints.rust]\nwarnings = \"deny\"\nmissing_docs = \"warn\"\n\
             unreachable_pub = \"warn\"\n\
             unused_qualifications = \"warn\"\nmissing_debug_implementations = \"warn\"\n\
             rust_2018_idioms = {{ level = \"warn\", priority = -1 }}\nunsafe_code = \"forbid\"\n",
            facade
        );
        fs::write(dir.join("Cargo.toml"), manifest).expect("the manifest can be written");
        // The same versions as the workspace's, which are there already.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        fs::copy(lock, dir.join("Cargo.lock")).expect("the lock file can be copied");
        Self { dir: dir.to_owned(), target: target.to_owned() }
    }

    /// The folder of the crate's sources.
    pub(crate) fn src(&self) -> PathBuf {
        self.dir.join("src")
    }

    /// Writes the crate's root.
    pub(crate) fn root(&self, text: &str) {
        fs::write(self.src().join("lib.rs"), text).expect("the root can be written");
    }

    /// Runs cargo in the crate; its output if it fails.
    pub(crate) fn cargo(&self, arguments: &[impl AsRef<OsStr>]) -> Result<(), String> {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.dir)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTDOCFLAGS", "-D warnings")
            // Whatever runs this test may have set these for itself.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CLIPPY_ARGS")
            .output()
            .map_err(|error| format!("cargo does not run: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
