//! A Chromium or Chrome and a chromedriver that fits it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};

use super::{Lock, apt, apt_install, node, on_debian};
use crate::{
    process::{Task, on_path},
    workspace,
};

/// Fetches browsers where the system has no package of one.
const PUPPETEER_BROWSERS: &str = "@puppeteer/browsers@3.2.6";

/// A browser with the driver that fits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Browser {
    pub(crate) chrome: PathBuf,
    pub(crate) driver: PathBuf,
    /// What the browser says its version is.
    pub(crate) version: String,
}

/// Finds a browser and its driver on this machine, in the cache, or gets them.
///
/// `CHROME` and `CHROMEDRIVER` in the environment go before everything else.
pub(crate) fn find_or_install() -> Result<Browser> {
    if let Some(browser) = find() {
        return Ok(browser);
    }
    let mut tried = Vec::new();
    if on_debian()
        && let Some(apt) = apt()
    {
        match apt_install(&apt, &["chromium", "chromium-driver"]) {
            Ok(()) => match find() {
                Some(browser) => return Ok(browser),
                None => tried
                    .push("apt-get installed chromium, but it is not on PATH, or does not run".to_owned()),
            },
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    match fetch() {
        Ok(browser) => return Ok(browser),
        Err(error) => tried.push(format!("{error:#}")),
    }
    bail!(
        "there is no Chrome or Chromium with a chromedriver of the same version here, and none could be \
         installed. Install both (Debian: `apt-get install chromium chromium-driver`), put them on PATH or name \
         them in CHROME and CHROMEDRIVER.\n{}",
        tried.join("\n")
    )
}

/// The browser and driver that are here already, if they fit each other.
pub(crate) fn find() -> Option<Browser> {
    let (chrome, version) = chromes().into_iter().find_map(|chrome| {
        let version = version_of(&chrome)?;
        Some((chrome, version))
    })?;
    let driver = drivers().into_iter().find(|driver| {
        let theirs = version_of(driver);
        theirs.as_deref().and_then(major) == major(&version)
    })?;
    Some(Browser { chrome, driver, version })
}

fn chromes() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = env::var_os("CHROME").map(PathBuf::from).into_iter().collect();
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome-stable",
        "google-chrome",
        "google-chrome-beta",
        "chrome",
    ];
    found.extend(names.iter().filter_map(|name| on_path(&[name])));
    let fixed: Vec<PathBuf> = if cfg!(target_os = "macos") {
        vec![
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome".into(),
            "/Applications/Chromium.app/Contents/MacOS/Chromium".into(),
        ]
    } else if cfg!(windows) {
        ["ProgramFiles", "ProgramFiles(x86)", "LocalAppData"]
            .iter()
            .filter_map(env::var_os)
            .map(|dir| Path::new(&dir).join("Google").join("Chrome").join("Application").join("chrome.exe"))
            .collect()
    } else {
        Vec::new()
    };
    found.extend(fixed);
    found.extend(cached("chrome"));
    found.retain(|path| path.is_file());
    found
}

fn drivers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = env::var_os("CHROMEDRIVER").map(PathBuf::from).into_iter().collect();
    found.extend(on_path(&["chromedriver", "chromium.chromedriver"]));
    found.extend(cached("chromedriver"));
    found.retain(|path| path.is_file());
    found
}

/// Asks a program for its version, and remembers the answer for as long as the file stays the same: starting a
/// browser takes a good part of a second.
fn version_of(program: &Path) -> Option<String> {
    let changed = fs::metadata(program).and_then(|file| file.modified()).ok()?;
    let changed = changed.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let key = format!("{} {changed}", program.display());
    let note = workspace::scratch().ok()?.join("browser-versions");
    let known = workspace::read_stamp(&note);
    if let Some(version) = known.lines().find_map(|line| line.strip_prefix(&key)?.strip_prefix('\t')) {
        return Some(version.to_owned());
    }
    let version = ask_version(program)?;
    // The note only saves time; where it can't be written, the question is asked again.
    drop(fs::write(note, format!("{known}{key}\t{version}\n")));
    Some(version)
}

fn ask_version(program: &Path) -> Option<String> {
    let deadline = Duration::from_secs(20);
    // On Windows chrome.exe shows a window instead of answering, so the file itself is asked.
    let said = if cfg!(windows) && program.ends_with("chrome.exe") {
        let ask = format!("(Get-Item '{}').VersionInfo.ProductVersion", program.display());
        Task::new("powershell").args(["-NoProfile", "-Command", &ask]).deadline(deadline).read()
    } else {
        Task::new(program).arg("--version").deadline(deadline).read()
    };
    version_in(&said.ok()?)
}

fn version_in(said: &str) -> Option<String> {
    said.split_whitespace()
        .find(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
}

fn major(version: &str) -> Option<&str> {
    version.split('.').next()
}

/// Where an earlier run noted a program that it had fetched into the cache.
fn note_of(product: &str) -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("{product}.path")))
}

fn cached(product: &str) -> Option<PathBuf> {
    let path = fs::read_to_string(note_of(product).ok()?).ok()?;
    Some(PathBuf::from(path.trim()))
}

fn fetch() -> Result<Browser> {
    let chrome = match chromes().into_iter().find(|chrome| version_of(chrome).is_some()) {
        Some(chrome) => chrome,
        None => fetch_product("chrome", "stable")?,
    };
    let version = version_of(&chrome)
        .ok_or_else(|| anyhow!("{} does not start; is a library missing?", chrome.display()))?;
    let driver = match find() {
        Some(browser) => browser.driver,
        None => fetch_product("chromedriver", major(&version).unwrap_or("stable"))?,
    };
    Ok(Browser { chrome, driver, version })
}

fn fetch_product(product: &str, version: &str) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let _lock = Lock::acquire(&cache)?;
    eprintln!("  fetching {product} {version}");
    let said = node::npx(PUPPETEER_BROWSERS)
        .args(["install", &format!("{product}@{version}"), "--path"])
        .arg(&cache)
        .deadline(Duration::from_secs(900))
        .read()?;
    let path = installed_path(&said, product)
        .ok_or_else(|| anyhow!("{PUPPETEER_BROWSERS} did not say where it put {product}:\n{said}"))?;
    let note = note_of(product)?;
    fs::write(&note, path.display().to_string())
        .with_context(|| format!("cannot write {}", note.display()))?;
    Ok(path)
}

/// `chrome@138.0.7204.94 /path/to/chrome`, the last such line.
fn installed_path(said: &str, product: &str) -> Option<PathBuf> {
    let start = format!("{product}@");
    let line = said.lines().rev().find(|line| line.starts_with(&start))?;
    line.split_once(' ').map(|(_, path)| PathBuf::from(path.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_browsers_and_drivers_say() {
        let chromium = version_in("Chromium 156.0.7204.94 built on Debian 12").unwrap();
        let driver = version_in("ChromeDriver 156.0.7204.10 (abc-refs/branch-heads/7204@{#1})").unwrap();
        assert_eq!(chromium, "156.0.7204.94");
        assert_eq!(major(&chromium), major(&driver));
        assert_eq!(version_in("no version"), None);
    }

    #[test]
    fn the_installed_path_may_hold_spaces() {
        let said = "Downloading...\nchrome@138.0.1 /home/a b/chrome\n";
        assert_eq!(installed_path(said, "chrome"), Some(PathBuf::from("/home/a b/chrome")));
        assert_eq!(installed_path(said, "chromedriver"), None);
    }
}
