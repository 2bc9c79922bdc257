//! The development tools that come from npm: wasm-opt, the TypeScript compiler, playwright, and the phones that
//! this one is compared with.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use super::Lock;
use crate::{
    process::{Task, on_path},
    workspace::{self, fingerprint, read_stamp, root},
};

/// Node, which runs every tool that npm brings.
pub(crate) fn node() -> Result<PathBuf> {
    match on_path(&["node"]) {
        Some(node) => Ok(node),
        None => bail!("there is no `node` on PATH: install Node.js 20 or later (https://nodejs.org)"),
    }
}

/// npm is a script, which on Windows must be named in full.
fn npm() -> Task {
    Task::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// Runs a program of a package from the registry without adding it to the project.
pub(crate) fn npx(package: &str) -> Task {
    Task::new(if cfg!(windows) { "npx.cmd" } else { "npx" }).args(["--yes", package])
}

/// Installs exactly what package-lock.json says, if that is not what is installed.
pub(crate) fn modules() -> Result<()> {
    node()?;
    let lock = fs::read(root().join("package-lock.json")).context("cannot read package-lock.json")?;
    let wanted = fingerprint(&[&lock]);
    // Inside node_modules, so that whoever removes it removes the stamp too.
    let stamp = root().join("node_modules").join(".xtask-stamp");
    if read_stamp(&stamp) == wanted {
        return Ok(());
    }
    let _lock = Lock::acquire(&workspace::scratch()?)?;
    if read_stamp(&stamp) == wanted {
        return Ok(());
    }
    npm()
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .deadline(Duration::from_secs(900))
        .step("npm ci (development tools)")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// A program of an installed package, run by node itself: the shims in `.bin` differ between systems.
pub(crate) fn program(package: &str, path: &str) -> Result<Task> {
    let script = root().join("node_modules").join(package).join(path);
    if !script.is_file() {
        bail!("{} is missing; remove node_modules and try again", script.display());
    }
    Ok(Task::new(node()?).arg(script))
}
