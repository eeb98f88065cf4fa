//! Generated code compiles, without a warning from rustc, clippy or rustdoc, for protos that use
//! every feature there is.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::{Path, PathBuf};

use gannet_codegen::{Compiled, Layout, Options, Source};

use support::Project;

const FILES: &[&str] = &[
    "corpus/collisions.proto",
    "corpus/comments.proto",
    "corpus/deprecated.proto",
    "corpus/edition2023.proto",
    "corpus/edition2024.proto",
    "corpus/imports/one.proto",
    "corpus/keywords.proto",
    "corpus/nest/deep.proto",
    "corpus/nest/mod.proto",
    "corpus/proto2.proto",
    "corpus/proto3.proto",
    "corpus/repetitive.proto",
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
    Project::new(&tmp.join(name), &tmp.join("generated-target"))
}

/// What a user writes, in plain async functions.
const USAGE: &str = r#"
//! Uses generated code.
#[rustfmt::skip]
mod generated;
pub use generated::corpus;

use corpus::streaming::{Note, Notes, NotesClient, NotesServer, Summary, note};
use gannet::server::Service as _;
use gannet::{Call, Inbound, Outbound, Result, buffa_types::google::protobuf::Empty};

/// Answers.
#[derive(Debug)]
pub struct Answers;

impl Notes for Answers {
    async fn echo(&self, _: &mut Call, note: Note) -> Result<Note> {
        Ok(note)
    }
    async fn collect(&self, call: &mut Call, mut notes: Inbound<Note>) -> Result<Summary> {
        let _ = call;
        let mut count = 0;
        while let Some(_note) = notes.next().await? {
            count += 1;
        }
        Ok(Summary { notes: count, ..Default::default() })
    }
    async fn list(&self, _: &mut Call, _: Empty, mut notes: Outbound<Note>) -> Result<()> {
        notes.send(Note { text: "one".to_owned(), ..Default::default() }).await
    }
    async fn chat(
        &self,
        _: &mut Call,
        mut notes: Inbound<Note>,
        mut replies: Outbound<Note>,
    ) -> Result<()> {
        while let Some(note) = notes.next().await? {
            replies.send(note).await?;
        }
        Ok(())
    }
    // The other methods are answered with "unimplemented".
}

/// Serves, from a clone.
pub fn serve() -> &'static gannet::ServiceDescriptor {
    let server = NotesServer::new(Answers);
    server.clone().descriptor()
}

/// Calls.
pub fn call(channel: &gannet::Channel) {
    let client = NotesClient::new(channel.clone());
    let client = &client.clone();
    let _unary: gannet::client::Unary<'_, note::Id, Note> =
        client.peek(note::Id { number: 7, ..Default::default() });
    let _chat = client.chat();
}
"#;

#[test]
fn a_tree_of_modules_compiles_without_warnings() {
    let compiled = compiled(FILES);
    let generated = compiled.generate(&Options::new()).unwrap();
    let project = project("tree");
    gannet_codegen::write(&project.src().join("generated"), &generated.files).unwrap();
    project.root(USAGE);
    project.cargo(&["clippy", "--quiet"]).unwrap_or_else(|output| panic!("{output}"));
    project
        .cargo(&["doc", "--quiet", "--no-deps", "--document-private-items"])
        .unwrap_or_else(|output| panic!("{output}"));
}

/// All in one file, with views and without.
fn included(folder: &Path, views: bool) {
    // The message generator cannot name a view in the module of a message that it had to move out
    // of the way of a package.
    let nameable = |file: &&str| !views || *file != "corpus/nest/deep.proto";
    let files: Vec<&str> = FILES.iter().copied().filter(nameable).collect();
    let mut options = Options::new();
    options.views = views;
    options.layout = Layout::Single { file_name: "gannet.rs".to_owned() };
    let generated = compiled(&files).generate(&options).unwrap();
    assert_eq!(generated.files.len(), 1);
    gannet_codegen::write(folder, &generated.files).unwrap();
}

#[test]
fn an_included_file_compiles_without_warnings() {
    let project = project("included");
    included(&project.src(), true);
    project.root("//! Generated.\ninclude!(\"gannet.rs\");\n");
    project.cargo(&["clippy", "--quiet"]).unwrap_or_else(|output| panic!("{output}"));
}

/// Lints say more of what nobody else can see, and that may be used by nobody.
#[test]
fn code_in_private_modules_compiles_without_warnings() {
    let project = project("private");
    included(&project.src().join("views"), true);
    included(&project.src().join("plain"), false);
    let generated = compiled(FILES).generate(&Options::new()).unwrap();
    gannet_codegen::write(&project.src().join("tree"), &generated.files).unwrap();
    let root = "\
        //! Generated.\n\
        mod views {\n    include!(\"views/gannet.rs\");\n}\n\
        mod plain {\n    include!(\"plain/gannet.rs\");\n}\n\
        #[rustfmt::skip]\nmod tree;\n";
    project.root(root);
    project.cargo(&["clippy", "--quiet"]).unwrap_or_else(|output| panic!("{output}"));
}
