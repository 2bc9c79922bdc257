//! What the tests print and log is kept, and searched for what must never stand in a log: secrets and whole telephone
//! numbers.

use std::{fs, path::PathBuf, sync::OnceLock};

use anyhow::{Context, Result};

use crate::{suites::Suite, workspace};

/// Names the directory in which tests leave their own logs and those of the servers that they start.
const VARIABLE: &str = "TEST_LOGS";

/// How the names of files end, among the logs of a suite, that list secrets, one a line; not searched themselves.
const SECRETS: &str = "secrets.txt";

/// E.164 numbers have up to 15 digits; with fewer than 8 it is a country code, a time zone or a difference.
const NUMBER_DIGITS: usize = 8;

/// The lane of this process, where there are two.
static LANE: OnceLock<usize> = OnceLock::new();

/// From now on the logs of this process are in a directory of this lane's, within the suite's.
pub(crate) fn keep_apart(lane: usize) {
    LANE.get_or_init(|| lane);
}

/// Where the logs of a suite are.
pub(crate) fn dir(suite: Suite) -> Result<PathBuf> {
    let mut dir = workspace::scratch()?.join("logs").join(suite.name());
    if let Some(lane) = LANE.get() {
        dir.push(format!("lane-{lane}"));
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Where the sandbox of a suite lists its secrets.
pub(crate) fn secrets_file(suite: Suite) -> Result<PathBuf> {
    Ok(dir(suite)?.join(SECRETS))
}

/// What tells tests where to log.
pub(crate) fn environment(suite: Suite) -> Result<(&'static str, PathBuf)> {
    Ok((VARIABLE, dir(suite)?))
}

/// Removes the logs of the last run. Returns the file for what is shown of this one.
pub(crate) fn begin(suite: Suite) -> Result<PathBuf> {
    let dir = dir(suite)?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(self::dir(suite)?.join("output.log"))
}

/// Searches the logs of a suite. Each find is named without being repeated.
pub(crate) fn search(suite: Suite) -> Result<Vec<String>> {
    let dir = dir(suite)?;
    let mut finds = Vec::new();
    let mut files = workspace::files_below(&dir)?;
    let lists = files.extract_if(.., |file| file.to_string_lossy().ends_with(SECRETS));
    let secrets =
        lists.map(fs::read_to_string).collect::<Result<String, _>>().context("a list of secrets")?;
    let secrets: Vec<&str> = secrets.lines().filter(|line| !line.is_empty()).collect();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let name = file.strip_prefix(&dir).unwrap_or(&file).display().to_string();
        for (at, line) in text.lines().enumerate() {
            if let Some(what) = leak(line, &secrets) {
                finds.push(format!("{name}:{}: {what}", at + 1));
            }
        }
    }
    Ok(finds)
}

/// What a line of a log should not hold.
fn leak(line: &str, secrets: &[&str]) -> Option<&'static str> {
    if secrets.iter().any(|secret| line.contains(secret)) {
        return Some("a secret of the sandbox");
    }
    if after(line, "eyJ").any(|rest| run(rest, is_token) >= 10 && rest.contains(".eyJ")) {
        return Some("a JSON web token");
    }
    if after(line, "Basic ").any(|rest| run(rest, is_token) >= 12 && rest.bytes().any(|b| b == b'=')) {
        return Some("a Basic header");
    }
    if ["/hooks/v/", "/hooks/h/", "/hooks/incoming/"]
        .iter()
        .any(|path| after(line, path).any(|rest| run(rest, is_token) >= 16))
    {
        return Some("the secret path of a webhook");
    }
    if after(line, "+").any(|rest| (NUMBER_DIGITS..=15).contains(&run(rest, |b| b.is_ascii_digit()))) {
        return Some("a whole telephone number");
    }
    None
}

/// What follows each occurrence.
fn after<'a>(line: &'a str, what: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(what).filter_map(move |(at, _)| line.get(at + what.len()..))
}

fn run(text: &str, fits: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| fits(*byte)).count()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_logged_is_found() {
        let secrets = ["hunter2-of-the-sandbox"];
        for (line, what) in [
            ("password hunter2-of-the-sandbox", "a secret of the sandbox"),
            ("authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.x", "a JSON web token"),
            ("Authorization: Basic dTAxMjM0NTY3ODk6cGFzcw==", "a Basic header"),
            ("POST /hooks/v/0123456789abcdefABCDEF-_", "the secret path of a webhook"),
            ("dialled +46701234567", "a whole telephone number"),
        ] {
            assert_eq!(leak(line, &secrets), Some(what), "{line}");
        }
    }

    #[test]
    fn what_may_be_logged_is_not() {
        for line in [
            "dialled +46…67",
            "POST /hooks/v/{token}",
            "Authorization: Bearer (redacted)",
            "test result: ok. 12 passed; finished in 0.01s",
            "2026-01-01T00:00:00+0200",
            "Basic authentication is refused",
            "c0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(leak(line, &["secret"]), None, "{line}");
        }
    }
}
