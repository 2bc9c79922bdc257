//! Source files as syntax trees.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, spanned::Spanned, visit::Visit};

/// One file.
pub(super) struct Source {
    /// Below the folder that was read: `originate/bridge.rs`.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) tree: syn::File,
}

impl Source {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let tree = syn::parse_file(text).with_context(|| format!("{name} is no Rust"))?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), tree })
    }

    /// Its module below the folder: `originate/bridge.rs` is `["originate", "bridge"]`, `mod.rs` the folder itself.
    pub(super) fn module(&self) -> Vec<String> {
        let path = self.name.strip_suffix(".rs").unwrap_or(&self.name);
        let mut module: Vec<_> = path.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        module
    }

    /// The whole file is for tests only.
    fn is_test_only(&self) -> bool {
        is_test_only(&self.tree.attrs)
    }

    /// What is not compiled for tests only.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        let whole = self.is_test_only();
        self.tree.items.iter().filter(move |item| !whole && !is_test_only(attributes(item)))
    }

    /// Lines without those of items that are for tests only, and without blank ones: code, and comments.
    pub(super) fn lines(&self) -> (usize, usize) {
        if self.is_test_only() {
            return (0, 0);
        }
        let tests = self.tree.items.iter().filter(|item| is_test_only(attributes(item)));
        let tests: Vec<_> = tests.map(|item| item.span().start().line..=item.span().end().line).collect();
        let (mut code, mut comments) = (0, 0);
        for (number, line) in (1..).zip(self.text.lines()) {
            let line = line.trim_start();
            if line.is_empty() || tests.iter().any(|lines| lines.contains(&number)) {
                continue;
            }
            let count = if line.starts_with("//") { &mut comments } else { &mut code };
            *count += 1;
        }
        (code, comments)
    }

    /// Functions with `#[test]`.
    pub(super) fn tests(&self) -> usize {
        #[derive(Default)]
        struct Tests(usize);
        impl Visit<'_> for Tests {
            fn visit_item_fn(&mut self, function: &syn::ItemFn) {
                self.0 += usize::from(function.attrs.iter().any(|one| one.path().is_ident("test")));
            }
        }
        let mut tests = Tests::default();
        tests.visit_file(&self.tree);
        tests.0
    }
}

/// All files below a folder, sorted by name.
pub(super) fn read(dir: &Path) -> Result<Vec<Source>> {
    fn walk(root: &Path, dir: &Path, sources: &mut Vec<Source>) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                walk(root, &path, sources)?;
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                sources.push(Source::parse(&super::name_of(path.strip_prefix(root)?), &text)?);
            }
        }
        Ok(())
    }
    let mut sources = Vec::new();
    walk(dir, dir, &mut sources)?;
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

/// `#[cfg(test)]`, also as one of `all(..)`.
pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
    fn asks_for_test(tokens: TokenStream) -> bool {
        let mut tokens = tokens.into_iter();
        while let Some(token) = tokens.next() {
            let TokenTree::Ident(name) = token else { continue };
            if name == "test" {
                return true;
            }
            // `not` and `any` are for other builds too.
            if let Some(TokenTree::Group(inner)) = tokens.next()
                && name == "all"
                && asks_for_test(inner.stream())
            {
                return true;
            }
        }
        false
    }
    attributes.iter().filter(|one| one.path().is_ident("cfg")).any(|one| match &one.meta {
        syn::Meta::List(list) => asks_for_test(list.tokens.clone()),
        _ => false,
    })
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The last name of a type's path: `Phone` of `super::Phone`.
pub(super) fn type_name(of: &syn::Type) -> Option<String> {
    match of {
        syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        _ => None,
    }
}

/// The expressions within a macro, as far as they can be told: `matches!(a.b, Some(_))` has `a.b`.
pub(super) fn expressions(of: &syn::Macro) -> Vec<syn::Expr> {
    use syn::{parse::ParseStream, punctuated::Punctuated};
    let all = Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
    if let Ok(list) = of.parse_body_with(all) {
        return list.into_iter().collect();
    }
    let first = |input: ParseStream<'_>| {
        let first = input.parse::<syn::Expr>()?;
        input.parse::<TokenStream>()?;
        Ok(first)
    };
    of.parse_body_with(first).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! Doc.\n\nfn one() {}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn two() {}\n}\n\
                        #[cfg(all(test, target_arch = \"wasm32\"))]\nfn three() {}\n\
                        #[cfg(not(test))]\nfn four() {}\n";

    #[test]
    fn what_is_for_tests_counts_as_no_line_and_as_tests() {
        let source = Source::parse("a/b.rs", FILE).unwrap();
        assert_eq!(source.lines(), (3, 1));
        assert_eq!(source.tests(), 1);
        assert_eq!(source.items().count(), 2);
        assert_eq!(source.module(), ["a", "b"]);
        let whole = Source::parse("c.rs", "//! Doc.\n#![cfg(test)]\n\nfn one() {}\n").unwrap();
        assert_eq!((whole.lines(), whole.items().count()), ((0, 0), 0));
    }

    #[test]
    fn macros_are_looked_into() {
        let names = |text: &str| expressions(&syn::parse_str(text).unwrap()).len();
        assert_eq!(names("format_args!(\"{}\", a.b())"), 2);
        assert_eq!(names("matches!(a.b(), Some(_) | None if c)"), 1);
        assert_eq!(names("strange!(=> )"), 0);
    }
}
