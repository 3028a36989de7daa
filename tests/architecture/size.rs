//! Small rooms: at most 500 lines a file and 70 a function, unless the reason is written there.

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::source::Source;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// A comment with these words, and the reason after them, lifts the limit of its file or of the function below it.
const EXCUSE: &str = "lines because";

pub fn oversized(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let mut found = Vec::new();
    if lines > FILE_LINES_MAX && !source.text.contains(EXCUSE) {
        found.push(format!("{lines} lines"));
    }
    let mut functions = Functions { source, found };
    functions.visit_file(&source.file);
    functions.found
}

struct Functions<'a> {
    source: &'a Source,
    found: Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, name: &syn::Ident, start: LineColumn, end: LineColumn) {
        let lines = end.line - start.line + 1;
        if lines > FUNCTION_LINES_MAX && !self.is_excused(start.line) {
            self.found.push(format!("fn {name} has {lines} lines"));
        }
    }

    fn is_excused(&self, line: usize) -> bool {
        let before = self.source.text.lines().take(line).skip(line.saturating_sub(8));
        before.into_iter().any(|line| line.contains(EXCUSE))
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig.ident, item.sig.span().start(), item.block.span().end());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig.ident, item.sig.span().start(), item.block.span().end());
        syn::visit::visit_impl_item_fn(self, item);
    }
}
