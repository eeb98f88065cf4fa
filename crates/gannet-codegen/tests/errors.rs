//! Mistakes in proto files, and what is said about them: file, line, column, the line, what to do.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;

use gannet_codegen::{Error, Options, Source, generate};

/// Writes `files` to a folder, compiles and generates the first one, and returns the error with
/// the folder's path taken out.
fn error(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let source = Source::new().include(dir.path()).file(files[0].0);
    without(dir.path(), &compile_and_generate(&source).unwrap_err())
}

fn compile_and_generate(source: &Source) -> Result<(), Error> {
    source.compile()?.generate(&Options::new()).map(drop)
}

fn without(dir: &Path, error: &Error) -> String {
    error
        .to_string()
        .replace(&format!("{}/", dir.display()), "")
        .replace(&dir.display().to_string(), "DIR")
}

#[test]
fn syntax() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\n\nmessage M {\n  string = 1;\n}\n"
    )]));
}

#[test]
fn several_at_once() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\nmessage M {\n  string a = 0;\n  string b = 99999999999;\n}\n"
    )]));
}

#[test]
fn a_type_that_is_not_there() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\npackage p;\nservice S {\n\trpc Get(Mesage) returns (Message);\n}\n\
         message Message {}\n"
    )]));
}

#[test]
fn a_number_used_twice() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\nmessage M {\n  string a = 1;\n  string b = 1;\n}\n"
    )]));
}

#[test]
fn a_missing_import() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\nimport \"other/missing.proto\";\n"
    )]));
}

#[test]
fn a_mistake_in_an_import() {
    insta::assert_snapshot!(error(&[
        ("good.proto", "syntax = \"proto3\";\nimport \"bad.proto\";\n"),
        ("bad.proto", "syntax = \"proto3\";\n\nmessage {}\n"),
    ]));
}

#[test]
fn imports_in_a_circle() {
    insta::assert_snapshot!(error(&[
        ("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";\n"),
        ("b.proto", "syntax = \"proto3\";\n\n  import public \"a.proto\";\n"),
    ]));
}

#[test]
fn an_edition_that_is_not_known() {
    insta::assert_snapshot!(error(&[("new.proto", "// New.\nedition = \"2099\";\n")]));
}

#[test]
fn a_place_that_is_found_when_generating_behind_tabs() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\npackage p;\nmessage Outer {\n\t/* ä */\tmessage Self {}\n}\n"
    )]));
}

#[test]
fn a_file_that_another_folder_hides() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a.proto"), "syntax = \"proto3\";").unwrap();
    }
    let source = Source::new().include(&one).include(&two).file(two.join("a.proto"));
    let error = compile_and_generate(&source).unwrap_err();
    insta::assert_snapshot!(without(dir.path(), &error));
}

#[test]
fn a_type_named_as_a_keyword() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\npackage p;\nmessage Outer {\n  message Self {}\n}\n\
         enum match { A = 0; }\n"
    )]));
}

#[test]
fn types_that_meet_in_one_module() {
    insta::assert_snapshot!(error(&[(
        "bad.proto",
        "syntax = \"proto3\";\npackage p;\nmessage HTTPThing {}\nmessage HttpThing {}\n"
    )]));
}

#[test]
fn a_file_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new().include(dir.path()).file("missing.proto");
    let error = compile_and_generate(&source).unwrap_err();
    insta::assert_snapshot!(without(dir.path(), &error));
}

#[test]
fn a_file_outside_of_the_folders() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    fs::write(dir.path().join("out.proto"), "syntax = \"proto3\";").unwrap();
    let source = Source::new().include(dir.path().join("in")).file(dir.path().join("out.proto"));
    let error = compile_and_generate(&source).unwrap_err();
    insta::assert_snapshot!(without(dir.path(), &error));
}

#[test]
fn a_folder_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new().include(dir.path().join("nowhere")).file("a.proto");
    let error = compile_and_generate(&source).unwrap_err();
    insta::assert_snapshot!(without(dir.path(), &error));
}

#[test]
fn a_descriptor_set_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.binpb");
    fs::write(&path, b"\xff\xff\xff").unwrap();
    let error = compile_and_generate(&Source::new().descriptor_set(&path)).unwrap_err();
    assert!(error.to_string().contains("set.binpb: not a FileDescriptorSet"), "{error}");
}

#[test]
fn positions_are_data_as_well() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.proto"), "syntax = \"proto3\";\nmessage {}\n").unwrap();
    let error = Source::new().include(dir.path()).file("bad.proto").compile().unwrap_err();
    let position = error.diagnostics()[0].position.as_ref().unwrap();
    assert_eq!((position.line, position.column), (2, 9));
    assert_eq!(position.text.as_deref(), Some("message {}"));
}

#[test]
fn a_descriptor_set_without_its_imports() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.proto"), "syntax = \"proto3\"; import \"b.proto\";").unwrap();
    fs::write(dir.path().join("b.proto"), "syntax = \"proto3\";").unwrap();
    let compiled = Source::new().include(dir.path()).file("a.proto").compile().unwrap();
    let mut set = compiled.descriptors;
    set.file.retain(|file| file.name.as_deref() == Some("a.proto"));
    insta::assert_snapshot!(generate(&set, &Options::new()).unwrap_err());
}
