//! Rules on what code names: no unfinished code anywhere; no clock, socket, randomness or
//! executor in the sans-IO crates.
//!
//! Looks at syntax, so that comments and strings may speak of anything. It resolves no names: an
//! alias made in another file would slip through.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::{Source, is_test};

/// Folders whose code is driven from outside: time, bytes and chance come in as arguments.
const SANS_IO: &[&str] =
    &["crates/gannet-http2/", "crates/gannet-core/", "crates/gannet-client/src/policy"];

/// What sans-IO code must not name, and what to do about it. A one-word entry is matched as a
/// path's first segment, except that types are matched anywhere.
const IMPURE: &[(&[&str], &str)] = &[
    (&["Instant", "now"], "take `now: Instant` as an argument"),
    (&["SystemTime"], "take the time as an argument"),
    (&["std", "net"], "leave sockets and addresses to the driver"),
    (&["tokio"], "leave tasks, timers and sockets to the driver"),
    (&["rand"], "take the random number as an argument"),
    (&["fastrand"], "take the random number as an argument"),
];

/// Macros that mark unfinished or debugging code.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Applies every rule of this module to one Rust file.
pub(super) fn check(file: &Source, tree: &syn::File) -> Vec<Finding> {
    let mut visitor = Visitor {
        path: &file.path,
        sans_io: SANS_IO.iter().any(|folder| file.path.starts_with(folder)),
        in_test: file.only_tests,
        findings: Vec::new(),
    };
    visitor.visit_file(tree);
    visitor.findings
}

struct Visitor<'a> {
    path: &'a str,
    sans_io: bool,
    in_test: bool,
    findings: Vec<Finding>,
}

impl Visitor<'_> {
    /// Reports the path `segments` when it is one that this file must not name.
    fn path_named(&mut self, segments: &[String], line: usize) {
        if !self.sans_io {
            return;
        }
        for (impure, advice) in IMPURE {
            // A test may read the clock once: there is no other way to make an `Instant`.
            let allowed = self.in_test && impure == &["Instant", "now"];
            if !allowed && names(segments, impure) {
                let advice = format!("sans-IO code names `{}`: {advice}", impure.join("::"));
                self.findings.push(Finding::new(self.path, line, "sans-io", advice));
            }
        }
    }

    /// Looks for paths and macros in tokens that are not parsed: the insides of macros.
    fn tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let is_punct =
            |at: usize, c| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut segments = vec![first.to_string()];
                    while is_punct(at, ':') && is_punct(at + 1, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 2) else { break };
                        segments.push(next.to_string());
                        at += 3;
                    }
                    let line = first.span().start().line;
                    // A lone word may be a variable; a path of one word is not worth a guess.
                    if segments.len() > 1 {
                        self.path_named(&segments, line);
                    }
                    if is_punct(at, '!') && !is_punct(at + 1, '=') {
                        self.macro_named(segments.last(), line);
                    }
                }
                _ => {}
            }
        }
    }

    fn macro_named(&mut self, name: Option<&String>, line: usize) {
        if let Some(name) = name.filter(|name| UNFINISHED.contains(&name.as_str())) {
            let advice = format!("`{name}!` marks unfinished code: finish it or leave it out");
            self.findings.push(Finding::new(self.path, line, "unfinished", advice));
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.use_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.use_tree(item, prefix));
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let mut segments = prefix.clone();
                segments.push(ident.to_string());
                self.path_named(&segments, ident.span().start().line);
            }
            syn::UseTree::Glob(glob) => self.path_named(prefix, glob.span().start().line),
        }
    }

    /// Visits an item with `in_test` set when its attributes say so.
    fn scoped(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= is_test(attributes);
        visit(self);
        self.in_test = before;
    }
}

/// Whether the path `segments` names `wanted`.
fn names(segments: &[String], wanted: &[&str]) -> bool {
    let is_type = wanted.iter().any(|word| word.starts_with(char::is_uppercase));
    if is_type {
        return segments.windows(wanted.len()).any(|part| part == wanted);
    }
    segments.len() >= wanted.len() && segments[..wanted.len()] == *wanted
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.scoped(&item.attrs, |this| visit::visit_item_mod(this, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.scoped(&item.attrs, |this| visit::visit_item_fn(this, item));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.scoped(&item.attrs, |this| visit::visit_item_impl(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.scoped(&item.attrs, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.scoped(&item.attrs, |this| this.use_tree(&item.tree, &mut Vec::new()));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // A path of one lower-case word is a variable or a function of this crate.
        let lone = segments.len() == 1 && segments[0].starts_with(char::is_lowercase);
        if !lone {
            self.path_named(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let name = item.path.segments.last().map(|segment| segment.ident.to_string());
        self.macro_named(name.as_ref(), item.path.span().start().line);
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let file = Source::new(path, text);
        let findings = check(&file, file.tree.as_ref().unwrap());
        findings.iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    fn impure(text: &str) -> bool {
        found("crates/gannet-core/src/a.rs", text).iter().any(|(_, rule)| *rule == "sans-io")
    }

    #[test]
    fn sans_io_code_reads_no_clock() {
        assert!(impure("fn a() { let t = Instant::now(); }"));
        assert!(impure("fn a() { let t = std::time::Instant::now(); }"));
        assert!(impure("fn a() { let t = maybe.unwrap_or_else(Instant::now); }"));
        assert!(impure("fn a() { debug_assert!(t < Instant::now()); }"));
        assert!(impure("use std::time::{Duration, SystemTime};"));
        assert!(!impure("use std::time::{Duration, Instant};\nfn a(now: Instant) {}"));
        assert!(!impure("// Instant::now()\nfn a() { b(\"Instant::now()\"); }"));
    }

    #[test]
    fn sans_io_code_knows_no_sockets_chance_or_executor() {
        assert!(impure("use std::{fmt, net::TcpStream};"));
        assert!(impure("use std::net;"));
        assert!(impure("use std::net::*;"));
        assert!(impure("fn a(s: std::net::SocketAddr) {}"));
        assert!(impure("use tokio::io::AsyncRead;"));
        assert!(impure("fn a() { tokio::spawn(b()); }"));
        assert!(impure("fn a() -> u32 { fastrand::u32(..) }"));
        assert!(impure("fn a() -> u32 { assert!(rand::random()); 1 }"));
        assert!(!impure("fn a(rand: u32) -> u32 { println!(\"{}\", rand); rand }"));
        assert!(!impure("use crate::tokio_like::net;"));
    }

    #[test]
    fn tests_may_make_an_instant_and_nothing_more() {
        assert!(!impure("#[cfg(test)] mod tests { fn a() { Instant::now(); } }"));
        assert!(!impure("#[test] fn a() { Instant::now(); }"));
        assert!(impure("#[cfg(test)] mod tests { use tokio::time; }"));
        assert!(impure("#[cfg(test)] mod tests {} fn a() { Instant::now(); }"));
        assert!(impure("#[cfg(not(test))] fn a() { Instant::now(); }"));
        let text = "fn a() { Instant::now(); }";
        assert_eq!(found("crates/gannet-http2/tests/it.rs", text), []);
    }

    #[test]
    fn only_the_sans_io_folders_are_pure() {
        let text = "//! x\n\nfn a() { Instant::now(); }";
        assert_eq!(found("crates/gannet-transport/src/a.rs", text), []);
        assert_eq!(found("crates/gannet-client/src/channel.rs", text), []);
        let expected = [(3, "sans-io")];
        assert_eq!(found("crates/gannet-client/src/policy/backoff.rs", text), expected);
        assert_eq!(found("crates/gannet-http2/src/lib.rs", text), expected);
    }

    #[test]
    fn unfinished_code_is_found_everywhere() {
        let found = |text: &str| found("xtask/src/a.rs", text);
        assert_eq!(found("fn a() {\n    todo!()\n}"), [(2, "unfinished")]);
        assert_eq!(found("fn a() { vec![dbg!(1)]; }"), [(1, "unfinished")]);
        assert_eq!(found("fn a() { std::unimplemented!(); }"), [(1, "unfinished")]);
        assert_eq!(found("fn a() { assert!(todo != 1); }"), []);
        assert_eq!(found("fn a() { call.unimplemented(); } // todo!()"), []);
    }
}
