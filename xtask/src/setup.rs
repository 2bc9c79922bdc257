//! Sets up what a command needs and does not find: quick and silent when everything is there.

pub(crate) mod asterisk;
pub(crate) mod browser;
pub(crate) mod cargo_tools;
pub(crate) mod node;
pub(crate) mod schemathesis;
pub(crate) mod telephony;

use std::{env, fs::File, path::Path, time::Duration};

use anyhow::{Context, Result};

pub(crate) use browser::Browser;

use crate::{
    process::{Task, find_in, on_path},
    workspace,
};

/// Held while something is installed, so that two commands started side by side don't install into the same
/// place. Released when dropped.
#[must_use]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other command installs into this directory.
    pub(crate) fn acquire(dir: &Path) -> Result<Self> {
        let path = dir.join(".lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("  waiting for another command that is setting up ({})", path.display());
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self { _file: file })
    }
}

/// Everything that any command needs, except what `test stack`, `test interop`, `test asterisk`, `test proxy` and `test deny`
/// alone need.
pub(crate) fn all() -> Result<()> {
    cargo_tools::wasm_target()?;
    cargo_tools::components()?;
    let bindgen = cargo_tools::wasm_bindgen()?;
    let pack = cargo_tools::wasm_pack()?;
    node::modules()?;
    let browser = browser::find_or_install()?;
    println!("wasm-bindgen   {}", bindgen.display());
    println!("wasm-pack      {}", pack.display());
    println!("browser        {} ({})", browser.chrome.display(), browser.version);
    println!("chromedriver   {}", browser.driver.display());
    Ok(())
}

/// `ip`, which brings the loopback interface of a network namespace up; without it, and without the right to
/// install it, suites run on the host's network.
pub(crate) fn ip_command() -> Result<()> {
    if cfg!(target_os = "linux")
        && find_in(&telephony::path(), "ip").is_none()
        && let Some(apt) = apt()
    {
        apt_install(&apt, &["iproute2"])?;
    }
    Ok(())
}

/// Makes sure that a program is there which a Debian package of one program holds. `Some(reason)` where it is not and
/// can't be installed.
pub(crate) fn program(name: &str, package: &str) -> Result<Option<String>> {
    if on_path(&[name]).is_some() {
        return Ok(None);
    }
    let Some(apt) = apt() else {
        return Ok(Some(format!("{name} not found, and it can't be installed here")));
    };
    apt_install(&apt, &[package])?;
    let still = on_path(&[name]).is_none();
    Ok(still.then(|| format!("{name} not found although apt-get installed {package}")))
}

/// Whether this runs on a CI machine, where a suite that can't run is a failure.
pub(crate) fn on_ci() -> bool {
    env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}

/// How to run apt-get here: as root or by a sudo that asks nothing. `None` where there is no apt or no right to
/// use it.
fn apt() -> Option<Task> {
    on_path(&["apt-get"])?;
    let apt = if is_root() {
        Task::new("apt-get")
    } else if Task::new("sudo").args(["-n", "true"]).read().is_ok() {
        Task::new("sudo").args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
    } else {
        return None;
    };
    Some(apt.env("DEBIAN_FRONTEND", "noninteractive").deadline(Duration::from_secs(1200)))
}

/// Whether this is Debian itself. Ubuntu's chromium package only points to a snap, so its kin do not count.
fn on_debian() -> bool {
    std::fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian(&text))
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line.trim() == "ID=debian")
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// Installs Debian packages, without what they merely recommend.
fn apt_install(apt: &Task, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let install = apt.clone().args(["install", "-y", "--no-install-recommends"]).args(packages);
    let _lock = Lock::acquire(&workspace::cache()?)?;
    // A list of packages that is there and fresh enough saves a minute; one that isn't makes the first try fail.
    if install.step(&format!("apt-get install {names}")).is_err() {
        apt.clone().arg("update").step("apt-get update")?;
        install.step(&format!("apt-get install {names}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_itself_has_a_chromium_package() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }
}
