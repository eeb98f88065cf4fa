//! Rules on manifests: which crate may know which, lints for all, a reason for each dependency.
//!
//! The map below is the one of DESIGN.md and ARCHITECTURE.md; a new crate is entered here first.

use std::path::Path;

use toml::{Table, Value};

use super::Finding;
use super::source::Source;
use crate::exec::Result;

/// Where one crate stands.
struct Place {
    name: &'static str,
    /// Crates of this workspace that it may depend on.
    may_know: &'static [&'static str],
    /// Does no I/O: none of [`IO_CRATES`], not in its tests either.
    sans_io: bool,
}

const fn place(name: &'static str, may_know: &'static [&'static str]) -> Place {
    Place { name, may_know, sans_io: false }
}

const RUNTIME: &[&str] = &["gannet-core", "gannet-http2", "gannet-transport"];
const FACADE: &[&str] = &["gannet", "gannet-build", "gannet-otel", "gannet-testing"];

const MAP: &[Place] = &[
    Place { name: "gannet-http2", may_know: &[], sans_io: true },
    Place { name: "gannet-core", may_know: &[], sans_io: true },
    place("gannet-transport", &["gannet-core", "gannet-http2"]),
    place("gannet-server", RUNTIME),
    place("gannet-client", RUNTIME),
    place("gannet-auth", &["gannet-core", "gannet-transport", "gannet-server", "gannet-client"]),
    place("gannet-tracing", &["gannet-core", "gannet-transport"]),
    place(
        "gannet",
        &[
            "gannet-core",
            "gannet-http2",
            "gannet-transport",
            "gannet-server",
            "gannet-client",
            "gannet-auth",
            "gannet-services",
            "gannet-web",
            "gannet-otel",
            "gannet-xds",
        ],
    ),
    Place { name: "gannet-proto", may_know: &[], sans_io: true },
    place("gannet-codegen", &["gannet-proto"]),
    place("gannet-build", &["gannet-codegen"]),
    place("gannet-cli", &["gannet-codegen"]),
    place(
        "gannet-services",
        &["gannet", "gannet-build", "gannet-core", "gannet-server", "gannet-transport"],
    ),
    place("gannet-web", &["gannet-core", "gannet-server", "gannet-transport"]),
    place("gannet-otel", &["gannet-core", "gannet-transport"]),
    place("gannet-xds", &["gannet", "gannet-build", "gannet-core", "gannet-client"]),
    place(
        "gannet-testing",
        &[
            "gannet",
            "gannet-core",
            "gannet-http2",
            "gannet-transport",
            "gannet-server",
            "gannet-client",
        ],
    ),
    place(
        "gannet-interop",
        &[
            "gannet",
            "gannet-build",
            "gannet-load",
            "gannet-otel",
            "gannet-testing",
            "gannet-tracing",
        ],
    ),
    place("gannet-load", &[]),
];

/// Crates that do or need I/O, time or chance, or are another HTTP/2: none in sans-IO crates.
const IO_CRATES: &[&str] =
    &["tokio", "mio", "socket2", "rand", "fastrand", "getrandom", "h2", "hyper", "async-std"];
/// Only these crates may carry the weight of these families of dependencies.
const HEAVY: &[(&str, &str)] = &[("opentelemetry", "gannet-otel"), ("xds", "gannet-xds")];

/// Applies every rule of this module.
pub(super) fn check(root: &Path, files: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_member(&file.path)) {
        let table: Table = file.text.parse().map_err(|error| format!("{}: {error}", file.path))?;
        findings.extend(inherits_lints(file, &table));
        findings.extend(directions(file, &table));
    }
    let design = std::fs::read_to_string(root.join("DESIGN.md")).unwrap_or_default();
    for file in files.iter().filter(|file| file.path == "Cargo.toml") {
        findings.extend(reasons(file, &design)?);
    }
    Ok(findings)
}

/// Manifests of the workspace's members; `bench` and `fuzz` are workspaces of their own, and what
/// is under `tests/` is test data.
fn is_member(path: &str) -> bool {
    let outside = ["bench/", "fuzz/"].iter().any(|folder| path.starts_with(folder));
    let outside = outside || path.contains("/tests/");
    path.ends_with("/Cargo.toml") && !outside
}

fn inherits_lints(file: &Source, table: &Table) -> Option<Finding> {
    let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
    let inherits = lints.and_then(Value::as_bool) == Some(true);
    let advice = "add `[lints]` with `workspace = true`";
    (!inherits).then(|| Finding::new(&file.path, 1, "lints", advice))
}

fn directions(file: &Source, table: &Table) -> Vec<Finding> {
    let name = table.get("package").and_then(|package| package.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or_default();
    if name == "xtask" {
        return Vec::new();
    }
    let example;
    let place = match MAP.iter().find(|place| place.name == name) {
        Some(place) => place,
        None if file.path.starts_with("examples/") => {
            example = place("example", FACADE);
            &example
        }
        None => {
            let advice = format!("`{name}` has no place in the map of xtask/src/tidy/crates.rs");
            return vec![Finding::new(&file.path, 1, "crate-map", advice)];
        }
    };
    let mut findings = Vec::new();
    for (kind, dependency) in dependencies(table) {
        if let Some(advice) = objection(name, place, kind, &dependency) {
            let line = line_of(&file.text, &dependency);
            findings.push(Finding::new(&file.path, line, "crate-map", advice));
        }
    }
    findings
}

/// Every dependency of a manifest with the name of its table, those of targets included.
fn dependencies(table: &Table) -> Vec<(&'static str, String)> {
    let targets = table.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table());
    let mut found = Vec::new();
    for table in std::iter::once(table).chain(tables) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(listed) = table.get(kind).and_then(Value::as_table) else { continue };
            found.extend(listed.iter().map(|(key, value)| (kind, real_name(key, value))));
        }
    }
    found
}

/// The package behind a dependency that may be renamed.
fn real_name(key: &str, value: &Value) -> String {
    value.get("package").and_then(Value::as_str).unwrap_or(key).to_string()
}

/// Why `place` must not have this dependency, if so.
fn objection(name: &str, place: &Place, kind: &str, dependency: &str) -> Option<String> {
    let ours = dependency == "gannet" || dependency.starts_with("gannet-");
    // Tests may look at the whole from outside; only what is shipped has a direction.
    if ours && kind != "dev-dependencies" && !place.may_know.contains(&dependency) {
        let allowed = if place.may_know.is_empty() {
            "no other crate of the workspace".to_string()
        } else {
            place.may_know.join(", ")
        };
        return Some(format!("must not depend on `{dependency}`; may know: {allowed}"));
    }
    let family = |of: &str| dependency == of || dependency.starts_with(&format!("{of}-"));
    if place.sans_io && IO_CRATES.iter().any(|io| family(io)) {
        return Some(format!("sans-IO: must not depend on `{dependency}`, not in tests either"));
    }
    let heavy = HEAVY.iter().find(|(prefix, home)| family(prefix) && *home != name);
    heavy.map(|(_, home)| format!("`{dependency}` is heavy: it belongs in `{home}` alone"))
}

/// Each external dependency of the workspace has its line in DESIGN.md.
fn reasons(file: &Source, design: &str) -> Result<Vec<Finding>> {
    let table: Table = file.text.parse().map_err(|error| format!("Cargo.toml: {error}"))?;
    let listed = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let listed = listed.and_then(Value::as_table).cloned().unwrap_or_default();
    let explained = explained(design);
    let external = listed.iter().filter(|(_, value)| value.get("path").is_none());
    let missing = external.filter(|(name, _)| !explained.contains(&name.as_str()));
    Ok(missing
        .map(|(name, _)| {
            let advice = format!(
                "DESIGN.md, section \"Dependencies\", must say why: a table row or list item \
                 starting with `{name}`"
            );
            Finding::new(&file.path, line_of(&file.text, name), "dependency-reason", advice)
        })
        .collect())
}

/// Names that open a table row or list item of the section "Dependencies".
fn explained(design: &str) -> Vec<&str> {
    let is_heading = |line: &&str| line.starts_with('#') && line.contains("Dependencies");
    let section = design.lines().skip_while(|line| !is_heading(line)).skip(1);
    let section = section.take_while(|line| !line.starts_with("## ") && !line.starts_with("# "));
    let mut names = Vec::new();
    for line in section {
        let Some(rest) = line.trim_start().strip_prefix(['|', '-', '*']) else { continue };
        // A row may explain several that belong together: `prost`, `prost-types`.
        let first = rest.split(['|', ':']).next().unwrap_or_default();
        names.extend(first.split('`').skip(1).step_by(2));
    }
    names
}

/// The line that names `dependency`, from 1.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let names = |line: &str| {
        let rest = line.trim_start().strip_prefix(dependency);
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    manifest.lines().position(names).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn advice(path: &str, manifest: &str) -> Vec<String> {
        let file = Source::new(path, manifest);
        let findings = check(Path::new("no such folder"), &[file]).unwrap();
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.advice))
            .collect()
    }

    fn member(name: &str, rest: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{LINTS}{rest}");
        advice(&format!("crates/{name}/Cargo.toml"), &manifest)
    }

    #[test]
    fn directions_follow_the_map() {
        let ok = "[dependencies]\ngannet-core.workspace = true\nbytes.workspace = true\n";
        assert!(member("gannet-transport", ok).is_empty());
        let found = member("gannet-http2", ok);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("6: must not depend on `gannet-core`"), "{found:?}");
        assert_eq!(member("gannet-server", "[dependencies]\ngannet-client.path = \"x\"").len(), 1);
        let target = "[target.'cfg(unix)'.dependencies]\ngannet-client = \"1\"";
        assert_eq!(member("gannet-server", target).len(), 1);
        let renamed = "[dependencies]\nc = { package = \"gannet-client\", version = \"1\" }";
        assert_eq!(member("gannet-server", renamed).len(), 1);
        let test = "[dev-dependencies]\ngannet.workspace = true";
        assert!(member("gannet-codegen", test).is_empty());
    }

    #[test]
    fn sans_io_crates_have_no_io_dependency_even_in_tests() {
        assert_eq!(member("gannet-core", "[dev-dependencies]\ntokio = \"1\"").len(), 1);
        assert_eq!(member("gannet-core", "[dependencies]\ntokio-util = \"1\"").len(), 1);
        assert_eq!(member("gannet-http2", "[dependencies]\nfastrand = \"1\"").len(), 1);
        assert!(member("gannet-client", "[dependencies]\nfastrand = \"1\"").is_empty());
    }

    #[test]
    fn heavy_families_stay_in_their_crate() {
        let otel = "[dependencies]\nopentelemetry-otlp = \"1\"";
        assert!(member("gannet-otel", otel).is_empty());
        assert_eq!(member("gannet-server", otel).len(), 1);
    }

    #[test]
    fn examples_see_the_facade_only_and_unknown_crates_are_refused() {
        let manifest = format!("[package]\nname = \"hi\"\n{LINTS}[dependencies]\n");
        let path = "examples/hi/Cargo.toml";
        assert!(advice(path, &format!("{manifest}gannet = \"1\"")).is_empty());
        assert_eq!(advice(path, &format!("{manifest}gannet-server = \"1\"")).len(), 1);
        assert_eq!(member("gannet-novel", "").len(), 1);
    }

    #[test]
    fn every_member_inherits_the_lints() {
        let found = advice("crates/gannet-core/Cargo.toml", "[package]\nname = \"gannet-core\"");
        assert_eq!(found, ["1: add `[lints]` with `workspace = true`"]);
        assert!(advice("bench/x/Cargo.toml", "[package]\nname = \"x\"").is_empty());
        let fixture = "crates/gannet-codegen/tests/data/Cargo.toml";
        assert!(advice(fixture, "[package]\nname = \"x\"").is_empty());
    }

    #[test]
    fn external_dependencies_need_a_reason() {
        let design = "# D\n## Dependencies\n| crate | why |\n| `bytes` | shared buffers |\n\
                      - `clap`, `toml`: tools\n## Next\n| `syn` | x |\n";
        assert_eq!(explained(design), ["bytes", "clap", "toml"]);
        let manifest = "[workspace.dependencies]\ngannet = { path = \"x\" }\nbytes = \"1\"\n\
                        syn = \"2\"\n";
        let findings = reasons(&Source::new("Cargo.toml", manifest), design).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].line, findings[0].rule), (4, "dependency-reason"));
    }
}
