//! The Rust side: the wasm32 target, rustfmt and clippy, and tools that cargo builds into the cache.

use std::{
    env::consts::EXE_SUFFIX,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::Lock;
use crate::{
    process::{Task, on_path},
    workspace,
};

/// What the portable half and the browser half are compiled to.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Runs wasm tests; `--mode no-install` keeps it from downloading anything.
const WASM_PACK: &str = "0.15.1";

/// Checks licences, sources and duplicates.
const CARGO_DENY: &str = "0.20.2";

/// The standard library for wasm.
pub(crate) fn wasm_target() -> Result<()> {
    let libdir = Task::new("rustc").args(["--print", "target-libdir", "--target", WASM]).read()?;
    if Path::new(libdir.trim()).is_dir() {
        return Ok(());
    }
    if on_path(&["rustup"]).is_none() {
        bail!(
            "this Rust has no standard library for {WASM}, and there is no rustup to add it. Install the \
             package of your system that holds it (Debian: libstd-rust-dev-wasm32, Fedora: \
             rust-std-static-wasm32-unknown-unknown), or use rustup (https://rustup.rs)"
        );
    }
    Task::new("rustup").args(["target", "add", WASM]).step(&format!("rustup target add {WASM}"))
}

/// Whether there is the source of the standard library, from which the package builds its own, smaller one.
pub(crate) fn std_source() -> Result<bool> {
    let sysroot = Task::new("rustc").args(["--print", "sysroot"]).read()?;
    let lock = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
    if !lock.is_file() && on_path(&["rustup"]).is_some() {
        let added =
            Task::new("rustup").args(["component", "add", "rust-src"]).step("rustup component add rust-src");
        if let Err(error) = added {
            eprintln!("  {error:#}");
        }
    }
    if !lock.is_file() {
        eprintln!("  no source of the standard library: the package will be some 10 % larger");
    }
    Ok(lock.is_file())
}

/// rustfmt and clippy, which rustup's minimal profile leaves out.
pub(crate) fn components() -> Result<()> {
    for (tool, component) in [("rustfmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        // A proxy of rustup is there even when the component isn't, so only running it tells.
        if Task::new(tool).arg("--version").read().is_err() {
            Task::new("rustup")
                .args(["component", "add", component])
                .step(&format!("rustup component add {component}"))?;
        }
    }
    Ok(())
}

/// The directory of `wasm-bindgen`, in exactly the version that Cargo.lock has: the format between the crate and
/// its command line tool changes with every release.
pub(crate) fn wasm_bindgen() -> Result<PathBuf> {
    let version = workspace::locked_version("wasm-bindgen")?;
    tool("wasm-bindgen", "wasm-bindgen-cli", &version)
}

/// The directory of `wasm-pack`.
pub(crate) fn wasm_pack() -> Result<PathBuf> {
    tool("wasm-pack", "wasm-pack", WASM_PACK)
}

/// The directory of `cargo-deny`.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    tool("cargo-deny", "cargo-deny", CARGO_DENY)
}

/// Finds a tool in the cache, or in this very version on PATH, or builds it into the cache.
fn tool(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let home = cache.join(format!("{name}-{version}"));
    let bin = home.join("bin");
    let program = bin.join(format!("{name}{EXE_SUFFIX}"));
    if program.is_file() {
        return Ok(bin);
    }
    if let Some(found) = on_path(&[name])
        && Task::new(&found).arg("--version").read().is_ok_and(|said| says_version(&said, version))
        && let Some(dir) = found.parent()
    {
        return Ok(dir.to_owned());
    }
    let _lock = Lock::acquire(&cache)?;
    if program.is_file() {
        return Ok(bin);
    }
    // Built quickly rather than to run quickly: each tool works for a second at a time.
    let built = cache.join("build").join(format!("{name}-{version}"));
    Task::cargo()
        .args(["install", package, "--version", &format!("={version}"), "--root"])
        .arg(&home)
        .arg("--target-dir")
        .arg(&built)
        .dir(&cache)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        // What cargo sets for this tool itself must not steer another build.
        .without_env("RUSTFLAGS")
        .without_env("CARGO_TARGET_DIR")
        .without_env("CARGO_BUILD_TARGET")
        .deadline(Duration::from_secs(1800))
        .step(&format!("building {name} {version} (once per machine, some minutes)"))?;
    fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))?;
    Ok(bin)
}

fn says_version(said: &str, version: &str) -> bool {
    said.split_whitespace().any(|word| word == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_counts_only_in_the_very_version() {
        assert!(says_version("wasm-bindgen 0.2.130\n", "0.2.130"));
        assert!(says_version("wasm-bindgen 0.2.130 (abc)", "0.2.130"));
        assert!(!says_version("wasm-bindgen 0.2.13", "0.2.130"));
        assert!(!says_version("wasm-bindgen 0.2.1301", "0.2.130"));
    }
}
