//! Files with mistakes, one or several each, and what is said about them. protoc refuses each of
//! them, too: `cargo xtask corpus` asks it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gannet_proto::{Diagnostic, Place};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rejected")
}

/// The line, with the part of it that is meant between marks.
fn shown(place: &Place, text: &str) -> String {
    let start = text.floor_char_boundary(place.bytes.start);
    let end = text.floor_char_boundary(place.bytes.end);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line = text[..start].matches('\n').count() + 1;
    let end = end.clamp(start, line_end);
    format!("{line}: {}«{}»{}", &text[line_start..start], &text[start..end], &text[end..line_end])
}

fn report(diagnostic: &Diagnostic, text: &str, out: &mut String) {
    writeln!(out, "  {}\n    {}", diagnostic.message, shown(&diagnostic.place, text)).unwrap();
    for (what, place) in &diagnostic.related {
        let shown =
            if place.file.starts_with("google/") { place.file.clone() } else { shown(place, text) };
        writeln!(out, "    {what}: {shown}").unwrap();
    }
    if let Some(help) = &diagnostic.help {
        writeln!(out, "    help: {help}").unwrap();
    }
}

#[test]
fn each_file_is_refused_with_its_reasons() {
    let entries = fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 100);
    let mut out = String::new();
    for name in names {
        let text = fs::read_to_string(folder().join(&name)).unwrap();
        let mut read = |wanted: &str| Ok((wanted == name).then(|| text.clone().into_bytes()));
        let failure = gannet_proto::compile(&[&name], &mut read).unwrap_err();
        writeln!(out, "{name}").unwrap();
        for diagnostic in failure.diagnostics() {
            assert!(diagnostic.place.bytes.end <= text.len(), "{diagnostic}");
            report(diagnostic, &text, &mut out);
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut read = |_: &str| Ok(Some(b"syntax = \"proto3\"; // \xff".to_vec()));
    let failure = gannet_proto::compile(&["a.proto"], &mut read).unwrap_err();
    assert_eq!(failure.to_string(), "a.proto:22..23: error: the file is not UTF-8");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused_or_not_but_no_panic() {
    let text = fs::read(folder().join("../accepted/everything.proto")).unwrap();
    for end in 0..text.len() {
        let mut read = |name: &str| Ok((name == "a.proto").then(|| text[..end].to_vec()));
        let _ = gannet_proto::compile(&["a.proto"], &mut read);
    }
}

#[test]
fn as_many_mistakes_are_told_as_are_useful() {
    let text = format!("syntax = \"proto3\";\n{}", "message 1 {}\n".repeat(1000));
    let mut read = |_: &str| Ok(Some(text.clone().into_bytes()));
    let failure = gannet_proto::compile(&["a.proto"], &mut read).unwrap_err();
    assert_eq!(failure.diagnostics().len(), 100);
}

#[test]
fn deep_values_and_long_chains_of_imports_end_in_an_error_or_not_but_end() {
    let open = "a {".repeat(100_000);
    let close = "}".repeat(100_000);
    let text = format!(
        "syntax = \"proto3\";\nimport \"google/protobuf/descriptor.proto\";\n\
         message A {{ A a = 1; }}\nextend google.protobuf.FileOptions {{ A a = 50000; }}\n\
         option (a) = {{ {open} {close} }};\n"
    );
    let mut read = |name: &str| Ok((name == "a.proto").then(|| text.clone().into_bytes()));
    let failure = gannet_proto::compile(&["a.proto"], &mut read).unwrap_err();
    assert!(failure.to_string().contains("100 deep at most"), "{failure}");

    let text = text
        .replace(&format!("= {{ {open} {close} }}"), &format!("{}= {{}}", ".a".repeat(100_000)));
    let mut read = |name: &str| Ok((name == "a.proto").then(|| text.clone().into_bytes()));
    let failure = gannet_proto::compile(&["a.proto"], &mut read).unwrap_err();
    assert!(failure.to_string().contains("100 parts at most"), "{failure}");

    let mut read = |name: &str| {
        let Ok(number) = name.parse::<u32>() else { return Ok(None) };
        let import =
            if number < 20_000 { format!("import \"{}\";", number + 1) } else { String::new() };
        Ok(Some(format!("syntax = \"proto3\"; {import}").into_bytes()))
    };
    let compiled = gannet_proto::compile(&["0"], &mut read).unwrap();
    assert_eq!(compiled.files.len(), 20_001);
}
