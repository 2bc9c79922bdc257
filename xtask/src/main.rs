//! `cargo xtask`: sets up what is missing, builds the package, serves the demo, runs the tests.

#![expect(dead_code, reason = "the test suites, which use the rest, come next")]

mod package;
mod process;
mod setup;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, serves and tests wasm-softphone.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the tools that the other commands need (they do it by themselves)
    Setup,
    /// Build the npm package into pkg/
    Build,
}

fn main() -> Result<()> {
    process::end_children_on_interrupt()?;
    match Cli::parse().command {
        Command::Setup => setup::all(),
        Command::Build => package::build(),
    }
}
