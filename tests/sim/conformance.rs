//! `docs/rfc.md` and `docs/reliability.md` name tests: each of them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tests of a file or of all files below a folder, as `module::name`: the file's name and the function's.
fn collect(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), found);
        }
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let module = path.file_stem().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line == "#[wasm_bindgen_test]" {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name = rest.split('(').next().unwrap();
            found.insert(format!("{module}::{name}"));
            is_test = false;
        }
    }
}

#[test]
fn every_test_that_the_tables_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["tests/sim", "tests", "src"] {
        collect(&root.join(folder), &mut found);
    }
    // Names stand in backquotes and have a `::`.
    for (page, least) in [("docs/rfc.md", 50), ("docs/reliability.md", 20)] {
        let table = fs::read_to_string(root.join(page)).unwrap();
        let named: Vec<&str> =
            table.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(named.len() > least, "{}", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !found.contains(**name)).collect();
        assert!(missing.is_empty(), "{page} names tests that are not there: {missing:#?}");
    }
}

/// Each row says yes, partly or no; what is not a plain yes has a reason; and no row contradicts another.
#[test]
fn every_row_of_the_table_has_a_status() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/rfc.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| RFC"));
    let mut said = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        let (status, reason) = (cells[2], cells[2].split_once(": "));
        assert!(["yes", "partly", "no"].iter().any(|word| status.split(':').next() == Some(word)), "{row}");
        assert!(status == "yes" || reason.is_some_and(|(_, reason)| !reason.is_empty()), "{row}");
        assert!(!status.starts_with("yes") || cells[3].contains("::"), "a yes without a test: {row}");
        assert!(said.insert((cells[0], cells[1])), "it is said twice: {row}");
    }
    assert!(said.len() > 40, "{}", said.len());
}
