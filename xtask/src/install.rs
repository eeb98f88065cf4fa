//! Installing what other languages need: once for each version, into folders of our own.
//!
//! What is installed, and where, its users say: [`crate::interop`] and [`crate::bench`].

use std::path::Path;
use std::process::Command;

use crate::exec::{self, Result};

const PROTOC_GEN_GO: &str = "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12";
const PROTOC_GEN_GO_GRPC: &str = "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2";

/// The command `go`.
pub(crate) fn go() -> Result<Command> {
    let go = exec::find("go").ok_or("go is needed on the search path: https://go.dev/dl")?;
    Ok(Command::new(go))
}

/// Installs `path/name@version` into the folder `bin`.
pub(crate) fn go_install(bin: &Path, package: &str) -> Result {
    let path = package.split('@').next().unwrap_or(package);
    let name = path.rsplit('/').next().unwrap_or(path);
    exec::once(&bin.join(format!(".{name}")), package, || {
        exec::run(go()?.env("GOBIN", bin).args(["install", package]))
    })
}

/// The plugins with which protoc generates Go.
pub(crate) fn go_generators(bin: &Path) -> Result {
    go_install(bin, PROTOC_GEN_GO)?;
    go_install(bin, PROTOC_GEN_GO_GRPC)
}

/// Copies a folder with all that is in it; what was there is removed.
pub(crate) fn copy_anew(from: &Path, to: &Path) -> Result {
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(|error| cannot("remove", to, &error))?;
    }
    copy(from, to)
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result {
    create(to)?;
    let entries = std::fs::read_dir(from).map_err(|error| cannot("read", from, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| cannot("read", from, &error))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(|error| cannot("copy", &path, &error))?;
        }
    }
    Ok(())
}

/// Creates a folder and those above it.
pub(crate) fn create(folder: &Path) -> Result {
    std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}

/// A flag with a path behind it, as one word.
pub(crate) fn with_path(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(flag);
    word.push(path);
    word
}

/// The search path with `folder` in front.
pub(crate) fn path_with(folder: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).map_err(|error| format!("bad search path: {error}"))
}
