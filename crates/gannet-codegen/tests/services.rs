//! The text generated for services, as snapshots, and what it does not depend on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;

use gannet_codegen::{FileDescriptorSet, GeneratedFile, Layout, Options, Source, generate};

/// Compiles `files`, of name and text, all of which are asked for.
fn compile(files: &[(&str, &str)]) -> (FileDescriptorSet, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::new().include(dir.path());
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        source = source.file(name);
    }
    let compiled = source.compile().unwrap();
    (compiled.descriptors, compiled.files)
}

/// The text at `path`, without the version that wrote it.
fn text(files: &[GeneratedFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == Path::new(path)).unwrap();
    file.text.replace(env!("CARGO_PKG_VERSION"), "[version]")
}

const NOTES: &str = r#"
syntax = "proto3";
package notes.v1;
import "types.proto";

// Sends notes about; see [Note][notes.types.Note].
service Notes {
  // Takes one, gives one.
  rpc Echo(notes.types.Note) returns (notes.types.Note);
  // Takes many, gives one.
  rpc Collect(stream notes.types.Note) returns (notes.types.Summary);
  rpc List(notes.types.Summary) returns (stream notes.types.Note);
  // Takes and gives many.
  rpc Chat(stream notes.types.Note) returns (stream notes.types.Note) {
    option idempotency_level = IDEMPOTENT;
  }
  // Do not.
  rpc Type(notes.types.Note) returns (notes.types.Note) { option deprecated = true; }
}
"#;

const TYPES: &str = r#"
syntax = "proto3";
package notes.types;
message Note { string text = 1; }
message Summary { uint32 notes = 1; }
"#;

const FILES: &[(&str, &str)] = &[("notes.proto", NOTES), ("types.proto", TYPES)];

fn notes(options: &Options) -> String {
    let (set, _) = compile(FILES);
    text(&generate(&set, options).unwrap().files, "notes/v1.rs")
}

#[test]
fn all_kinds_of_methods() {
    insta::assert_snapshot!(notes(&Options::new()));
}

#[test]
fn without_a_server() {
    let mut options = Options::new();
    options.server = false;
    let text = notes(&options);
    assert!(text.contains("pub struct NotesClient"));
    assert!(text.contains("pub static NOTES"));
    assert!(!text.contains("pub trait") && !text.contains("NotesServer"));
}

#[test]
fn without_bodies_each_method_has_to_be_implemented() {
    let mut options = Options::new();
    options.default_methods = false;
    let text = notes(&options);
    let file = syn::parse_file(&text).unwrap();
    let notes = file.items.iter().find_map(|item| match item {
        syn::Item::Trait(item) if item.ident == "Notes" => Some(item),
        _ => None,
    });
    let methods = notes.unwrap().items.iter().map(|item| match item {
        syn::TraitItem::Fn(method) => method.default.is_none(),
        _ => false,
    });
    assert_eq!(methods.collect::<Vec<_>>(), [true; 5]);
    assert!(!text.contains("UNIMPLEMENTED") && !text.contains("is not implemented"));
}

#[test]
fn without_a_client() {
    let mut options = Options::new();
    options.client = false;
    let text = notes(&options);
    assert!(text.contains("pub trait Notes") && text.contains("pub struct NotesServer"));
    assert!(text.contains("pub static NOTES"));
    assert!(!text.contains("NotesClient"));
}

#[test]
fn types_mapped_to_other_code_are_not_generated() {
    let (set, files) = compile(&FILES[..1].iter().chain(&FILES[1..]).copied().collect::<Vec<_>>());
    let mut options = Options::new().extern_path("notes.types", "::my_types::notes");
    options.files = files.into_iter().filter(|file| file == "notes.proto").collect();
    let files = generate(&set, &options).unwrap().files;
    assert!(text(&files, "notes/v1.rs").contains("message: ::my_types::notes::Note"));
    assert!(!files.iter().any(|file| file.path.ends_with("types.rs")));
}

#[test]
fn the_example_in_full() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/grpctest/proto");
    let compiled = Source::new().include(proto).file("grpctest.proto").compile().unwrap();
    let files = generate(&compiled.descriptors, &Options::new()).unwrap().files;
    insta::assert_snapshot!("mod", text(&files, "mod.rs"));
    insta::assert_snapshot!("grpctest", text(&files, "grpctest.rs"));
}

#[test]
fn the_order_of_files_does_not_matter() {
    let more: &[(&str, &str)] = &[
        (
            "b.proto",
            "syntax = \"proto3\"; package p; message B {} service Two { rpc B(B) returns (B); }",
        ),
        (
            "a.proto",
            "syntax = \"proto3\"; package p; message A {} service One { rpc A(A) returns (A); }",
        ),
    ];
    let (set, mut names) = compile(more);
    let mut options = Options::new();
    options.files.clone_from(&names);
    let forwards = generate(&set, &options).unwrap();
    names.reverse();
    options.files = names;
    assert_eq!(generate(&set, &options).unwrap(), forwards);
    let twice = generate(&set, &options).unwrap();
    assert_eq!(twice, forwards);
}

#[test]
fn one_file_holds_the_same_items_as_a_tree() {
    let (set, _) = compile(FILES);
    let mut options = Options::new();
    options.layout = Layout::Single { file_name: "gannet.rs".to_owned() };
    let files = generate(&set, &options).unwrap().files;
    assert_eq!(files.len(), 1);
    let single = text(&files, "gannet.rs");
    for item in ["pub mod notes {", "pub mod v1 {", "pub trait Notes", "pub struct Summary"] {
        assert!(single.contains(item), "{item} in {single}");
    }
    // It may lie in a private module, as what is in `v1` may.
    assert!(single.contains("#[allow(unreachable_pub)]\npub mod notes {"), "{single}");
    syn::parse_file(&single).unwrap();
}

#[test]
fn the_descriptors_in_the_code_are_those_of_the_package_and_its_imports() {
    use buffa::Message as _;

    let (set, _) = compile(FILES);
    let files = generate(&set, &Options::new()).unwrap().files;
    let file = syn::parse_file(&text(&files, "notes/v1.rs")).unwrap();
    let bytes = file.items.iter().find_map(|item| match item {
        syn::Item::Const(item) if item.ident == "FILE_DESCRIPTOR_SET" => match &*item.expr {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::ByteStr(bytes), .. }) => {
                Some(bytes.value())
            }
            _ => None,
        },
        _ => None,
    });
    let embedded = FileDescriptorSet::decode_from_slice(&bytes.unwrap()).unwrap();
    let names: Vec<&str> = embedded.file.iter().filter_map(|file| file.name.as_deref()).collect();
    assert_eq!(names, ["types.proto", "notes.proto"]);
    assert!(embedded.file.iter().all(|file| file.source_code_info.as_option().is_none()));
}

/// Editions come in as descriptors, as another compiler makes them.
#[test]
fn editions_are_generated_from_descriptors() {
    use buffa_descriptor::generated::descriptor::{
        Edition, FeatureSet, FileOptions, feature_set::FieldPresence,
    };

    let (mut set, _) = compile(FILES);
    for file in &mut set.file {
        file.syntax = Some("editions".to_owned());
        file.edition = Some(Edition::EDITION_2023);
    }
    let explicit = generate(&set, &Options::new()).unwrap().files;
    assert!(text(&explicit, "notes/types.rs").contains("pub text: ::core::option::Option<"));

    for file in &mut set.file {
        let features =
            FeatureSet { field_presence: Some(FieldPresence::IMPLICIT), ..Default::default() };
        file.options = FileOptions { features: features.into(), ..Default::default() }.into();
    }
    let implicit = generate(&set, &Options::new()).unwrap().files;
    assert!(
        text(&implicit, "notes/types.rs")
            .contains("pub text: ::gannet::buffa::alloc::string::String")
    );
}
