//! Structs, their fields, and who writes them.

use std::collections::BTreeSet;

use syn::{Expr, Item, Member, Visibility, visit::Visit};

use super::source::{Source, expressions, is_test_only, type_name};

/// A struct with its fields.
pub(super) struct Struct {
    pub(super) name: String,
    /// Where it is defined.
    pub(super) file: String,
    module: Vec<String>,
    /// Name, and whether other modules than those below it may use it.
    pub(super) fields: Vec<(String, bool)>,
}

impl Struct {
    /// Whether code of this file may write the field.
    fn lends(&self, field: &str, to: &Source) -> bool {
        self.file != to.name
            && self
                .fields
                .iter()
                .any(|(name, open)| name == field && (*open || to.module().starts_with(&self.module)))
    }
}

pub(super) fn structs(sources: &[Source]) -> Vec<Struct> {
    let mut all = Vec::new();
    for source in sources {
        for item in source.items() {
            let Item::Struct(one) = item else { continue };
            let fields = one.fields.iter().enumerate().map(|(index, field)| {
                let name = field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
                (name, !matches!(field.vis, Visibility::Inherited))
            });
            all.push(Struct {
                name: one.ident.to_string(),
                file: source.name.clone(),
                module: source.module(),
                fields: fields.collect(),
            });
        }
    }
    all
}

/// For each file, how many methods it gives this type, those of traits left out.
pub(super) fn methods_of(name: &str, sources: &[Source]) -> Vec<(String, usize)> {
    let count = |source: &Source| {
        let of_impl = |item: &Item| match item {
            Item::Impl(block)
                if block.trait_.is_none() && type_name(&block.self_ty).as_deref() == Some(name) =>
            {
                block.items.iter().filter(|item| matches!(item, syn::ImplItem::Fn(_))).count()
            }
            _ => 0,
        };
        source.items().map(of_impl).sum()
    };
    sources.iter().map(|source| (source.name.clone(), count(source))).collect()
}

/// Methods of the standard library that change what they are called on, or lend it to be changed.
const MUTATORS: &[&str] = &[
    "append",
    "as_deref_mut",
    "as_mut",
    "clear",
    "dedup",
    "drain",
    "entry",
    "extend",
    "extend_from_slice",
    "extract_if",
    "first_mut",
    "get_mut",
    "get_or_insert",
    "get_or_insert_with",
    "insert",
    "iter_mut",
    "last_mut",
    "pop",
    "pop_front",
    "push",
    "push_back",
    "push_str",
    "remove",
    "replace",
    "resize",
    "retain",
    "set",
    "sort",
    "sort_by",
    "sort_by_key",
    "swap_remove",
    "take",
    "take_if",
    "truncate",
    "values_mut",
];

/// The fields that are written in another file than the one that defines their struct, as (struct, field). There are no
/// types here: a field is known by its name, and where several structs have it, by what it is read from (`call.phase` is
/// of `Call`). What the own file defines is thought to be meant first.
pub(super) fn written_elsewhere(sources: &[Source], structs: &[Struct]) -> Vec<(String, String)> {
    let mut written = BTreeSet::new();
    for source in sources {
        let mut writes = Writes::default();
        for item in source.items() {
            writes.visit_item(item);
        }
        for (owner, field) in &writes.found {
            let is_owner = |one: &&Struct| one.name.to_lowercase() == owner.replace('_', "").to_lowercase();
            let of_name = |one: &&Struct| one.fields.iter().any(|(name, _)| name == field);
            let named = structs.iter().find(|one| is_owner(one) && of_name(one));
            let candidates: Vec<_> = match named {
                Some(one) => vec![one],
                None if structs.iter().any(|one| one.file == source.name && of_name(&one)) => Vec::new(),
                None => structs.iter().filter(|one| of_name(one) && one.name != "Phone").collect(),
            };
            for one in candidates {
                if one.lends(field, source) {
                    written.insert((one.name.clone(), field.clone()));
                }
            }
        }
    }
    written.into_iter().collect()
}

/// The fields that a file writes, each with the name of what it is a field of.
#[derive(Default)]
struct Writes {
    /// The type of the `impl` block.
    this: Option<String>,
    found: BTreeSet<(String, String)>,
}

impl Writes {
    fn write(&mut self, place: &Expr) {
        match place {
            Expr::Field(field) => {
                let name = match &field.member {
                    Member::Named(name) => name.to_string(),
                    Member::Unnamed(index) => index.index.to_string(),
                };
                let owner = match last_name(&field.base) {
                    Some(name) if name == "self" => self.this.clone(),
                    name => name,
                };
                self.found.insert((owner.unwrap_or_default(), name));
            }
            Expr::Index(index) => self.write(&index.expr),
            Expr::Paren(inner) => self.write(&inner.expr),
            Expr::Tuple(parts) => parts.elems.iter().for_each(|part| self.write(part)),
            _ => {}
        }
    }
}

/// `call` of `self.call`, of `call` and of `call?`.
fn last_name(of: &Expr) -> Option<String> {
    match of {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Field(field) => match &field.member {
            Member::Named(name) => Some(name.to_string()),
            Member::Unnamed(_) => None,
        },
        Expr::Try(inner) => last_name(&inner.expr),
        Expr::Paren(inner) => last_name(&inner.expr),
        Expr::Unary(inner) => last_name(&inner.expr),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Writes {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        let outer = std::mem::replace(&mut self.this, type_name(&block.self_ty));
        syn::visit::visit_item_impl(self, block);
        self.this = outer;
    }

    fn visit_expr_assign(&mut self, assign: &'ast syn::ExprAssign) {
        self.write(&assign.left);
        syn::visit::visit_expr_assign(self, assign);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        use syn::BinOp::{AddAssign, BitAndAssign, BitOrAssign, BitXorAssign, MulAssign, SubAssign};
        let op = &binary.op;
        if matches!(
            op,
            AddAssign(_) | SubAssign(_) | MulAssign(_) | BitAndAssign(_) | BitOrAssign(_) | BitXorAssign(_)
        ) {
            self.write(&binary.left);
        }
        syn::visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_reference(&mut self, reference: &'ast syn::ExprReference) {
        if reference.mutability.is_some() {
            self.write(&reference.expr);
        }
        syn::visit::visit_expr_reference(self, reference);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if MUTATORS.contains(&call.method.to_string().as_str()) {
            self.write(&call.receiver);
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        for expression in expressions(found) {
            Writes::visit_expr(self, &expression);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(name, text)| Source::parse(name, text).unwrap()).collect()
    }

    #[test]
    fn methods_are_counted_by_file_without_those_of_traits() {
        let sources = sources(&[
            (
                "a.rs",
                "impl Phone { fn a() {} const B: u8 = 0; fn c() {} } impl Debug for Phone { fn fmt() {} }",
            ),
            ("b.rs", "impl super::Phone { fn d() {} } #[cfg(test)] impl Phone { fn e() {} }"),
            ("c.rs", "impl Call { fn f() {} }"),
        ]);
        let counts: Vec<_> = methods_of("Phone", &sources).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 0]);
    }

    fn written(user: &str) -> Vec<String> {
        let sources = sources(&[
            (
                "call.rs",
                "struct Call { pub(super) phase: u8, pub(super) acks: Vec<u8>, own: u8, pub(super) seq: u8 }",
            ),
            ("line.rs", "struct Line { pub(super) seq: u8 }"),
            ("mod.rs", "struct Phone { timers: u8 }"),
            ("user.rs", user),
        ]);
        let found = written_elsewhere(&sources, &structs(&sources));
        found.into_iter().map(|(owner, field)| format!("{owner}.{field}")).collect()
    }

    #[test]
    fn each_way_to_write_a_field_of_another_file_is_seen() {
        assert_eq!(written("fn f() { call.phase = 1; }"), ["Call.phase"]);
        assert_eq!(written("fn f() { x.phase += 1; }"), ["Call.phase"]);
        assert_eq!(written("fn f() { g(&mut call.acks) }"), ["Call.acks"]);
        assert_eq!(written("fn f() { call.acks.push(1); }"), ["Call.acks"]);
        assert_eq!(written("fn f() { if matches!(call.acks.take(), Some(_)) {} }"), ["Call.acks"]);
        assert_eq!(written("impl Phone { fn f(&mut self) { self.timers = 1; } }"), ["Phone.timers"]);
    }

    #[test]
    fn what_is_read_private_or_the_files_own_is_not() {
        assert!(written("fn f() { g(call.phase, &call.acks, call.acks.len()) }").is_empty());
        assert!(written("fn f() { call.own = 1; }").is_empty());
        assert!(written("struct Mine { phase: u8 } fn f() { mine.phase = 1; }").is_empty());
        assert!(written("#[cfg(test)] mod tests { fn f() { call.phase = 1; } }").is_empty());
    }

    #[test]
    fn a_name_of_two_structs_is_told_by_what_it_is_read_from() {
        assert_eq!(written("fn f() { line.seq = 1; }"), ["Line.seq"]);
        assert_eq!(written("fn f() { it.seq = 1; }"), ["Call.seq", "Line.seq"]);
    }
}
