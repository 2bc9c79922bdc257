//! Schemathesis, which holds an HTTP server against its own OpenAPI description; in a Python environment of its own.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{Lock, apt, apt_install};
use crate::{
    process::{Task, on_path},
    workspace,
};

const VERSION: &str = "4.32.5";

/// What it runs on, of Debian: Python, and what makes environments.
const PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// The program, or the reason why it can't be had.
pub(crate) fn find_or_install() -> Result<Result<PathBuf, String>> {
    let cache = workspace::cache()?;
    let home = cache.join(format!("schemathesis-{VERSION}"));
    let program = home.join("bin").join("schemathesis");
    // Written last: an environment that was left half made does not count.
    let complete = home.join("complete");
    if complete.is_file() {
        return Ok(Ok(program));
    }
    if !has_venv() {
        match apt() {
            Some(apt) => apt_install(&apt, &PACKAGES)?,
            None => {
                return Ok(Err("Python 3 with venv not found, and it can't be installed here".to_owned()));
            }
        }
    }
    let _lock = Lock::acquire(&cache)?;
    if complete.is_file() {
        return Ok(Ok(program));
    }
    Task::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&home)
        .deadline(Duration::from_secs(120))
        .read()
        .context("python3 -m venv")?;
    Task::new(home.join("bin").join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", &format!("schemathesis=={VERSION}")])
        .deadline(Duration::from_secs(600))
        .step(&format!("pip install schemathesis {VERSION} (once per machine)"))?;
    fs::write(&complete, VERSION).with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(Ok(program))
}

fn has_venv() -> bool {
    on_path(&["python3"]).is_some()
        && Task::new("python3").args(["-c", "import venv, ensurepip"]).read().is_ok()
}
