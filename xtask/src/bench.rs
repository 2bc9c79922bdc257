//! `cargo xtask bench`: measures, beside others in the same run.

mod browser;
mod proxy;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// What is to be measured, and how.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// All that is measured in the browser, if none is named
    parts: Vec<Part>,
    /// Another build of the package, a directory like pkg/, as a column of its own: what a change has brought
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
    /// Instead of the usual number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Write what is measured in the browser to docs/performance.md, which is not about builds of somebody's own
    #[arg(long, conflicts_with = "beside")]
    write: bool,
    /// Measure nothing, but write to this file in which functions the time of a message is spent
    #[arg(long, value_name = "FILE", conflicts_with_all = ["parts", "beside", "rounds", "write"])]
    profile: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// In the browser, beside JsSIP and SIP.js: from a message to the application's event, and to the end of what follows
    Messages,
    /// In the browser: loading, and the first message and call in a fresh page
    First,
    /// In the browser: from the address of a page to a registered telephone, over slow networks
    Page,
    /// Calls that the call proxy starts in a second, beside a bare handler
    Proxy,
}

impl Part {
    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::First => "first",
            Self::Page => "page",
            Self::Proxy => "proxy",
        }
    }
}

/// Measures one after another, so that none disturbs another.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if let Some(file) = &bench.profile {
        return browser::profile(file);
    }
    let in_browser: Vec<&str> = match bench.parts.as_slice() {
        [] => [Part::Messages, Part::First, Part::Page].map(Part::name).to_vec(),
        parts => parts.iter().filter(|part| **part != Part::Proxy).map(|part| part.name()).collect(),
    };
    if in_browser.is_empty() && (bench.beside.is_some() || bench.rounds.is_some() || bench.write) {
        bail!("--beside, --rounds and --write are for what is measured in the browser");
    }
    if !in_browser.is_empty() {
        let choices =
            browser::Choices { beside: bench.beside.as_deref(), rounds: bench.rounds, write: bench.write };
        browser::run(&in_browser, &choices)?;
    }
    if bench.parts.contains(&Part::Proxy) {
        proxy::run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_named_as_on_the_command_line() {
        for part in Part::value_variants() {
            assert_eq!(part.to_possible_value().unwrap().get_name(), part.name());
        }
    }
}
