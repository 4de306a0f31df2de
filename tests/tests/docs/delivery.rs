//! The delivery contract: each of its ids has tests that carry it in their name, and the table names tests that exist; and
//! each has a mutant (`tests/mutants`) whose test is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{check_part, root};

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

/// A patch that removes a behaviour: its file's name, what it removes, and the test that has to fail then.
struct Mutant {
    name: String,
    behaviour: String,
    test: String,
}

fn mutants() -> Vec<Mutant> {
    let entries = std::fs::read_dir(root().join("tests/mutants")).expect("is there");
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    let patches = paths.filter(|path| path.extension().is_some_and(|extension| extension == "patch"));
    let mut mutants: Vec<_> = patches.map(|path| mutant(&path)).collect();
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    mutants
}

fn mutant(path: &Path) -> Mutant {
    let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a patch is text");
    let header = |field: &str| {
        let lines = text.lines().take_while(|line| !line.starts_with("diff "));
        let value = lines.filter_map(|line| line.strip_prefix(field)).next();
        value.unwrap_or_else(|| panic!("{name} has no line '{field}'")).trim().to_owned()
    };
    let test = header("Test:").rsplit(' ').next().expect("names a test").to_owned();
    Mutant { behaviour: header("Behaviour:"), test, name }
}

#[test]
fn each_promise_has_a_mutant_and_the_table_lists_them() {
    let (tests, mutants) = (all_tests(), mutants());
    let mut missing: BTreeSet<u32> = IDS.collect();
    let mut faults = Vec::new();
    let mut table = String::from("| mutant | behaviour that it removes | test that fails then |\n|---|---|---|\n");
    for Mutant { name, behaviour, test } in &mutants {
        let id = name.get(1..3).and_then(|digits| digits.parse().ok()).filter(|id| IDS.contains(id));
        match id.filter(|_| name.starts_with('d')) {
            Some(id) if ids(test).contains(&id) => _ = missing.remove(&id),
            Some(id) => faults.push(format!("{name}: {test} does not carry d{id}")),
            None => faults.push(format!("{name} begins with no promise's id (d01-…)")),
        }
        if !tests.contains(test) {
            faults.push(format!("{name}: there is no test {test}"));
        }
        table += &format!("| `{name}` | {behaviour} | `{test}` |\n");
    }
    faults.extend(missing.iter().map(|id| format!("D{id} has no mutant")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    check_part("docs/delivery.md", "mutants", &table);
}

#[test]
fn test_functions_are_found_by_their_attribute() {
    let text = "#[test]\nfn d1_d12_a() {}\nfn helper() {}\n#[tokio::test(start_paused = true)]\nasync fn b() {}\n";
    assert_eq!(tests_in(text), ["d1_d12_a", "b"]);
    assert_eq!(ids("d1_d12_a_d3"), [1, 12]);
    assert!(ids("delivery_d1").is_empty());
}
