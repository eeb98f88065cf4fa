//! Packages to files: a tree of module files, or one file of nested modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buffa_codegen::idents::escape_mod_ident;
use quote::ToTokens;
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
    let mut sources: Vec<String> = { packages.iter() }.flat_map(|p| p.sources.clone()).collect();
    sources.sort();
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
            write_tree(&root, "", Path::new(""), "mod.rs".into(), &mut files);
            files
        }
        Layout::Single { file_name } => vec![write_single(root, &sources, file_name)],
    };
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The names of the modules that the packages directly below `package` are in.
pub(crate) fn child_modules(package: &str, all: &[String]) -> Vec<String> {
    let depth = depth(package);
    let mut children: Vec<String> = { all.iter() }
        .filter(|other| segments(other).take(depth).eq(segments(package)))
        .filter_map(|other| segments(other).nth(depth).map(escape_mod_ident))
        .collect();
    children.dedup();
    children
}

/// What a module allows that only leads to others: it may lie in a private one.
const ONLY_LEADS: &[&str] = &["unreachable_pub"];

/// How far below the root of the generated modules `package`'s module is.
pub(crate) fn depth(package: &str) -> usize {
    segments(package).count()
}

/// The name of `package`'s module, as an identifier; empty for the root.
pub(crate) fn module_name(package: &str) -> String {
    segments(package).last().map(escape_mod_ident).unwrap_or_default()
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

fn below(package: &str, segment: &str) -> String {
    if package.is_empty() { segment.to_owned() } else { format!("{package}.{segment}") }
}

fn module_doc(package: &str) -> String {
    match package {
        "" => "Generated from proto files: a module for each package.".to_owned(),
        _ => format!("The proto package `{package}`."),
    }
}

/// Writes the module of `name`, a dotted package, to `path`, and those below it to `folder`.
fn write_tree(
    node: &Node,
    name: &str,
    folder: &Path,
    path: PathBuf,
    files: &mut Vec<GeneratedFile>,
) {
    let sources = node.package.as_ref().map(|package| package.sources.as_slice());
    let mut text = header(sources.unwrap_or_default());
    text.push_str(&format!("\n//! {}\n", module_doc(name)));
    match &node.package {
        Some(package) if package.allow.is_empty() => {}
        Some(package) => text.push_str(&format!("\n#![allow({})]\n", lint_list(&package.allow))),
        None => text.push_str(&format!("\n#![allow({})]\n", lint_list(ONLY_LEADS))),
    }
    text.push('\n');
    for (segment, child) in &node.children {
        // Without this, formatting a crate would reformat code that is to be left as generated.
        text.push_str("#[rustfmt::skip]\n");
        let ident = escape_mod_ident(segment);
        let stem = ident.trim_start_matches("r#");
        // For a package called so, `mod.rs` would be a module's own file.
        let is_mod = stem == "mod";
        if is_mod {
            text.push_str("#[path = \"mod/mod.rs\"]\n");
        }
        text.push_str(&format!("pub mod {ident};\n"));
        let own_folder = folder.join(stem);
        let child_path = if child.children.is_empty() && !is_mod {
            folder.join(format!("{stem}.rs"))
        } else {
            own_folder.join("mod.rs")
        };
        write_tree(child, &below(name, segment), &own_folder, child_path, files);
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

fn write_single(root: Node, sources: &[String], file_name: &str) -> GeneratedFile {
    let mut text = header(sources);
    text.push('\n');
    text.push_str(&print(nested(root, "")));
    GeneratedFile { path: file_name.into(), text }
}

/// A node's own items and a module for each node below. An included file cannot have attributes
/// for all of it, so at the root every item says itself which lints it does not keep.
fn nested(node: Node, name: &str) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(package) = node.package {
        items = package.items;
        if name.is_empty() {
            items.iter_mut().filter_map(attributes).for_each(|own| allow_also(&package.allow, own));
        }
    }
    for (segment, child) in node.children {
        let ident = syn::parse_str::<syn::Ident>(&escape_mod_ident(&segment));
        let ident = ident.expect("a segment of a package name is an identifier once escaped");
        let allow = match &child.package {
            Some(package) => allow_attribute(&package.allow),
            None => allow_attribute(ONLY_LEADS),
        };
        let name = below(name, &segment);
        let doc = format!(" {}", module_doc(&name));
        let content = nested(child, &name);
        items.push(parse_quote!(#[doc = #doc] #allow pub mod #ident { #(#content)* }));
    }
    items
}

/// Allows `lints` by an item's `own` attributes, without naming a lint twice.
fn allow_also(lints: &[&str], own: &mut Vec<Attribute>) {
    let mut already = Vec::new();
    for attribute in own.iter().filter(|attribute| attribute.path().is_ident("allow")) {
        // Attributes that are not lists of lints do not occur, and would only be repeated.
        let _ = attribute.parse_nested_meta(|lint| {
            already.push(lint.path.to_token_stream().to_string().replace(' ', ""));
            Ok(())
        });
    }
    let further: Vec<&str> = { lints.iter().copied() }
        .filter(|lint| !already.iter().any(|already| already == lint))
        .collect();
    own.extend(allow_attribute(&further));
}

/// Lints as they are written in an attribute: on one line if they fit.
fn lint_list(lints: &[&str]) -> String {
    let line = lints.join(", ");
    if line.len() <= 80 { line } else { format!("\n    {},\n", lints.join(",\n    ")) }
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

/// The first lines of a file made from `sources`. `@generated` is the mark that tools for review
/// and formatting know.
fn header(sources: &[String]) -> String {
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
