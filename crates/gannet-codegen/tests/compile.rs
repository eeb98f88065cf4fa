//! Generated code compiles, without a warning from rustc, clippy or rustdoc, for protos that use
//! every feature there is.

mod support;

use std::path::{Path, PathBuf};

use gannet_codegen::{Compiled, Layout, Options, Source};

use support::Project;

const FILES: &[&str] = &[
    "corpus/collisions.proto",
    "corpus/comments.proto",
    "corpus/deprecated.proto",
    "corpus/imports/one.proto",
    "corpus/keywords.proto",
    "corpus/nest/deep.proto",
    "corpus/nest/mod.proto",
    "corpus/proto2.proto",
    "corpus/proto3.proto",
    "corpus/streaming.proto",
    "corpus/wkt.proto",
    "nopackage.proto",
];

fn compiled(files: &[&str]) -> Compiled {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto");
    files
        .iter()
        .fold(Source::new().include(protos), |source, file| source.file(file))
        .compile()
        .unwrap()
}

fn project(name: &str) -> Project {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    Project::new(&tmp.join(name), &tmp.join("generated-target"), &support::stand_in())
}

#[test]
fn a_tree_of_modules_compiles_without_warnings() {
    let compiled = compiled(FILES);
    let mut options = Options::new();
    options.files = compiled.files;
    let generated = gannet_codegen::generate(&compiled.descriptors, &options).unwrap();
    let project = project("tree");
    gannet_codegen::write(&project.src().join("generated"), &generated.files).unwrap();
    project.root("//! Generated.\n#[rustfmt::skip]\nmod generated;\npub use generated::corpus;\n");
    project.cargo(&["clippy", "--quiet"]).unwrap_or_else(|output| panic!("{output}"));
    project
        .cargo(&["doc", "--quiet", "--no-deps", "--document-private-items"])
        .unwrap_or_else(|output| panic!("{output}"));
}

#[test]
fn an_included_file_compiles_without_warnings() {
    // The message generator cannot name a view in the module of a message that it had to move out
    // of the way of a package.
    let files: Vec<&str> =
        FILES.iter().copied().filter(|file| *file != "corpus/nest/deep.proto").collect();
    let compiled = compiled(&files);
    let mut options = Options::new();
    options.files = compiled.files;
    options.views = true;
    options.layout = Layout::Single { file_name: "gannet.rs".to_owned() };
    let generated = gannet_codegen::generate(&compiled.descriptors, &options).unwrap();
    assert_eq!(generated.files.len(), 1);
    let project = project("included");
    gannet_codegen::write(&project.src(), &generated.files).unwrap();
    project.root("//! Generated.\ninclude!(\"gannet.rs\");\n");
    project.cargo(&["clippy", "--quiet"]).unwrap_or_else(|output| panic!("{output}"));
}
