//! `cargo xtask fuzz` and the suite of the same name: libFuzzer on the targets of `fuzz/`, with the stable compiler.
//!
//! cargo-fuzz needs a nightly toolchain only to have sanitizers linked in. Coverage is a pass of LLVM that the stable
//! compiler runs when it is told to, and safe Rust has little for an address sanitizer to find: what the targets look
//! for is a panic, an overflow, a broken assertion, a hang, and memory without bound. With `--address-sanitizer` the same
//! is looked for in the unsafe code of what others wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;

use crate::{
    process::{Outcome, Task, tail},
    report::Counts,
    setup, workspace,
};

/// For each target within `cargo xtask test`.
const BRIEF: Duration = Duration::from_secs(6);
/// What one input may take; libFuzzer says "timeout" after that.
const INPUT_SECONDS: u32 = 10;
/// Of memory, in MB.
const MEMORY: u32 = 1024;
/// In bytes. Messages may be longer (64 KiB), but a fuzzer finds nothing in the rest that is not in the beginning;
/// what is that long has tests of its own, at the limit.
const INPUT_LENGTH: u32 = 4096;
/// As cargo-fuzz has them; debug assertions and overflow checks are in `fuzz/Cargo.toml`.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// The stable compiler comes with the sanitizer's runtime, and lets in who asks.
const ADDRESS_SANITIZER: &str = "-Zsanitizer=address";

/// What is fed with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// One WebSocket message: frames, start lines, headers, limits, what is answered to rubbish
    Wire,
    /// What is made of a message: responses, dialogs, client transactions, the redacted text
    Message,
    /// Each reader of a header's value
    Header,
    /// Digest challenges and what is answered to them
    Digest,
    /// Session descriptions
    Sdp,
    /// A Phone, and any sequence of input and time
    Phone,
    /// The call proxy: requests and hooks
    Proxy,
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Inputs that are kept with the sources: each reaches something that no other one does.
    fn corpus(self) -> PathBuf {
        workspace::root().join("fuzz/corpus").join(self.name())
    }

    /// Inputs that were found here, of all runs.
    fn found(self) -> Result<PathBuf> {
        made(workspace::scratch()?.join("fuzz").join(self.name()))
    }

    /// An empty directory for those of one run.
    fn emptied(self, purpose: &str) -> Result<PathBuf> {
        let dir = workspace::scratch()?.join("fuzz").join(format!("{}.{purpose}", self.name()));
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        made(dir)
    }

    /// Inputs that broke something. The directory is made, and is ignored by git.
    fn artifacts(self) -> Result<PathBuf> {
        made(workspace::root().join("fuzz/artifacts").join(self.name()))
    }
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// libFuzzer is in C++. `Some(reason)` where nothing compiles that.
pub(crate) fn compiler() -> Result<Option<String>> {
    setup::program("c++", "g++")
}

/// The targets with coverage counters. Returns the directory with the programs.
fn build(address_sanitizer: bool, limit: Duration) -> Result<PathBuf> {
    let host = host()?;
    let dir = workspace::target().join(if address_sanitizer { "fuzz-address" } else { "fuzz" });
    let mut task = Task::cargo();
    let mut flags = COVERAGE.to_owned();
    if address_sanitizer {
        flags = format!("{COVERAGE} {ADDRESS_SANITIZER}");
        task = task.env("RUSTC_BOOTSTRAP", "1");
    }
    task.args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &host])
        .arg("--target-dir")
        .arg(&dir)
        .env("RUSTFLAGS", flags)
        .without_env("CARGO_ENCODED_RUSTFLAGS")
        .deadline(limit)
        .step("building the fuzz targets")?;
    Ok(dir.join(host).join("release"))
}

/// Naming the host as the target keeps the flags away from build scripts and procedural macros.
fn host() -> Result<String> {
    let version = Task::new("rustc").arg("-vV").read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| anyhow!("rustc does not say its host"))
}

fn task(programs: &Path, target: Target) -> Result<Task> {
    let artifacts = target.artifacts()?;
    Ok(Task::new(programs.join(target.name()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-max_len={INPUT_LENGTH}"))
        .args(["-print_final_stats=1", "-close_fd_mask=1"]))
}

/// How a target is fuzzed.
#[derive(Clone, Copy)]
enum Way {
    /// As every other time: one seed, and nothing but the corpus to begin with. A run that breaks can be had again.
    Alike,
    /// On from what was found before, by the seed of the clock.
    On,
}

/// Fuzzes for so long, after all that is known has been tried once more.
fn fuzz(programs: &Path, target: Target, time: Duration, way: Way) -> Result<Outcome> {
    let corpus = target.corpus();
    if !corpus.is_dir() {
        bail!("there is no corpus in {}", corpus.display());
    }
    let (seed, found) = match way {
        Way::Alike => (1, target.emptied("brief")?),
        // 0 is the clock's.
        Way::On => (0, target.found()?),
    };
    task(programs, target)?
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-seed={seed}"))
        .arg(found)
        .arg(corpus)
        .deadline(time + Duration::from_secs(300))
        .quietly()
}

/// What libFuzzer says at its end.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// The places that the inputs reached, of the last line that says so: `#1 DONE cov: 1 ft: 2 …`.
fn edges(text: &str) -> u64 {
    let line = text.lines().rev().find_map(|line| line.split_once(" cov: "));
    line.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Fuzzes these targets for so many seconds each, and says what came of it. One that breaks does not stop the others.
fn run(programs: &Path, targets: &[Target], time: Duration, way: Way) -> Result<Vec<(Target, Outcome)>> {
    let mut finished = Vec::new();
    for &target in targets {
        let started = Instant::now();
        let outcome = fuzz(programs, target, time, way)?;
        if !outcome.success {
            eprintln!("{}", tail(&outcome.text, 60));
        }
        println!(
            "fuzz {}: {}, {} inputs in {} s, {} places reached",
            target.name(),
            if outcome.success { "nothing broke" } else { "BROKE" },
            figure(&outcome.text, "stat::number_of_executed_units"),
            started.elapsed().as_secs(),
            edges(&outcome.text),
        );
        finished.push((target, outcome));
    }
    Ok(finished)
}

/// A target that ran nothing has not passed.
fn passed(outcome: &Outcome) -> bool {
    outcome.success && figure(&outcome.text, "stat::number_of_executed_units") > 0
}

/// The suite: every target, briefly.
pub(crate) fn suite(limit: Duration) -> Result<(Counts, Option<String>)> {
    let finished = run(&build(false, limit)?, Target::value_variants(), BRIEF, Way::Alike)?;
    let mut counts = Counts::default();
    for (_, outcome) in &finished {
        counts += Counts::of_check(passed(outcome));
    }
    let broken: Vec<String> =
        finished.iter().filter(|(_, outcome)| !passed(outcome)).map(|(target, _)| target.name()).collect();
    Ok((counts, (!broken.is_empty()).then(|| format!("broken: {}; see fuzz/artifacts", broken.join(", ")))))
}

/// The command: these targets or all, so many minutes each; with `keep`, what reached something new is put into the
/// corpus, and what reaches nothing of its own any more is taken out.
pub(crate) fn command(minutes: u64, targets: &[Target], keep: bool, address_sanitizer: bool) -> Result<bool> {
    let targets = if targets.is_empty() { Target::value_variants() } else { targets };
    if let Some(reason) = compiler()? {
        bail!(reason);
    }
    let programs = build(address_sanitizer, Duration::from_secs(1800))?;
    let time = Duration::from_secs(minutes.saturating_mul(60));
    let finished = run(&programs, targets, time, Way::On)?;
    if keep {
        for &target in targets {
            minimise(&programs, target)?;
        }
    }
    for (target, outcome) in finished.iter().filter(|(_, outcome)| !passed(outcome)) {
        eprintln!("{}: {}; the input is in {}", target.name(), outcome.reason, target.artifacts()?.display());
    }
    Ok(finished.iter().all(|(_, outcome)| passed(outcome)))
}

/// The smallest set that libFuzzer finds which still reaches every place that the corpus and the finds reach. Places only,
/// not how often or with which values: that would be thousands of files.
fn minimise(programs: &Path, target: Target) -> Result<()> {
    let corpus = target.corpus();
    let least = target.emptied("least")?;
    task(programs, target)?
        .args(["-set_cover_merge=1", "-use_counters=0", "-use_cmp=0"])
        .args([&least, &corpus, &target.found()?])
        .deadline(Duration::from_secs(1800))
        .step(&format!("the least corpus of {}", target.name()))?;
    fs::remove_dir_all(&corpus).with_context(|| format!("cannot remove {}", corpus.display()))?;
    made(corpus.clone())?;
    for entry in fs::read_dir(&least).with_context(|| format!("cannot read {}", least.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    fs::remove_dir_all(&least).with_context(|| format!("cannot remove {}", least.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "#5\tNEW    cov: 7 ft: 9\n#12\tDONE   cov: 31 ft: 40 corp: 3/9b\n\
                       stat::number_of_executed_units: 12\nstat::peak_rss_mb: 40\n";

    fn outcome(success: bool, text: &str) -> Outcome {
        Outcome { success, text: text.to_owned(), reason: String::new() }
    }

    #[test]
    fn figures_are_read_from_the_end_of_the_output() {
        assert_eq!(figure(END, "stat::number_of_executed_units"), 12);
        assert_eq!(edges(END), 31);
    }

    #[test]
    fn a_target_that_ran_nothing_has_not_passed() {
        assert!(passed(&outcome(true, END)));
        assert!(!passed(&outcome(false, END)));
        assert!(!passed(&outcome(true, "stat::number_of_executed_units: 0")));
        assert!(!passed(&outcome(true, "")));
    }

    #[test]
    fn each_target_has_a_program_and_a_corpus() {
        for target in Target::value_variants() {
            let program = workspace::root().join("fuzz/fuzz_targets").join(format!("{}.rs", target.name()));
            assert!(program.is_file(), "{}", program.display());
            assert!(target.corpus().read_dir().is_ok_and(|mut files| files.next().is_some()), "{target:?}");
        }
    }
}
