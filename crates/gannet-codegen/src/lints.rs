//! Which lints generated code asks to be excused from: those that its own names and shapes set off.

use quote::quote;
use syn::{FnArg, Ident, ImplItem, Item, ItemEnum, Signature, TraitItem, Visibility};

/// The lints to allow for the module `name`, which holds `items`; no more than its code needs.
pub(crate) fn to_allow(name: &str, items: &[Item]) -> Vec<&'static str> {
    let mut allow = ALWAYS.to_vec();
    let text = quote!(#(#items)*).to_string();
    let found = |&&(mark, _): &&(&str, _)| text.contains(mark);
    allow.extend(BY_TEXT.iter().filter(found).map(|(_, lint)| lint));
    if text.split("# [doc = \"").skip(1).any(is_list_item) {
        // Lists in comments are indented as their authors like it.
        allow.extend(["clippy::doc_lazy_continuation", "clippy::doc_overindented_list_items"]);
    }
    visit(name, items, &mut allow);
    allow.sort_unstable();
    allow.dedup();
    allow
}

/// A package in a private module may leave types unused, and protos leave things undocumented.
const ALWAYS: &[&str] = &["dead_code", "missing_docs", "unreachable_pub"];

/// What the message generator writes, and the lint that it sets off.
const BY_TEXT: &[(&str, &str)] = &[
    ("# [deprecated]", "deprecated"),
    // Types in other modules are named by paths that are right wherever they are written.
    ("super ::", "unused_qualifications"),
    // The message generator gives links their targets even where the text is enough.
    ("](super::", "rustdoc::redundant_explicit_links"),
    ("pub mod view {", "elided_lifetimes_in_paths"),
    ("impl :: core :: default :: Default for", "clippy::derivable_impls"),
    ("match tag . field_number () { _ =>", "clippy::match_single_binding"),
];

/// Whether a line of documentation starts an item of a list.
fn is_list_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let mark = match line.len() - number.len() {
        0 => ["- ", "* ", "+ "].as_slice(),
        _ => [". ", ") "].as_slice(),
    };
    mark.iter().any(|mark| number.starts_with(mark))
}

/// Finds names that lints have opinions on, which are the proto files' to choose.
fn visit(module: &str, items: &[Item], allow: &mut Vec<&'static str>) {
    for item in items {
        match item {
            Item::Mod(item) => {
                let name = item.ident.to_string();
                if name == module {
                    allow.push("clippy::module_inception");
                }
                if let Some((_, items)) = &item.content {
                    visit(&name, items, allow);
                }
            }
            Item::Struct(item) => type_name(&item.ident, allow),
            Item::Enum(item) => {
                type_name(&item.ident, allow);
                item.variants.iter().for_each(|variant| capitals(&variant.ident, allow));
                // Minded where nobody else can name the enum.
                if repeats_itself(item) {
                    allow.push("clippy::enum_variant_names");
                }
            }
            // Nobody need use what a private module offers.
            Item::Use(item) if matches!(item.vis, Visibility::Public(_)) => {
                allow.push("unused_imports");
            }
            Item::Trait(item) => {
                let functions = item.items.iter().filter_map(|item| match item {
                    TraitItem::Fn(function) => Some(&function.sig),
                    _ => None,
                });
                functions.for_each(|function| method_name(function, allow));
            }
            Item::Impl(item) if item.trait_.is_none() => {
                let functions = item.items.iter().filter_map(|item| match item {
                    ImplItem::Fn(function) => Some(&function.sig),
                    _ => None,
                });
                functions.for_each(|function| method_name(function, allow));
            }
            _ => {}
        }
    }
}

fn type_name(name: &Ident, allow: &mut Vec<&'static str>) {
    capitals(name, allow);
    let name = name.to_string();
    if name.starts_with(|c: char| !c.is_uppercase()) || name.contains('_') {
        allow.push("non_camel_case_types");
    }
}

/// What is all capitals is taken for an acronym where nobody else can name it.
fn capitals(name: &Ident, allow: &mut Vec<&'static str>) {
    let name = name.to_string();
    if name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase()) {
        allow.push("clippy::upper_case_acronyms");
    }
}

/// Whether the names of variants begin or end with the same word, or with the enum's name.
fn repeats_itself(item: &ItemEnum) -> bool {
    if item.variants.len() < VARIANTS_MIN {
        return false;
    }
    let names: Vec<String> =
        item.variants.iter().map(|variant| variant.ident.to_string()).collect();
    let all: Vec<Vec<&str>> = names.iter().map(|name| words(name)).collect();
    let first = all.iter().map(|words| words.first());
    let last = all.iter().map(|words| words.last());
    let own = item.ident.to_string();
    is_one(first)
        || is_one(last)
        || names.iter().any(|name| name.starts_with(&own) || name.ends_with(&own))
}

/// Fewer variants may repeat what they like.
const VARIANTS_MIN: usize = 3;

fn is_one<T: PartialEq>(mut all: impl Iterator<Item = T>) -> bool {
    let first = all.next();
    first.is_some_and(|first| all.all(|other| other == first))
}

/// The words of a name in camel case; one in capitals with underscores is one word.
fn words(name: &str) -> Vec<&str> {
    let is_upper = |c: char| c.is_uppercase() || c == '_';
    let mut words = Vec::new();
    let (mut rest, mut last) = (name, None);
    let mut begin = 0;
    for (at, c) in name.char_indices() {
        let next = name[at + c.len_utf8()..].chars().next();
        let ends_capitals = next.is_some_and(char::is_lowercase);
        if c.is_uppercase() && last.is_some_and(|last| !is_upper(last) || ends_capitals) {
            let (word, others) = rest.split_at(at - begin);
            words.push(word);
            (rest, begin) = (others, at);
        }
        last = Some(c);
    }
    words.push(rest);
    words
}

fn method_name(function: &Signature, allow: &mut Vec<&'static str>) {
    let borrows = |argument: &FnArg| match argument {
        FnArg::Receiver(receiver) => receiver.reference.is_some(),
        FnArg::Typed(_) => false,
    };
    if !function.inputs.first().is_some_and(borrows) {
        return;
    }
    let name = function.ident.to_string();
    if ["from_", "into_"].iter().any(|prefix| name.starts_with(prefix)) {
        allow.push("clippy::wrong_self_convention");
    }
    // The traits of the standard library whose method takes `&self` and one more.
    if name == "cmp" {
        allow.push("clippy::should_implement_trait");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names() {
        let table: &[(&str, &[&str])] = &[
            ("", &[""]),
            ("One", &["One"]),
            ("NameChange", &["Name", "Change"]),
            ("HTTPServer", &["HTTP", "Server"]),
            ("V1Foo", &["V1", "Foo"]),
            ("AFoo", &["A", "Foo"]),
            ("SHAPE_ROUND", &["SHAPE_ROUND"]),
            ("SHAPE_Round", &["SHAPE_", "Round"]),
            ("a_one", &["a_one"]),
            ("FooÄ", &["Foo", "Ä"]),
        ];
        for (name, want) in table {
            assert_eq!(words(name), *want, "{name}");
        }
    }

    #[test]
    fn enums_that_repeat_themselves() {
        for (text, repeats) in [
            ("enum Change { NameChange, AgeChange, NoteChange }", true),
            ("enum Change { NameChange, AgeChange }", false),
            ("enum By { ByName, ByAge, ByNote }", true),
            ("enum Note { NoteOne, Two, Three }", true),
            ("enum Note { One, Two, LastNote }", true),
            ("enum Note { One, Two, Three }", false),
            ("enum Shape { SHAPE_ONE, SHAPE_TWO, SHAPE_THREE }", false),
        ] {
            assert_eq!(repeats_itself(&syn::parse_str(text).unwrap()), repeats, "{text}");
        }
    }
}
