//! Which file needs which: by calls, and by the names that it uses.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Expr, FnArg, ImplItem, Item, ReturnType, TraitItem, UseTree, visit::Visit};

use super::source::{Source, expressions, is_test_only, type_name};

/// From each file to those that it needs.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Methods that are the standard library's too: on anything but `self` they say nothing of a file.
const COMMON: &[&str] = &[
    "as_str",
    "clear",
    "contains",
    "contains_key",
    "count",
    "entry",
    "extend",
    "find",
    "get",
    "get_mut",
    "insert",
    "is_empty",
    "iter",
    "iter_mut",
    "keys",
    "len",
    "map",
    "next",
    "pop",
    "push",
    "remove",
    "replace",
    "retain",
    "set",
    "take",
    "values",
    "values_mut",
];

/// What the files define.
#[derive(Default)]
struct Definitions {
    /// By type and name.
    methods: BTreeMap<(String, String), BTreeSet<String>>,
    /// By name alone.
    any_method: BTreeMap<String, BTreeSet<String>>,
    functions: BTreeMap<String, BTreeSet<String>>,
    /// Types, traits, constants and functions.
    items: BTreeMap<String, BTreeSet<String>>,
    /// Modules by their last name.
    modules: BTreeMap<String, BTreeSet<String>>,
}

impl Definitions {
    fn of(sources: &[Source]) -> Self {
        let mut all = Self::default();
        for source in sources {
            let file = &source.name;
            if let Some(module) = source.module().last() {
                all.modules.entry(module.clone()).or_default().insert(file.clone());
            }
            for item in source.items() {
                all.add(file, item);
            }
        }
        all
    }

    fn add(&mut self, file: &str, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => {
                for inner in &item.items {
                    if let TraitItem::Fn(method) = inner {
                        self.add_method(file, &item.ident.to_string(), &method.sig.ident.to_string());
                    }
                }
                &item.ident
            }
            Item::Type(item) => &item.ident,
            Item::Impl(block) => {
                let Some(owner) = type_name(&block.self_ty) else { return };
                for inner in &block.items {
                    if let ImplItem::Fn(method) = inner {
                        self.add_method(file, &owner, &method.sig.ident.to_string());
                    }
                }
                return;
            }
            _ => return,
        }
        .to_string();
        if matches!(item, Item::Fn(_)) {
            self.functions.entry(name.clone()).or_default().insert(file.to_owned());
        }
        self.items.entry(name).or_default().insert(file.to_owned());
    }

    fn add_method(&mut self, file: &str, owner: &str, name: &str) {
        self.methods.entry((owner.to_owned(), name.to_owned())).or_default().insert(file.to_owned());
        self.any_method.entry(name.to_owned()).or_default().insert(file.to_owned());
    }
}

/// The one file that defines it.
fn only(files: Option<&BTreeSet<String>>) -> Option<&String> {
    files.filter(|files| files.len() == 1).and_then(|files| files.first())
}

/// An edge for each call of a method or function of another file. `self.name()` is the method of the `impl` block's type;
/// any other `.name()` counts where one file alone defines a method of that name.
pub(super) fn by_calls(sources: &[Source]) -> Graph {
    graph(sources, |definitions, uses| {
        let mut files = BTreeSet::new();
        for (owner, name) in &uses.methods {
            let own = owner
                .as_ref()
                .and_then(|owner| only(definitions.methods.get(&(owner.clone(), name.clone()))));
            let other =
                || only(definitions.any_method.get(name)).filter(|_| !COMMON.contains(&name.as_str()));
            files.extend(own.or_else(other).cloned());
        }
        for path in &uses.values {
            let found = match path.as_slice() {
                [.., owner, name] => {
                    only(definitions.methods.get(&(owner.clone(), name.clone()))).or_else(|| {
                        only(definitions.functions.get(name)).filter(|_| is_inside(path, definitions))
                    })
                }
                [name] if uses.inside.contains(name) => only(definitions.functions.get(name)),
                _ => None,
            };
            files.extend(found.cloned());
        }
        files
    })
}

/// An edge for each name of another file that is imported or written out: types, constants, functions, modules.
pub(super) fn by_names(sources: &[Source]) -> Graph {
    graph(sources, |definitions, uses| {
        let mut files = BTreeSet::new();
        for path in uses.values.iter().chain(&uses.types) {
            let is_type = |name: &String| name.starts_with(char::is_uppercase);
            // What stands behind a type is a variant of it or a function, whatever else has that name.
            let behind = path.iter().position(is_type).map_or(path.len(), |at| at + 1);
            for name in path.iter().take(behind) {
                let is_ours = path.len() > 1 && is_inside(path, definitions);
                if !uses.outside.contains(name) && (is_type(name) || is_ours) {
                    files.extend(only(definitions.items.get(name)).cloned());
                }
            }
        }
        for name in &uses.inside {
            let found = only(definitions.items.get(name)).or_else(|| only(definitions.modules.get(name)));
            files.extend(found.cloned());
        }
        files
    })
}

/// Whether a path leads into one of the modules.
fn is_inside(path: &[String], definitions: &Definitions) -> bool {
    path.first().is_some_and(|first| {
        matches!(first.as_str(), "super" | "self") || definitions.modules.contains_key(first)
    })
}

fn graph(sources: &[Source], edges: impl Fn(&Definitions, &Uses) -> BTreeSet<String>) -> Graph {
    let definitions = Definitions::of(sources);
    let of = |source: &Source| {
        let mut uses = Uses::default();
        for item in source.items() {
            uses.visit_item(item);
        }
        let mut files = edges(&definitions, &uses);
        files.remove(&source.name);
        (source.name.clone(), files)
    };
    sources.iter().map(of).collect()
}

/// The largest set of files each of which needs all others, by whatever way.
pub(super) fn largest_cycle(graph: &Graph) -> Vec<String> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for to in graph.get(file).into_iter().flatten() {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (file, reach(file))).collect();
    let leads = |from: &String, to: &String| reached.get(from).is_some_and(|seen| seen.contains(to));
    let cycle = |file: &String| -> Vec<String> {
        graph
            .keys()
            .filter(|other| *other == file || (leads(file, other) && leads(other, file)))
            .cloned()
            .collect()
    };
    graph.keys().map(cycle).max_by_key(Vec::len).unwrap_or_default()
}

/// How often code finds a call by its id: in `calls`, or by a method that does so and hands out a reference.
pub(super) fn lookups(sources: &[Source]) -> usize {
    let mut finders = BTreeSet::new();
    for item in sources.iter().flat_map(Source::items) {
        let Item::Impl(block) = item else { continue };
        for inner in &block.items {
            if let ImplItem::Fn(method) = inner
                && finds_a_call(&method.sig)
            {
                finders.insert(method.sig.ident.to_string());
            }
        }
    }
    let mut lookups = Lookups { finders, found: 0 };
    for item in sources.iter().flat_map(Source::items) {
        lookups.visit_item(item);
    }
    lookups.found
}

/// It takes a `CallId` and returns a reference, as it is or in an `Option` or `Result`.
fn finds_a_call(signature: &syn::Signature) -> bool {
    struct References(bool);
    impl Visit<'_> for References {
        fn visit_type_reference(&mut self, _: &syn::TypeReference) {
            self.0 = true;
        }
    }
    let takes_id = signature.inputs.iter().any(|input| match input {
        FnArg::Typed(input) => type_name(&input.ty).as_deref() == Some("CallId"),
        FnArg::Receiver(_) => false,
    });
    let ReturnType::Type(_, returned) = &signature.output else { return false };
    let mut references = References(false);
    references.visit_type(returned);
    takes_id && references.0 && signature.receiver().is_some()
}

struct Lookups {
    finders: BTreeSet<String>,
    found: usize,
}

impl<'ast> Visit<'ast> for Lookups {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        let in_calls = matches!(&*call.receiver, Expr::Field(field)
            if matches!(&field.member, syn::Member::Named(name) if name == "calls"));
        let by_id = in_calls && matches!(name.as_str(), "get" | "get_mut" | "contains_key" | "remove");
        let by_finder = is_self(&call.receiver) && self.finders.contains(&name);
        self.found += usize::from(by_id || by_finder);
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        for expression in expressions(found) {
            Lookups::visit_expr(self, &expression);
        }
    }
}

fn is_self(of: &Expr) -> bool {
    matches!(of, Expr::Path(path) if path.path.is_ident("self"))
}

/// What a file uses.
#[derive(Default)]
struct Uses {
    /// The type of the `impl` block.
    this: Option<String>,
    /// Methods, with the type where they are called on `self`.
    methods: BTreeSet<(Option<String>, String)>,
    /// Paths of expressions.
    values: BTreeSet<Vec<String>>,
    /// Other paths.
    types: BTreeSet<Vec<String>>,
    /// Names that are imported from these files, and from elsewhere.
    inside: BTreeSet<String>,
    outside: BTreeSet<String>,
}

impl Uses {
    fn path(&self, path: &syn::Path) -> Vec<String> {
        let name = |segment: &syn::PathSegment| match &self.this {
            Some(this) if segment.ident == "Self" => this.clone(),
            _ => segment.ident.to_string(),
        };
        path.segments.iter().map(name).collect()
    }

    fn import(&mut self, tree: &UseTree, inside: Option<bool>) {
        match tree {
            UseTree::Path(path) => {
                let inside = match (inside, path.ident.to_string().as_str()) {
                    // `crate` says nothing yet.
                    (None, "crate") => None,
                    (None, first) => Some(matches!(first, "super" | "self" | "phone")),
                    (known, _) => known,
                };
                self.import(&path.tree, inside);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, inside)),
            UseTree::Name(name) => self.imported(&name.ident, inside),
            // Under its new name it can't be mistaken for one of these files.
            UseTree::Rename(name) => self.imported(&name.ident, inside.filter(|inside| *inside)),
            UseTree::Glob(_) => {}
        }
    }

    fn imported(&mut self, name: &syn::Ident, inside: Option<bool>) {
        match inside {
            Some(true) => self.inside.insert(name.to_string()),
            Some(false) => self.outside.insert(name.to_string()),
            None => false,
        };
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // Names that are only handed on are of no use to the file.
        if matches!(item.vis, syn::Visibility::Inherited) {
            self.import(&item.tree, None);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        let outer = std::mem::replace(&mut self.this, type_name(&block.self_ty));
        syn::visit::visit_item_impl(self, block);
        self.this = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let owner = if is_self(&call.receiver) { self.this.clone() } else { None };
        self.methods.insert((owner, call.method.to_string()));
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        self.values.insert(self.path(&path.path));
        syn::visit::visit_expr_path(self, path);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.types.insert(self.path(path));
        syn::visit::visit_path(self, path);
    }

    // `pub(in crate::phone)` needs nothing of that file.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        for expression in expressions(found) {
            Uses::visit_expr(self, &expression);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(name, text)| Source::parse(name, text).unwrap()).collect()
    }

    const CALL: (&str, &str) =
        ("call.rs", "pub struct Call; impl Call { pub fn ring(&self) {} pub fn get(&self) {} }");
    const LINE: (&str, &str) =
        ("line.rs", "pub const MAX: u8 = 1; pub fn open() {} impl Phone { fn drop_line(&self) {} }");

    fn edges(graph: fn(&[Source]) -> Graph, text: &str) -> Vec<String> {
        let sources = sources(&[CALL, LINE, ("user.rs", text)]);
        graph(&sources).remove("user.rs").unwrap().into_iter().collect()
    }

    #[test]
    fn calls_lead_to_the_file_that_defines_the_method() {
        assert_eq!(edges(by_calls, "fn f(x: u8) { x.ring(); }"), ["call.rs"]);
        assert_eq!(edges(by_calls, "impl Phone { fn f(&self) { self.drop_line(); } }"), ["line.rs"]);
        assert_eq!(edges(by_calls, "impl Phone { fn f(&self) { Self::drop_line(self); } }"), ["line.rs"]);
        assert_eq!(edges(by_calls, "use super::line::open; fn f() { open(); g(open) }"), ["line.rs"]);
        assert_eq!(
            edges(by_calls, "fn f() { super::line::open(); log!(\"{}\", x.ring()); }"),
            ["call.rs", "line.rs"]
        );
    }

    #[test]
    fn names_that_say_nothing_lead_nowhere() {
        assert!(edges(by_calls, "fn f(x: u8) { x.get(); x.unknown(); open(); }").is_empty());
        // Its own method of that name is meant.
        assert!(edges(by_calls, "impl Mine { fn ring(&self) { self.ring() } }").is_empty());
        assert!(edges(by_calls, "use super::Call; fn f(call: &Call) {}").is_empty());
        assert!(edges(by_calls, "#[cfg(test)] mod tests { fn f() { x.ring() } }").is_empty());
    }

    #[test]
    fn imports_lead_to_the_file_that_defines_the_name() {
        assert_eq!(edges(by_names, "use super::{Call, line::MAX};"), ["call.rs", "line.rs"]);
        assert_eq!(edges(by_names, "fn f(call: &super::call::Call) {}"), ["call.rs"]);
        assert!(edges(by_names, "use crate::sip::Call; fn f(call: &Call) {}").is_empty());
        assert!(edges(by_names, "pub(super) use super::call::Call;").is_empty());
    }

    #[test]
    fn a_cycle_is_what_comes_back_to_itself() {
        let graph = |edges: &[(&str, &[&str])]| -> Graph {
            let owned = |to: &[&str]| to.iter().map(|one| (*one).to_owned()).collect();
            edges.iter().map(|(from, to)| ((*from).to_owned(), owned(to))).collect()
        };
        let line = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
        assert_eq!(largest_cycle(&line).len(), 1);
        let ring = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &["a"])]);
        assert_eq!(largest_cycle(&ring), ["b", "c"]);
    }

    #[test]
    fn a_call_is_looked_up_in_the_map_or_by_a_method_that_lends_it() {
        let text = "impl Phone {
            fn rest(&mut self, id: CallId) -> Option<&mut Rest> { self.calls.get_mut(&id)?.rest.as_mut() }
            fn info(&self, id: CallId) -> Info { Info }
            fn f(&mut self) { self.rest(id); self.info(id); self.calls.len(); self.timers.get(&id);
                if matches!(self.calls.get(&id), Some(_)) {} }
        }";
        assert_eq!(lookups(&sources(&[("a.rs", text)])), 3);
    }
}
