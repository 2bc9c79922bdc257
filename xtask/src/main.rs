//! `cargo xtask`: sets up what is missing, builds the package, serves the demo, runs the tests.

mod bench;
mod demo;
mod fuzz;
mod house;
mod isolation;
mod lanes;
mod logs;
mod names;
mod order;
mod package;
mod process;
mod report;
mod sandbox;
mod setup;
mod size;
mod snippets;
mod soak;
mod suites;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use suites::{Choice, Suite};

/// Builds, serves and tests wasm-softphone.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, build the package, start the sandbox and say where the phone is
    Demo {
        /// Where the page, the package and the SIP server listen, on loopback
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Don't show the page in the browser
        #[arg(long)]
        no_open: bool,
    },
    /// Set up what is missing and run these suites, or all of them
    Test {
        /// Of the hosts, the older versions too
        #[arg(long)]
        every_version: bool,
        /// All, if none is named
        suites: Vec<Choice>,
    },
    /// Build the npm package into pkg/
    Build,
    /// Weigh the download against its budget, and say which crate it comes from
    Size,
    /// Say in figures how src/phone is built, beside what is wanted, and whether the floors of src are kept
    House,
    /// Feed the fuzz targets of fuzz/ with bytes; what breaks one is kept in fuzz/artifacts
    Fuzz {
        /// For each target
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
        /// Put what reached something new into the corpus, and take out what reaches nothing of its own
        #[arg(long)]
        keep: bool,
        /// With LLVM's AddressSanitizer, at a third of the speed or less
        #[arg(long)]
        address_sanitizer: bool,
        /// All, if none is named
        targets: Vec<fuzz::Target>,
    },
    /// Measure, beside others in the same run
    Bench(bench::Bench),
    /// Run tests for long: what the suites do for a minute only
    Soak(soak::Soak),
    /// Install the tools that the other commands need (they do it by themselves)
    Setup,
    /// The isolated half of a browser suite
    #[command(hide = true)]
    Inside {
        suite: Suite,
        #[arg(long)]
        port: u16,
        /// This file of it alone
        #[arg(long)]
        only: Option<String>,
        /// The files of this lane alone, with logs of their own
        #[arg(long)]
        lane: Option<usize>,
        /// The browser half of the web suite alone
        #[arg(long)]
        brief: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<bool> {
    process::end_children_on_interrupt()?;
    match command {
        Command::Demo { port, no_open } => demo::run(port, !no_open).map(|()| true),
        Command::Test { suites, every_version } => suites::run(&suites, every_version),
        Command::Build => package::build().map(|()| true),
        Command::Size => size::run(),
        Command::House => house::run(),
        Command::Fuzz { minutes, keep, address_sanitizer, targets } => {
            fuzz::command(minutes, &targets, keep, address_sanitizer)
        }
        Command::Bench(bench) => bench::run(&bench).map(|()| true),
        Command::Soak(soak) => soak::run(&soak),
        Command::Setup => setup::all().map(|()| true),
        Command::Inside { suite, port, only, lane, brief } => {
            suites::inside(suite, port, &suites::Part { only, lane, brief })
        }
    }
}
