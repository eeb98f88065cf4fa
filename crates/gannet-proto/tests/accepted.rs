//! Files that are right come out as protoc has them, byte for byte: names, options, places,
//! comments. What protoc 36.2 makes of them is in `accepted.binpb`:
//!
//! ```text
//! protoc --include_source_info --retain_options --descriptor_set_out=../accepted.binpb *.proto
//! ```
//!
//! `cargo xtask corpus` compares with protoc itself, these files and many more.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gannet_proto::Compiled;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accepted")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn compile(names: &[&str]) -> Compiled {
    let mut read = |name: &str| Ok(fs::read(folder().join(name)).ok());
    gannet_proto::compile(names, &mut read).unwrap_or_else(|failure| panic!("{failure}"))
}

/// The files of a set, by their names: a set is fields with number 1, each a file, whose first
/// field is its name.
fn split(mut set: &[u8]) -> BTreeMap<String, &[u8]> {
    fn bytes<'s>(rest: &mut &'s [u8]) -> &'s [u8] {
        assert_eq!(rest[0], 0x0a);
        let end = rest.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap() + 2;
        let digits = rest[1..end].iter().rev();
        let len = digits.fold(0, |len, digit| (len << 7) | usize::from(digit & 0x7f));
        let (found, tail) = rest[end..].split_at(len);
        *rest = tail;
        found
    }
    let mut files = BTreeMap::new();
    while !set.is_empty() {
        let file = bytes(&mut set);
        let name = String::from_utf8(bytes(&mut &file[..]).to_vec()).unwrap();
        files.insert(name, file);
    }
    files
}

#[test]
fn descriptors_are_protocs_byte_for_byte() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let compiled = compile(&names);
    let expected = fs::read(folder().join("../accepted.binpb")).unwrap();
    let expected = split(&expected);
    assert_eq!(expected.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    for (name, expected) in expected {
        let file = compiled.files.iter().find(|file| file.name == name).unwrap();
        if file.descriptor != expected {
            let same = file.descriptor.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let around = |bytes: &[u8]| {
                let part = &bytes[same.saturating_sub(40)..bytes.len().min(same + 40)];
                part.escape_ascii().to_string()
            };
            let (ours, theirs) = (around(&file.descriptor), around(expected));
            panic!("{name} differs from byte {same} on:\n  {ours}\n  {theirs}");
        }
    }
}

#[test]
fn a_set_has_each_file_after_what_it_imports_and_no_other() {
    let compiled = compile(&["options.proto", "three.proto", "edition2024.proto"]);
    let names: Vec<&str> = compiled.files.iter().map(|file| &file.name[..]).collect();
    let expected =
        ["google/protobuf/descriptor.proto", "options.proto", "three.proto", "edition2024.proto"];
    assert_eq!(names, expected);
    let set = compiled.descriptor_set();
    assert_eq!(split(&set).len(), 4);
    let names: Vec<String> =
        compile(&["three.proto"]).files.into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["three.proto"]);
}

#[test]
fn what_is_hardly_meant_is_told_of_the_files_that_were_asked_for() {
    let a = "syntax = \"proto3\";\nimport \"b.proto\";\nimport \"google/protobuf/empty.proto\";\n\
             message M { B b = 1; reserved \"a-b\"; }\nservice S { rpc M(M) returns (B); }\n";
    let b = "syntax = \"proto3\";\nimport \"google/protobuf/any.proto\";\nmessage B {}\n";
    let mut read = |name: &str| {
        let text = match name {
            "a.proto" => a,
            "b.proto" => b,
            _ => return Ok(None),
        };
        Ok(Some(text.as_bytes().to_vec()))
    };
    let compiled = gannet_proto::compile(&["a.proto"], &mut read).unwrap();
    let warnings: Vec<String> =
        compiled.warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(
        warnings,
        [
            "nothing of the import \"google/protobuf/empty.proto\" is used",
            "\"a-b\" cannot be a name, so it need not be reserved",
            "'M' is the name of something nearer, too, which others take it for",
        ]
    );
}

#[test]
fn declarations_of_ones_own_take_the_place_of_those_at_hand() {
    let descriptor = "syntax = \"proto2\";\npackage google.protobuf;\n\
                      message FileOptions { optional string mine = 1; }\n";
    let a = "syntax = \"proto3\";\noption mine = \"x\";\n";
    let mut read = |name: &str| {
        let text = match name {
            "a.proto" => a,
            "google/protobuf/descriptor.proto" => descriptor,
            _ => return Ok(None),
        };
        Ok(Some(text.as_bytes().to_vec()))
    };
    assert!(gannet_proto::compile(&["a.proto"], &mut read).is_ok());
}
