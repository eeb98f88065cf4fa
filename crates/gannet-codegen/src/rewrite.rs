//! Paths in the message generator's code, from its runtime's crates to the facade's re-exports.
//!
//! `::buffa::Message` becomes `::gannet::buffa::Message`, so that users need one dependency. It is
//! done on the syntax tree: only a path that starts with `::` and one of the crates' names is
//! touched. Macro arguments are not part of the tree and are rewritten as tokens. Text in
//! comments and strings is not touched, but for links that the message generator makes: those to
//! its runtime, and those that assume the packages' modules to be at the root of the crate.

use proc_macro2::{Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use syn::token::PathSep;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Expr, ExprLit, ExprPath, ExprStruct, Item, ItemMod, ItemUse, Lit, LitStr, Macro,
    Meta, PatStruct, PatTupleStruct, Path, PathSegment, QSelf, TypePath, UsePath, UseTree,
};

/// The crates that the facade re-exports under their own names.
const CRATES: &[&str] = &["buffa", "buffa_types", "buffa_descriptor"];

/// The facade.
const FACADE: &str = "gannet";

/// Sends every path in `items`, which are in a module `depth` levels below the root of the
/// generated modules, that starts at one of [`CRATES`] through [`FACADE`].
pub(crate) fn through_facade(items: &mut [Item], depth: usize) {
    for item in items {
        ThroughFacade { depth }.visit_item_mut(item);
    }
}

struct ThroughFacade {
    depth: usize,
}

impl VisitMut for ThroughFacade {
    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        if starts_at_crate(path) {
            path.segments.insert(0, PathSegment::from(facade()));
        }
    }

    fn visit_type_path_mut(&mut self, of: &mut TypePath) {
        let aside = before_visit(of.qself.as_mut(), &mut of.path);
        visit_mut::visit_type_path_mut(self, of);
        of.path.leading_colon = of.path.leading_colon.or(aside);
    }

    fn visit_expr_path_mut(&mut self, of: &mut ExprPath) {
        let aside = before_visit(of.qself.as_mut(), &mut of.path);
        visit_mut::visit_expr_path_mut(self, of);
        of.path.leading_colon = of.path.leading_colon.or(aside);
    }

    fn visit_expr_struct_mut(&mut self, of: &mut ExprStruct) {
        let aside = before_visit(of.qself.as_mut(), &mut of.path);
        visit_mut::visit_expr_struct_mut(self, of);
        of.path.leading_colon = of.path.leading_colon.or(aside);
    }

    fn visit_pat_struct_mut(&mut self, of: &mut PatStruct) {
        let aside = before_visit(of.qself.as_mut(), &mut of.path);
        visit_mut::visit_pat_struct_mut(self, of);
        of.path.leading_colon = of.path.leading_colon.or(aside);
    }

    fn visit_pat_tuple_struct_mut(&mut self, of: &mut PatTupleStruct) {
        let aside = before_visit(of.qself.as_mut(), &mut of.path);
        visit_mut::visit_pat_tuple_struct_mut(self, of);
        of.path.leading_colon = of.path.leading_colon.or(aside);
    }

    fn visit_item_mod_mut(&mut self, item: &mut ItemMod) {
        // What a module says of itself from outside is in the scope outside.
        item.attrs.iter_mut().for_each(|attribute| self.visit_attribute_mut(attribute));
        if let Some((_, items)) = &mut item.content {
            through_facade(items, self.depth + 1);
        }
    }

    fn visit_item_use_mut(&mut self, item: &mut ItemUse) {
        visit_mut::visit_item_use_mut(self, item);
        let UseTree::Path(path) = &item.tree else { return };
        if item.leading_colon.is_some() && is_crate(&path.ident) {
            item.tree = UseTree::Path(UsePath {
                ident: facade(),
                colon2_token: path.colon2_token,
                tree: Box::new(item.tree.clone()),
            });
        }
    }

    fn visit_macro_mut(&mut self, call: &mut Macro) {
        visit_mut::visit_macro_mut(self, call);
        call.tokens = tokens_through_facade(std::mem::take(&mut call.tokens));
    }

    fn visit_attribute_mut(&mut self, attribute: &mut Attribute) {
        visit_mut::visit_attribute_mut(self, attribute);
        match &mut attribute.meta {
            Meta::List(list) => {
                list.tokens = tokens_through_facade(std::mem::take(&mut list.tokens));
            }
            Meta::NameValue(pair) if pair.path.is_ident("doc") => {
                relink(&mut pair.value, self.depth);
            }
            _ => {}
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        if let Expr::Verbatim(tokens) = expr {
            *tokens = tokens_through_facade(std::mem::take(tokens));
        }
    }
}

/// Links in documentation that the message generator writes. In text from proto files no bracket
/// that could open such a link is left unescaped.
fn relink(doc: &mut Expr, depth: usize) {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = doc else { return };
    let old = text.value();
    let mut new = old.clone();
    if !old.contains("\\[`::buffa") {
        new = new.replace("[`::buffa", &format!("[`::{FACADE}::buffa"));
    }
    if let Some((before, rest)) = new.split_once(ROOT_LINK) {
        let up = if depth == 0 { "self::".to_owned() } else { "super::".repeat(depth) };
        let mut relinked = before.to_owned();
        for link in rest.split(ROOT_LINK) {
            // What follows `#` in a link is not part of the path.
            let (path, rest) = link.split_once(')').unwrap_or((link, ""));
            relinked.push_str(&format!("]({up}{}){rest}", path.replace("r#", "")));
        }
        new = relinked;
    }
    if new != old {
        *text = LitStr::new(&new, text.span());
    }
}

/// How a link to a type in another module starts, for the message generator.
const ROOT_LINK: &str = "](crate::";

fn starts_at_crate(path: &Path) -> bool {
    let first = path.segments.first();
    path.leading_colon.is_some() && first.is_some_and(|first| is_crate(&first.ident))
}

/// Readies a path that may be qualified. In `<T as ::buffa::Trait>::Item` the tree records how many
/// segments stand before the `>`, and is told of the one that is about to be put in front. In
/// `<T>::item` the path opens with a `::` that is not at its start; it is set aside, and returned.
fn before_visit(qualified: Option<&mut QSelf>, path: &mut Path) -> Option<PathSep> {
    let qualified = qualified?;
    if qualified.position == 0 {
        return path.leading_colon.take();
    }
    if starts_at_crate(path) {
        qualified.position += 1;
    }
    None
}

fn facade() -> Ident {
    Ident::new(FACADE, Span::call_site())
}

fn is_crate(ident: &Ident) -> bool {
    CRATES.iter().any(|name| ident == name)
}

fn tokens_through_facade(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut out = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let inner = tokens_through_facade(group.stream());
                out.push(Group::new(group.delimiter(), inner).into());
                continue;
            }
            TokenTree::Ident(ident) if is_crate(ident) && starts_path(&tokens[..index]) => {
                out.push(facade().into());
                out.push(Punct::new(':', Spacing::Joint).into());
                out.push(Punct::new(':', Spacing::Alone).into());
            }
            _ => {}
        }
        out.push(token.clone());
    }
    out.into_iter().collect()
}

/// Whether `before` ends in a `::` that opens a path, rather than one that goes on from a segment.
/// A `>` is taken to end what stands before the path, as in `impl<'a> ::buffa::View`: nothing is
/// associated to a type under the name of a crate.
fn starts_path(before: &[TokenTree]) -> bool {
    let [rest @ .., first, second] = before else { return false };
    if !is_joint(first, ':') || !matches!(second, TokenTree::Punct(p) if p.as_char() == ':') {
        return false;
    }
    match rest {
        // A lifetime is a quote and an identifier: `&'a ::buffa::…`.
        [.., quote, TokenTree::Ident(_)] if is_joint(quote, '\'') => true,
        [.., TokenTree::Ident(ident)] => {
            let name = ident.to_string();
            !PATH_KEYWORDS.contains(&name.as_str()) && buffa_codegen::idents::is_rust_keyword(&name)
        }
        _ => true,
    }
}

/// Keywords that are segments of paths.
const PATH_KEYWORDS: &[&str] = &["self", "Self", "super", "crate"];

fn is_joint(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct)
        if punct.as_char() == char && punct.spacing() == Spacing::Joint)
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    #[track_caller]
    fn assert_rewrites(from: &str, to: &str) {
        let mut file = syn::parse_file(from).unwrap();
        through_facade(&mut file.items, 1);
        let expected = syn::parse_file(to).unwrap();
        assert_eq!(file.to_token_stream().to_string(), expected.to_token_stream().to_string());
    }

    #[test]
    fn paths_that_start_at_the_runtime_go_through_the_facade() {
        for (from, to) in [
            ("use ::buffa::Message;", "use ::gannet::buffa::Message;"),
            ("impl<'a> ::buffa::V<'a> for T {}", "impl<'a> ::gannet::buffa::V<'a> for T {}"),
            ("type A<'a> = &'a ::buffa_types::X;", "type A<'a> = &'a ::gannet::buffa_types::X;"),
            (
                "fn f(a: ::buffa::A) -> ::buffa::B<::buffa::C> { <T as ::buffa::D>::E }",
                "fn f(a: ::gannet::buffa::A) -> ::gannet::buffa::B<::gannet::buffa::C> \
                 { <T as ::gannet::buffa::D>::E }",
            ),
            (
                "fn f() { match x { _ => ::buffa::f() } }",
                "fn f() { match x { _ => ::gannet::buffa::f() } }",
            ),
        ] {
            assert_rewrites(from, to);
        }
    }

    #[test]
    fn so_do_those_in_the_arguments_of_macros_and_attributes() {
        for (from, to) in [
            (
                "fn f() { matches!(y, Some(::buffa::Z)) }",
                "fn f() { matches!(y, Some(::gannet::buffa::Z)) }",
            ),
            (
                "fn f() { m!(&'a ::buffa::Z, return ::buffa::Z, a::buffa) }",
                "fn f() { m!(&'a ::gannet::buffa::Z, return ::gannet::buffa::Z, a::buffa) }",
            ),
            ("#[derive(::buffa::D)] struct S;", "#[derive(::gannet::buffa::D)] struct S;"),
        ] {
            assert_rewrites(from, to);
        }
    }

    #[test]
    fn links_of_the_message_generator_follow() {
        assert_rewrites(
            "/// Above [`::buffa::MAX`].\nstruct S;",
            "/// Above [`::gannet::buffa::MAX`].\nstruct S;",
        );
        assert_rewrites(
            "/// A [b](crate::c::r#type::D) and [e](crate::f).\n\
             mod m {\n/// [b](crate::c)\nstruct S; }",
            "/// A [b](super::c::type::D) and [e](super::f).\n\
             mod m {\n/// [b](super::super::c)\nstruct S; }",
        );
        let escaped = "/// Above \\[`::buffa::MAX`\\].\nstruct S;";
        assert_rewrites(escaped, escaped);
    }

    #[test]
    fn other_paths_strings_and_docs_are_left_alone() {
        for same in [
            "use crate::buffa::X;",
            "type A = self::buffa::X;",
            "type A = a::buffa::X;",
            "type A = <T>::buffa;",
            "use buffa::X;",
            "type A = ::buffalo::X;",
            "fn f() { x.buffa }",
            "/// See `::buffa::Message`.\nstruct S;",
            "const S: &str = \"::buffa::X\";",
            "fn f() { m!(\"::buffa\", Self::buffa) }",
        ] {
            assert_rewrites(same, same);
        }
    }
}
