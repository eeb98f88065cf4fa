//! Packages to files: a tree of module files, or one file of nested modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buffa_codegen::idents::escape_mod_ident;
use syn::{Attribute, Item, parse_quote};

use crate::HEADER;
use crate::generate::GeneratedFile;
use crate::options::Layout;

/// The code of one proto package.
pub(crate) struct Package {
    /// Dotted; empty for files without a package.
    pub(crate) name: String,
    /// The proto files, sorted.
    pub(crate) sources: Vec<String>,
    /// The lints that the code does not keep.
    pub(crate) allow: Vec<&'static str>,
    pub(crate) items: Vec<Item>,
}

/// The files that hold `packages`, sorted by path.
pub(crate) fn render(packages: Vec<Package>, layout: &Layout) -> Vec<GeneratedFile> {
    let mut root = Node::default();
    for package in packages {
        let segments: Vec<String> = segments(&package.name).map(str::to_owned).collect();
        let mut node = &mut root;
        for segment in segments {
            node = node.children.entry(segment).or_default();
        }
        node.package = Some(package);
    }
    let mut files = match layout {
        Layout::Tree => {
            let mut files = Vec::new();
            write_tree(&root, Path::new(""), "mod.rs".into(), &mut files);
            files
        }
        Layout::Single { file_name } => vec![write_single(root, file_name)],
    };
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The names of the modules that the packages directly below `package` are in.
pub(crate) fn child_modules(package: &str, all: &[String]) -> Vec<String> {
    let depth = segments(package).count();
    let mut children: Vec<String> = { all.iter() }
        .filter(|other| segments(other).take(depth).eq(segments(package)))
        .filter_map(|other| segments(other).nth(depth).map(escape_mod_ident))
        .collect();
    children.dedup();
    children
}

/// A module: that of a package, or one that only leads to others.
#[derive(Default)]
struct Node {
    package: Option<Package>,
    children: BTreeMap<String, Node>,
}

fn segments(package: &str) -> impl Iterator<Item = &str> {
    package.split('.').filter(|segment| !segment.is_empty())
}

/// Writes `node`'s module to `path`, and those below it to files in `folder`.
fn write_tree(node: &Node, folder: &Path, path: PathBuf, files: &mut Vec<GeneratedFile>) {
    let mut text = header(node.package.as_ref());
    if let Some(package) = &node.package
        && !package.allow.is_empty()
    {
        text.push_str(&format!("#![allow({})]\n", package.allow.join(", ")));
    }
    text.push('\n');
    for (segment, child) in &node.children {
        // Without this, formatting a crate would reformat code that is to be left as generated.
        text.push_str("#[rustfmt::skip]\n");
        text.push_str(&format!("pub mod {};\n", escape_mod_ident(segment)));
        // A file cannot be named `mod.rs` for a package that is called so.
        let own_folder = folder.join(segment);
        let child_path = if child.children.is_empty() && segment != "mod" {
            folder.join(format!("{segment}.rs"))
        } else {
            own_folder.join("mod.rs")
        };
        write_tree(child, &own_folder, child_path, files);
    }
    if let Some(package) = &node.package {
        if !node.children.is_empty() {
            text.push('\n');
        }
        text.push_str(&print(package.items.clone()));
    }
    files.push(GeneratedFile { path, text });
}

/// Items with blank lines between them, which the formatter leaves out.
fn print(items: Vec<Item>) -> String {
    let print_one = |item| {
        prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items: vec![item] })
    };
    items.into_iter().map(print_one).collect::<Vec<_>>().join("\n")
}

fn write_single(root: Node, file_name: &str) -> GeneratedFile {
    let mut text = header(None);
    text.push('\n');
    text.push_str(&print(nested(root, true)));
    GeneratedFile { path: file_name.into(), text }
}

/// A node's own items and a module for each node below. An included file cannot have attributes
/// for all of it, so at the root every item says itself which lints it does not keep.
fn nested(node: Node, is_root: bool) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(package) = node.package {
        let allow = allow_attribute(&package.allow);
        items = package.items;
        if let (true, Some(allow)) = (is_root, allow) {
            items.iter_mut().filter_map(attributes).for_each(|attrs| attrs.push(allow.clone()));
        }
    }
    for (segment, child) in node.children {
        let name = syn::parse_str::<syn::Ident>(&escape_mod_ident(&segment));
        let name = name.expect("a segment of a package name is an identifier once escaped");
        let allow = child.package.as_ref().and_then(|package| allow_attribute(&package.allow));
        let content = nested(child, false);
        items.push(parse_quote!(#allow pub mod #name { #(#content)* }));
    }
    items
}

fn allow_attribute(lints: &[&str]) -> Option<Attribute> {
    let lints = lints.iter().map(|lint| {
        syn::parse_str::<syn::Path>(lint).expect("names of lints are written in this crate")
    });
    let lints: Vec<_> = lints.collect();
    (!lints.is_empty()).then(|| parse_quote!(#[allow(#(#lints),*)]))
}

fn attributes(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    Some(match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        Item::Mod(item) => &mut item.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Trait(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        Item::Use(item) => &mut item.attrs,
        _ => return None,
    })
}

/// The first lines of a file. `@generated` is the mark that tools for review and formatting know.
fn header(package: Option<&Package>) -> String {
    let sources = package.map(|package| package.sources.as_slice()).unwrap_or_default();
    let mut text = format!("{HEADER}\n");
    for (index, source) in sources.iter().enumerate() {
        let lead = if index == 0 { "@generated from" } else { "           and" };
        text.push_str(&format!("// {lead} {source}\n"));
    }
    if sources.is_empty() {
        text.push_str("// @generated\n");
    }
    text
}
