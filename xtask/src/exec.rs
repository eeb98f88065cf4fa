//! Running other programs: where the workspace is, and commands that fail loudly.
//!
//! Nothing here knows what is run; time limits and background servers are in
//! [`crate::interop`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A task's outcome; the error is a sentence for the person at the terminal.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // `cargo run` says it again at run time: two checkouts may share one build of this program.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Where cargo builds, and where tools are installed.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    root().join(target)
}

/// `cargo` of the toolchain that runs this program, in the workspace's root.
pub(crate) fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(args);
    command
}

/// Runs `command` with this terminal's output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result {
    let shown = show(command);
    let status = command.status().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// Runs `command` and returns what it printed; a failure's error carries its error output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let out = command.output().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        let stdout = String::from_utf8_lossy(&out.stdout);
        return Err(format!("`{shown}` failed: {}\n{stdout}{stderr}", out.status));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Does `work` unless `marker` says that it was done for this `version`.
pub(crate) fn once(marker: &Path, version: &str, work: impl FnOnce() -> Result) -> Result {
    if std::fs::read_to_string(marker).is_ok_and(|done| done == version) {
        return Ok(());
    }
    println!("installing {version}");
    work()?;
    std::fs::write(marker, version)
        .map_err(|error| format!("cannot write {}: {error}", marker.display()))
}

/// Makes a virtual environment of Python's with these packages, unless it is there; returns the
/// folder of its programs.
pub(crate) fn python_packages(venv: &Path, packages: &[&str]) -> Result<PathBuf> {
    let programs = venv.join("bin");
    once(&venv.join(".installed"), &packages.join(" "), || {
        let interpreter = find("python3").ok_or("python3 is needed on the search path")?;
        run(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(venv))?;
        let mut install = Command::new(programs.join("python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(install.args(packages))
    })?;
    Ok(programs)
}

/// Where `program` is on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Installs the Debian packages of the programs that are missing, each given as (program, package).
pub(crate) fn debian(programs: &[(&str, &str)]) -> Result {
    let missing = programs.iter().filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() { Ok(()) } else { debian_install(&packages) }
}

/// Installs Debian packages.
pub(crate) fn debian_install(packages: &[&str]) -> Result {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    let apt = find("apt-get").ok_or(format!("missing; on Debian: {by_hand}"))?;
    let apt_get = |words: &[&str]| {
        let mut command = Command::new(&apt);
        run(command.env("DEBIAN_FRONTEND", "noninteractive").args(words))
    };
    // A new machine has no lists of packages, or old ones.
    apt_get(&["update", "--quiet"])?;
    apt_get(&[&["install", "--yes", "--quiet"], packages].concat())
        .map_err(|error| format!("{error}; try: {by_hand}"))
}

/// `command` as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// What a test takes for a program.
#[cfg(test)]
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_carries_the_command_and_its_error_output() {
        let error = output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(error.contains("sh -c") && error.contains("broken"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(run(&mut Command::new("no-such-program-anywhere")).is_err());
        assert_eq!(find("no-such-program-anywhere"), None);
        assert!(find("sh").is_some());
    }

    #[test]
    fn work_is_done_once_for_a_version() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("marker");
        assert!(once(&marker, "1", || Err("no".into())).is_err());
        assert!(once(&marker, "1", || Ok(())).is_ok());
        assert!(once(&marker, "1", || Err("again".into())).is_ok());
        assert!(once(&marker, "2", || Err("new version".into())).is_err());
    }
}
