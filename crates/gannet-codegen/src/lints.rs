//! Which lints generated code asks to be excused from.

use quote::ToTokens;
use syn::Item;

/// The lints to allow for a package of `items`: those that its code can set off, and no others.
pub(crate) fn to_allow(items: &[Item]) -> Vec<&'static str> {
    let mut allow = ALWAYS.to_vec();
    let deprecated =
        items.iter().any(|item| item.to_token_stream().to_string().contains("# [deprecated"));
    if deprecated {
        allow.push("deprecated");
    }
    allow
}

/// A package in a private module may leave types unused, protos leave things undocumented, and
/// names of enum values are the proto file's. The rest is the style of the message generator.
const ALWAYS: &[&str] = &["dead_code", "missing_docs"];
