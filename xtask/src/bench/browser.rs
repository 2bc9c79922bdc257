//! What is measured in a browser: the release build beside JsSIP and SIP.js. The scripts are in `tests/bench`.

use std::{
    path::{self, Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    isolation, package,
    process::Task,
    setup::{self, browser, node},
    workspace,
};

/// The most that all parts may take; the usual is some minutes.
const LIMIT: Duration = Duration::from_secs(3600);

/// How the parts are measured.
pub(super) struct Choices<'a> {
    pub(super) beside: Option<&'a Path>,
    pub(super) rounds: Option<u32>,
    pub(super) write: bool,
}

/// Builds what is out of date, measures and prints tables.
pub(super) fn run(parts: &[&str], choices: &Choices<'_>) -> Result<()> {
    package::build()?;
    let mut script = script()?;
    if let Some(beside) = choices.beside {
        if !beside.join(package::ENTRY).is_file() {
            bail!("{} is not a build of the package", beside.display());
        }
        script = script.arg("--beside").arg(absolute(beside)?);
    }
    if let Some(rounds) = choices.rounds {
        script = script.args(["--rounds", &rounds.to_string()]);
    }
    if choices.write {
        script = script.arg("--write");
    }
    script.args(parts).run()
}

/// Writes where the time of a message goes, function by function.
pub(super) fn profile(file: &Path) -> Result<()> {
    let named = package::named_package()?;
    script()?.env("PACKAGE_DIR", named).arg("--profile").arg(absolute(file)?).run()
}

/// The script, in a namespace of its own where there can be one: nothing that is measured needs a network.
fn script() -> Result<Task> {
    let browser = browser::find_or_install()?;
    node::modules()?;
    setup::ip_command()?;
    let (node, _) = isolation::program(&node::node()?, None);
    Ok(node
        .arg(workspace::root().join("tests").join("bench").join("run.mjs"))
        .env("CHROMIUM", browser.chrome)
        .deadline(LIMIT))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))
}
