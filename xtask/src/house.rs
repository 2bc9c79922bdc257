//! `cargo xtask house`: how src/phone is built, in figures that are read from the syntax tree, and the floors of the
//! tree. The lint suite fails when a figure is worse than its limit, or when a floor names a higher one.

mod calls;
mod fields;
mod floors;
mod source;

use std::path::Path;

use anyhow::Result;

use crate::workspace;
use source::Source;

use Limit::{AtLeast, AtMost};

/// A figure may not get worse than this.
#[derive(Debug, Clone, Copy)]
enum Limit {
    AtMost(usize),
    AtLeast(usize),
}

/// One line of the table.
struct Figure {
    what: &'static str,
    wanted: &'static str,
    limit: Limit,
    today: usize,
    /// Names that belong to it.
    detail: String,
}

/// The figures, with what is wanted and the limit. They may only get better: who betters one moves its limit along.
const CEILINGS: [(&str, &str, Limit); 14] = [
    ("files with an `impl Phone`", "at most 4", AtMost(4)),
    ("methods of `Phone`", "under 90", AtMost(89)),
    ("methods of `Call`", "in its own file, or of its parts", AtMost(248)),
    ("methods of `Cx`", "those of the door out", AtMost(86)),
    ("fields of the largest struct", "under 20", AtMost(24)),
    ("fields of `Call`", "under 20", AtMost(19)),
    ("fields of `Phone`", "under 20", AtMost(2)),
    ("fields of `Cx`", "under 20", AtMost(13)),
    ("fields that another file writes", "none", AtMost(63)),
    ("files in the largest cycle by calls", "at most 3", AtMost(35)),
    ("files in the largest cycle by names", "at most 3", AtMost(14)),
    ("places that look up a call", "one a message", AtMost(35)),
    ("unit tests", "over 100", AtLeast(127)),
    // Private fields cost a line or two each: a named transition in the place of an assignment.
    ("lines of code that are not tests", "under 7,500", AtMost(12_405)),
];

impl Figure {
    fn is_within(&self) -> bool {
        match self.limit {
            AtMost(most) => self.today <= most,
            AtLeast(least) => self.today >= least,
        }
    }

    /// What is to be said of it beside its value.
    fn verdict(&self) -> String {
        match self.limit {
            AtMost(most) if self.today > most => format!("OVER its ceiling of {most}"),
            AtLeast(least) if self.today < least => format!("UNDER its floor of {least}"),
            AtMost(most) if self.today < most => format!("lower the ceiling of {most}"),
            AtLeast(least) if self.today > least => format!("raise the floor of {least}"),
            _ => String::new(),
        }
    }
}

/// Prints the table, and what names a higher floor. True where no figure is worse than its limit and nothing does.
pub(crate) fn run() -> Result<bool> {
    let src = workspace::root().join("src");
    let figures = figures(&source::read(&src.join("phone"))?);
    print!("{}", table(&figures));
    let climbs = floors::climbs(&source::read(&src)?);
    for climb in &climbs {
        println!("{climb}");
    }
    Ok(climbs.is_empty() && figures.iter().all(Figure::is_within))
}

fn figures(sources: &[Source]) -> Vec<Figure> {
    let figure = |((what, wanted, limit), (today, detail))| Figure { what, wanted, limit, today, detail };
    CEILINGS.into_iter().zip(measure(sources)).map(figure).collect()
}

/// In the order of [`CEILINGS`].
fn measure(sources: &[Source]) -> [(usize, String); CEILINGS.len()] {
    let plain = |value: usize| (value, String::new());
    let phone = fields::methods_of("Phone", sources);
    let methods = |name: &str| plain(fields::methods_of(name, sources).iter().map(|(_, count)| count).sum());
    let structs = fields::structs(sources);
    let size =
        |name: &str| plain(structs.iter().find(|one| one.name == name).map_or(0, |one| one.fields.len()));
    let largest = structs.iter().max_by_key(|one| one.fields.len());
    let written = fields::written_elsewhere(sources, &structs);
    let cycle = |graph| {
        let files = calls::largest_cycle(&graph);
        // More than a handful nobody reads.
        (files.len(), if files.len() > 8 { String::new() } else { files.join(", ") })
    };
    let (code, comments) = sources
        .iter()
        .map(Source::lines)
        .fold((0, 0), |sum, (code, comments)| (sum.0 + code, sum.1 + comments));
    [
        plain(phone.iter().filter(|(_, count)| *count > 0).count()),
        plain(phone.iter().map(|(_, count)| count).sum()),
        methods("Call"),
        methods("Cx"),
        largest.map_or_else(Default::default, |one| {
            (one.fields.len(), format!("`{}` in {}", one.name, one.file))
        }),
        size("Call"),
        size("Phone"),
        size("Cx"),
        (written.len(), by_struct(&written)),
        cycle(calls::by_calls(sources)),
        cycle(calls::by_names(sources)),
        plain(calls::lookups(sources)),
        plain(sources.iter().map(Source::tests).sum()),
        (code, format!("{comments} of comments beside them, blank ones not counted")),
    ]
}

/// How many of the fields each struct has, for those that have most.
fn by_struct(fields: &[(String, String)]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (owner, _) in fields {
        match counts.iter_mut().find(|(name, _)| name == owner) {
            Some((_, count)) => *count += 1,
            None => counts.push((owner, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most: Vec<_> = counts.iter().take(5).map(|(name, count)| format!("{name} {count}")).collect();
    most.join(", ")
}

fn table(figures: &[Figure]) -> String {
    let mut text = String::from("# src/phone\n\n| figure | today | wanted | |\n|---|---:|---|---|\n");
    for figure in figures {
        let remarks: Vec<_> =
            [figure.verdict(), figure.detail.clone()].into_iter().filter(|one| !one.is_empty()).collect();
        let remarks = remarks.join("; ");
        text.push_str(&format!("| {} | {} | {} | {remarks} |\n", figure.what, figure.today, figure.wanted));
    }
    text.push('\n');
    text
}

/// A file's name below the folder, with `/` on every system.
fn name_of(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(limit: Limit) -> Figure {
        Figure { what: "files", wanted: "4", limit, today: 5, detail: "a.rs".to_owned() }
    }

    #[test]
    fn a_figure_that_is_worse_than_its_limit_fails_and_one_that_is_better_asks_for_a_new_limit() {
        for (limit, within, verdict) in [
            (AtMost(4), false, "OVER its ceiling of 4"),
            (AtMost(5), true, ""),
            (AtMost(6), true, "lower the ceiling of 6"),
            (AtLeast(6), false, "UNDER its floor of 6"),
            (AtLeast(4), true, "raise the floor of 4"),
        ] {
            let figure = figure(limit);
            assert_eq!((figure.is_within(), figure.verdict().as_str()), (within, verdict), "{limit:?}");
        }
        assert!(table(&[figure(AtMost(4))]).contains("| files | 5 | 4 | OVER its ceiling of 4; a.rs |\n"));
    }

    #[test]
    fn the_figures_stand_in_the_order_of_their_limits() {
        let call =
            "pub struct Call { pub(super) a: u8, pub(super) b: u8, c: u8 }\n\n// Why.\n#[test]\nfn t() {}\n";
        let phone = "struct Phone { calls: u8 }\nimpl Phone {\n    fn f(&mut self, call: &mut Call) { call.a = 1; }\n\
                     \x20   fn g(&mut self) { self.calls.get(1).h() } }\nimpl X { fn h(&self) {} }\n";
        let sources =
            [("call.rs", call), ("mod.rs", phone)].map(|(name, text)| Source::parse(name, text).unwrap());
        let today: Vec<_> = figures(&sources).iter().map(|figure| figure.today).collect();
        assert_eq!(today, [1, 2, 0, 0, 3, 3, 1, 0, 1, 1, 1, 1, 1, 8]);
    }
}
