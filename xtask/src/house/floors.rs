//! The floors of src, as ARCHITECTURE.md draws them: none names one above it.

use std::fmt;

use proc_macro2::{TokenStream, TokenTree};
use syn::{UseTree, spanned::Spanned, visit::Visit};

use super::source::Source;

/// The floors from below; single files of `src` are the ground that all stand on.
const FLOORS: [&str; 6] = [GROUND, "sip", "dial", "phone", "browser", "js"];
const GROUND: &str = "src";

/// A place where a floor names a higher one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Climb {
    file: String,
    line: usize,
    named: String,
}

impl fmt::Display for Climb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{} names `{}`, a floor above its own", self.file, self.line, self.named)
    }
}

/// All of them, those in tests too.
pub(super) fn climbs(sources: &[Source]) -> Vec<Climb> {
    let mut climbs = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(own) = height(&module) else { continue };
        let mut names = Names { depth: module.len(), found: Vec::new() };
        names.visit_file(&source.tree);
        for (named, line) in names.found {
            if FLOORS.iter().position(|floor| *floor == named).is_some_and(|other| other > own) {
                climbs.push(Climb { file: source.name.clone(), line, named });
            }
        }
    }
    climbs
}

/// The floor of a module. The root of the crate stands on none: it names all of them.
fn height(module: &[String]) -> Option<usize> {
    let first = module.first()?;
    let folder = FLOORS.iter().position(|floor| floor == first);
    Some(folder.unwrap_or(0))
}

/// The modules of the root that are named, each with its line.
struct Names {
    /// How many times `super` it is to the root.
    depth: usize,
    found: Vec<(String, usize)>,
}

impl Names {
    /// What a path names of the root, if it goes there.
    fn of_root<'a>(&self, path: &'a [String]) -> Option<&'a String> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => path.get(1),
            _ if supers > 0 && supers == self.depth => path.get(supers),
            _ => None,
        }
    }

    fn add(&mut self, path: &[String], line: usize) {
        if let Some(named) = self.of_root(path) {
            self.found.push((named.clone(), line));
        }
    }

    fn imports(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.imports(&step.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.imports(tree, path)),
            UseTree::Name(name) => self.leaf(path, &name.ident),
            UseTree::Rename(name) => self.leaf(path, &name.ident),
            _ => self.add(path, tree.span().start().line),
        }
    }

    fn leaf(&mut self, path: &mut Vec<String>, name: &syn::Ident) {
        path.push(name.to_string());
        self.add(path, name.span().start().line);
        path.pop();
    }

    /// Paths in the body of a macro, which is no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    path.push(name.to_string());
                    line = name.span().start().line;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {}
                other => {
                    self.add(&path, line);
                    path.clear();
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.add(&path, line);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.depth += 1;
        syn::visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.imports(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&names, path.span().start().line);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.tokens(found.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, text: &str) -> Vec<String> {
        climbs(&[Source::parse(file, text).unwrap()]).into_iter().map(|climb| climb.named).collect()
    }

    #[test]
    fn a_higher_floor_is_found_however_it_is_named() {
        assert_eq!(named("sip/auth.rs", "use crate::phone::Secret;"), ["phone"]);
        assert_eq!(
            named("sip/auth.rs", "use crate::{entropy::token, dial::plan, phone::*};"),
            ["dial", "phone"]
        );
        assert_eq!(named("sip/auth.rs", "fn f(x: crate::phone::Secret) {}"), ["phone"]);
        assert_eq!(named("sip/auth.rs", "use super::super::dial;"), ["dial"]);
        assert_eq!(named("sip/auth.rs", "mod tests { use super::super::super::js::x; }"), ["js"]);
        assert_eq!(named("sip/auth.rs", "fn f() { assert!(a, crate::phone::b(1)); }"), ["phone"]);
        assert_eq!(named("phone/mod.rs", "use crate::browser;"), ["browser"]);
        assert_eq!(named("text.rs", "use crate::sip::uri;"), ["sip"]);
        assert_eq!(named("browser/page.rs", "use crate::js::driver;"), ["js"]);
    }

    #[test]
    fn what_is_below_or_beside_may_be_named() {
        assert!(named("js/driver.rs", "use crate::{browser, phone::Phone}; use super::call;").is_empty());
        assert!(named("phone/originate/asking.rs", "use super::super::dial; use crate::sip;").is_empty());
        assert!(named("lib.rs", "pub use crate::js::x;").is_empty());
        assert!(named("dial/plan.rs", "use dial::x; use super::phone; use crate::text;").is_empty());
    }

    #[test]
    fn this_tree_keeps_its_floors() {
        let src = crate::workspace::root().join("src");
        let sources = crate::house::source::read(&src).unwrap();
        assert!(sources.len() > 80, "{} files", sources.len());
        assert_eq!(climbs(&sources), []);
    }

    #[test]
    fn a_climb_says_where_it_is() {
        let climbs = climbs(&[Source::parse("sip/uri.rs", "\nuse crate::phone::Phone;\n").unwrap()]);
        let shown: Vec<_> = climbs.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["src/sip/uri.rs:2 names `phone`, a floor above its own"]);
    }
}
