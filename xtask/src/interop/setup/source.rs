//! The source of Debian's package grpc, by the machine's own sources of packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Tools;
use super::official::write;
use crate::exec::{self, Result};
use crate::install::{create, with_path};

/// The version that is known to build as [`super::cpp`] does it.
pub(super) const VERSION: &str = "1.51.1";

/// What the official programs are generated from.
pub(super) const PROTOS: &[&str] = &[
    "src/proto/grpc/testing/empty.proto",
    "src/proto/grpc/testing/messages.proto",
    "src/proto/grpc/testing/test.proto",
];

/// The unpacked source.
pub(super) fn fetch(tools: &Tools) -> Result<PathBuf> {
    let home = tools.home.join("grpc-source");
    let source = home.join(format!("grpc-{VERSION}"));
    exec::once(&tools.home.join(".grpc-source"), &format!("grpc's source {VERSION}"), || {
        create(&home)?;
        let apt = apt(&home)?;
        exec::run(Command::new("apt-get").current_dir(&home).args(&apt).arg("update"))?;
        let mut download = Command::new("apt-get");
        download.current_dir(&home).args(&apt).args(["source", "--download-only", "grpc"]);
        exec::run(&mut download).map_err(|error| format!("{error}; {BY_HAND}"))?;
        let archive = format!("grpc_{VERSION}.orig.tar.gz");
        exec::run(Command::new("tar").current_dir(&home).args(["xzf", &archive]))
            .map_err(|error| format!("{error}; {BY_HAND}"))
    })?;
    Ok(source)
}

const BY_HAND: &str =
    "unpack grpc_1.51.1.orig.tar.gz of Debian 12 into target/interop/grpc-source by hand";

/// Options with which apt-get reads sources of packages, and nothing of the machine's is changed.
fn apt(home: &Path) -> Result<Vec<std::ffi::OsString>> {
    let (parts, lists, none) = (home.join("sources"), home.join("lists"), home.join("none"));
    create(&parts)?;
    create(&lists.join("partial"))?;
    write(&none, "")?;
    let etc = Path::new("/etc/apt");
    let mut found = vec![etc.join("sources.list")];
    let more = std::fs::read_dir(etc.join("sources.list.d"));
    found.extend(more.into_iter().flatten().flatten().map(|entry| entry.path()));
    for file in found {
        let (Some(name), Ok(text)) = (file.file_name(), std::fs::read_to_string(&file)) else {
            continue;
        };
        let text = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => of_sources(&text),
            Some("list") => of_source_lines(&text),
            _ => continue,
        };
        write(&parts.join(name), text)?;
    }
    Ok(vec![
        with_path("-oDir::Etc::sourcelist=", &none),
        with_path("-oDir::Etc::sourceparts=", &parts),
        with_path("-oDir::State::lists=", &lists),
    ])
}

/// A file of stanzas (deb822), for sources in place of binaries.
fn of_sources(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("Types:") {
        Some(types) if types.split_whitespace().any(|kind| kind == "deb") => {
            "Types: deb-src\n".to_string()
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A file of lines, for sources in place of binaries.
fn of_source_lines(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("deb "));
    lines.map(|rest| format!("deb-src {rest}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_the_place_of_binaries() {
        let stanza = "Types: deb\nURIs: http://a.invalid/debian\nSuites: b\n";
        let expected = "Types: deb-src\nURIs: http://a.invalid/debian\nSuites: b\n";
        assert_eq!(of_sources(stanza), expected);
        assert_eq!(of_sources("Types: deb deb-src\n"), "Types: deb-src\n");
        let lines =
            "# a comment\ndeb [x=y] http://a.invalid b main\ndeb-src http://c.invalid d e\n";
        assert_eq!(of_source_lines(lines), "deb-src [x=y] http://a.invalid b main\n");
    }
}
