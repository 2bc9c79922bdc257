//! What the README and the files for operators say agrees with the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

/// All Rust of a directory and those below it.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// Each row of the threat table names tests, and they exist.
#[test]
fn the_tests_of_the_threat_table_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = sources(&root.join("src")) + &sources(&root.join("tests"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let table = readme.split("| Threat |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test in: {row}");
        for name in names {
            let name = name.rsplit("::").next().unwrap();
            assert!(name == "*" || code.contains(&format!("fn {name}(")), "no test {name}");
        }
    }
}

/// The unit hands the service every secret that the example's settings name, and no other.
#[test]
fn the_unit_has_the_credentials_of_the_example() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let example = fs::read_to_string(deploy.join("config.example.toml")).unwrap();
    let unit = fs::read_to_string(deploy.join("wasm-softphone-proxy.service")).unwrap();
    let settings = example.lines().filter(|line| !line.starts_with('#'));
    let mut named: Vec<&str> = settings
        .filter_map(|line| line.split_once("/run/credentials/wasm-softphone-proxy.service/"))
        .map(|(_, name)| name.trim_end_matches('"'))
        .collect();
    let mut loaded: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("LoadCredential="))
        .map(|credential| credential.split(':').next().unwrap())
        .collect();
    named.sort_unstable();
    loaded.sort_unstable();
    assert_eq!(named, loaded);
    assert_eq!(named.len(), 5);
}

/// The README offers Redis at a Unix socket; names are resolved over one on many machines.
#[test]
fn the_unit_allows_the_sockets_that_the_readme_offers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(root.join("deploy/wasm-softphone-proxy.service")).unwrap();
    let families = unit.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies=")).unwrap();
    assert!(fs::read_to_string(root.join("README.md")).unwrap().contains("redis+unix://"));
    assert!(families.split(' ').any(|family| family == "AF_UNIX"), "{families}");
}
