//! `cargo xtask soak`: the long forms of tests whose quick forms are in the suites.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{process::Task, suites, workspace};

/// What is to be done for long. Each is a test of its own; all that are named are run.
#[derive(clap::Args)]
pub(crate) struct Soak {
    /// Calls without end in one page for so many hours (fractions too): heap, module, peer connections, listeners are flat
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// So many seeds of each simulation: random use, lost connections, bad days of network and server, and any input
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// 500 registrations and 200 calls at once in one browser: memory a call, time a message, nothing left
    #[arg(long)]
    crowd: bool,
}

/// Phones of `--crowd`, its calls, and how many of them have media.
const CROWD: &str = "500,200,10";

pub(crate) fn run(soak: &Soak) -> Result<bool> {
    let mut passed = true;
    if let Some(hours) = soak.hours {
        // A week is enough for anybody.
        if !(0.02..=168.0).contains(&hours) {
            bail!("--hours: 0.02 to 168");
        }
        let limit = Duration::from_secs_f64(hours * 3600.0) + Duration::from_secs(600);
        passed &= suites::long_form("soak.test.mjs", ("SOAK_HOURS", &hours.to_string()), limit)?;
    }
    if soak.crowd {
        passed &= suites::long_form("crowd.test.mjs", ("CROWD", CROWD), Duration::from_secs(2400))?;
    }
    if let Some(seeds) = soak.seeds {
        // About 200 seeds a second and simulation.
        let limit = Duration::from_secs(seeds / 10 + 1800);
        passed &= simulations(seeds, limit)?;
    }
    if soak.hours.is_none() && soak.seeds.is_none() && !soak.crowd {
        bail!("say what: --hours H, --seeds N or --crowd");
    }
    Ok(passed)
}

/// The simulations that take a number of seeds, optimized, with what they count.
fn simulations(seeds: u64, limit: Duration) -> Result<bool> {
    let outcome = Task::cargo()
        .args(["test", "--package", "wasm-softphone", "--test", "sim", "--target-dir"])
        .arg(workspace::target().join("soak"))
        .args(["--", "--show-output", "world::", "random_calls::", "odd_pbx::a_pbx", "fuzz::"])
        .env("SIM_SEEDS", seeds.to_string())
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
        .deadline(limit)
        .show()?;
    if !outcome.success {
        eprintln!("{}; one seed: SIM_SEED=n cargo test --test sim world -- --nocapture", outcome.reason);
    }
    Ok(outcome.success)
}
