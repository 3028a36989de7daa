//! Source files as paths they name and tokens they hold, without comments, texts and test-only items.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::path::Path;

/// One file below `src/`.
pub struct Source {
    /// Relative to `src/`, with `/`.
    pub path: String,
    pub text: String,
    pub file: syn::File,
    /// Every path the file names: expanded `use` trees, and `a::b::c` anywhere, macros included.
    pub paths: Vec<Vec<String>>,
    /// Every path that a `use ... as` or a `type` gives another name.
    pub renamed: Vec<Vec<String>>,
    /// Every identifier and keyword.
    pub words: Vec<String>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let mut file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        remove_test_items(&mut file.items);
        let mut paths = Vec::new();
        let mut renamed = Vec::new();
        for item in &file.items {
            collect_uses(item, &mut paths, &mut renamed);
        }
        let mut words = Vec::new();
        collect_tokens(file.to_token_stream(), &mut paths, &mut words);
        Self { path: path.into(), text: text.into(), file, paths, renamed, words }
    }
}

/// All files of `src/`, test-only files (`tests.rs`) left out.
pub fn tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                walk(root, &path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let relative =
                path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            found.push(Source::parse(&relative, &text));
        }
    }
}

fn remove_test_items(items: &mut Vec<syn::Item>) {
    items.retain(|item| !attributes(item).iter().any(is_test_only));
    for item in items {
        if let syn::Item::Mod(module) = item
            && let Some((_, inner)) = &mut module.content
        {
            remove_test_items(inner);
        }
    }
}

fn is_test_only(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.to_token_stream().to_string().replace(' ', "").contains("(test")
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

fn collect_uses(item: &syn::Item, paths: &mut Vec<Vec<String>>, renamed: &mut Vec<Vec<String>>) {
    match item {
        syn::Item::Use(item) => expand(&item.tree, &mut Vec::new(), paths, renamed),
        syn::Item::Type(item) => {
            if let syn::Type::Path(path) = &*item.ty {
                renamed.push(path.path.segments.iter().map(|part| part.ident.to_string()).collect());
            }
        }
        syn::Item::Mod(module) => {
            for inner in module.content.iter().flat_map(|(_, items)| items) {
                collect_uses(inner, paths, renamed);
            }
        }
        _ => {}
    }
}

fn expand(
    tree: &syn::UseTree,
    prefix: &mut Vec<String>,
    paths: &mut Vec<Vec<String>>,
    renamed: &mut Vec<Vec<String>>,
) {
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            expand(&path.tree, prefix, paths, renamed);
            prefix.pop();
        }
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| expand(tree, prefix, paths, renamed));
        }
        syn::UseTree::Name(name) => paths.push(joined(prefix, &name.ident)),
        syn::UseTree::Rename(rename) => {
            let path = joined(prefix, &rename.ident);
            renamed.push(path.clone());
            paths.push(path);
        }
        syn::UseTree::Glob(_) => paths.push(prefix.clone()),
    }
}

fn joined(prefix: &[String], last: &impl ToString) -> Vec<String> {
    prefix.iter().cloned().chain([last.to_string()]).collect()
}

fn collect_tokens(tokens: TokenStream, paths: &mut Vec<Vec<String>>, words: &mut Vec<String>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    flush(&mut path, paths);
                }
                path.push(ident.to_string());
                words.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                flush(&mut path, paths);
                collect_tokens(group.stream(), paths, words);
                colons = 0;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                flush(&mut path, paths);
                colons = 0;
            }
        }
    }
    flush(&mut path, paths);
}

fn flush(path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    if path.len() > 1 {
        paths.push(std::mem::take(path));
    }
    path.clear();
}
