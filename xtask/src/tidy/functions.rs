//! The rule on the length of functions: one fits a screen.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;

/// Longest function, in lines, from the line of its name to the closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Finds functions that are too long, nested ones and methods included.
pub(super) fn check(path: &str, tree: &syn::File) -> Vec<Finding> {
    let mut visitor = Visitor { path, findings: Vec::new() };
    visitor.visit_file(tree);
    visitor.findings
}

struct Visitor<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Visitor<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            let advice = format!(
                "`{}` has {lines} lines: split it into functions of at most {FUNCTION_LINES_MAX}",
                signature.ident
            );
            self.findings.push(Finding::new(self.path, first, "function-length", advice));
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of_findings(text: &str) -> Vec<usize> {
        check("a.rs", &syn::parse_file(text).unwrap()).iter().map(|f| f.line).collect()
    }

    fn body(lines: usize) -> String {
        format!("{{\n{}}}\n", "    a();\n".repeat(lines))
    }

    #[test]
    fn the_limit_counts_from_the_name_to_the_brace() {
        assert!(lines_of_findings(&format!("fn a() {}", body(68))).is_empty());
        assert_eq!(lines_of_findings(&format!("fn a() {}", body(69))), [1]);
        assert_eq!(lines_of_findings(&format!("/// Doc.\n#[x]\nfn a() {}", body(69))), [3]);
        assert!(lines_of_findings(&format!("/// Doc.\n#[x]\nfn a() {}", body(68))).is_empty());
    }

    #[test]
    fn methods_defaults_and_nested_functions_count() {
        let long = body(90);
        assert_eq!(lines_of_findings(&format!("impl A {{ fn a() {long} }}")), [1]);
        assert_eq!(lines_of_findings(&format!("trait A {{ fn b();\nfn a() {long} }}")), [2]);
        assert_eq!(lines_of_findings(&format!("mod m {{\nfn a() {long} }}")), [2]);
        assert_eq!(lines_of_findings(&format!("fn o() {{\nfn a() {long} }}")), [1, 2]);
    }
}
