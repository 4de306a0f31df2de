//! The delivery contract: each of its ids has tests that carry it in their name, and the table names tests that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::root;

const IDS: std::ops::RangeInclusive<u32> = 1..=15;
const FOLDERS: &[&str] = &["gateway", "connectors", "schemas", "tests"];

/// The ids at the beginning of a test's name: `d1_d2_a_crash` → 1, 2.
fn ids(name: &str) -> Vec<u32> {
    name.split('_').map_while(|part| part.strip_prefix('d')?.parse().ok()).collect()
}

/// The names of all test functions of the Rust files below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            found.extend(tests_in(&text));
        }
    }
}

fn tests_in(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or(line.strip_prefix("fn ")).filter(|_| is_test) {
            found.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            is_test = false;
        }
    }
    found
}

fn all_tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    FOLDERS.iter().for_each(|folder| tests_below(&root().join(folder), &mut found));
    found
}

/// By id, what the row of the contract's table names.
fn rows() -> BTreeMap<u32, Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/delivery.md")).expect("is there");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| D")?.split(" | ");
        let id = cells.next()?.trim().parse().ok()?;
        let names = cells.nth(1)?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some((id, names))
    });
    rows.collect()
}

#[test]
fn each_promise_has_tests_and_the_table_names_real_ones() {
    let (tests, rows) = (all_tests(), rows());
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    assert!(rows.keys().copied().eq(IDS), "the table has the ids {:?}", rows.keys());
    let mut faults = Vec::new();
    for (id, names) in &rows {
        if !tests.iter().any(|test| ids(test).contains(id)) {
            faults.push(format!("no test's name begins with d{id}_"));
        }
        if names.is_empty() {
            faults.push(format!("the row of D{id} names no test"));
        }
        faults
            .extend(names.iter().filter(|name| !tests.contains(*name)).map(|name| format!("there is no test {name}")));
        let strange = names.iter().filter(|name| !ids(name).contains(id));
        faults.extend(strange.map(|name| format!("{name} does not carry d{id}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn test_functions_are_found_by_their_attribute() {
    let text = "#[test]\nfn d1_d12_a() {}\nfn helper() {}\n#[tokio::test(start_paused = true)]\nasync fn b() {}\n";
    assert_eq!(tests_in(text), ["d1_d12_a", "b"]);
    assert_eq!(ids("d1_d12_a_d3"), [1, 12]);
    assert!(ids("delivery_d1").is_empty());
}
