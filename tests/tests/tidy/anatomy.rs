//! Every connector's folder looks alike.

use crate::conclude;
use crate::workspace::{Layer, connectors, files, layer, packages, root};
use std::collections::BTreeSet;
use std::path::Path;

const FILES: &[&str] = &["Cargo.toml", "README.md", "config.example.yaml", "kinds.toml", "src/lib.rs"];
/// A module is a file or a folder of that name.
const MODULES: &[&str] = &["parse"];
/// How input comes in: at least one of them.
const INTAKES: &[&str] = &["webhook", "poll", "session", "fetch"];
const INPUTS: &[&str] = &["input.http", "input.json", "input.eml", "input.frames", "input.fetched"];

fn has_module(folder: &str, name: &str, all: &BTreeSet<String>) -> bool {
    all.contains(&format!("{folder}/src/{name}.rs")) || all.contains(&format!("{folder}/src/{name}/mod.rs"))
}

#[test]
fn a_connector_has_the_files_of_its_kind() {
    let all: BTreeSet<String> = files().into_iter().collect();
    let connectors = connectors();
    let mut faults = Vec::new();
    for connector in &connectors {
        let folder = &connector.folder;
        let name = folder.rsplit('/').next().unwrap_or("");
        if connector.name != format!("connector-{name}") {
            faults.push(format!("{folder}: the package is called {}, not connector-{name}", connector.name));
        }
        faults.extend(
            FILES
                .iter()
                .filter(|file| !all.contains(&format!("{folder}/{file}")))
                .map(|f| format!("{folder}/{f} is missing")),
        );
        faults.extend(
            MODULES.iter().filter(|m| !has_module(folder, m, &all)).map(|m| format!("{folder}/src/{m}.rs is missing")),
        );
        if !INTAKES.iter().any(|module| has_module(folder, module, &all)) {
            faults.push(format!("{folder}/src has none of {}", INTAKES.join(".rs, ") + ".rs"));
        }
    }
    conclude(connectors.len(), "connectors", faults);
}

/// Each case is one input, what it is about, and what it leads to.
#[test]
fn fixtures_are_whole() {
    let all = files();
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for connector in connectors() {
        let top = format!("{}/fixtures/", connector.folder);
        let below: Vec<&str> = all.iter().filter_map(|file| file.strip_prefix(&top)).collect();
        let cases: BTreeSet<&str> =
            below.iter().filter_map(|file| file.split_once('/')).map(|(case, _)| case).collect();
        if cases.is_empty() {
            faults.push(format!("{top} has no case"));
        }
        for case in cases {
            looked_at += 1;
            let has = |name: &str| below.contains(&format!("{case}/{name}").as_str());
            let inputs = INPUTS.iter().filter(|name| has(name)).count();
            if inputs != 1 {
                faults.push(format!("{top}{case} has {inputs} inputs, not one of {}", INPUTS.join(", ")));
            }
            for name in ["case.toml", "expected.json"].iter().filter(|name| !has(name)) {
                faults.push(format!("{top}{case}/{name} is missing"));
            }
        }
    }
    conclude(looked_at, "fixture cases", faults);
}

/// Every fixture that `kinds.toml` names exists, and every entry has a kind or the reason why not.
#[test]
fn kinds_name_their_fixtures() {
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for connector in connectors() {
        let path = root().join(&connector.folder).join("kinds.toml");
        let table: toml::Table = match std::fs::read_to_string(&path).map(|text| text.parse()) {
            Ok(Ok(table)) => table,
            Ok(Err(error)) => {
                faults.push(format!("{}: {error}", path.display()));
                continue;
            }
            // Its absence is the fault of another rule.
            Err(_) => continue,
        };
        let types = table.get("type").and_then(toml::Value::as_array);
        for entry in types.into_iter().flatten() {
            looked_at += 1;
            let name = entry.get("name").and_then(toml::Value::as_str).unwrap_or("?");
            let list = |key: &str| entry.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
            let place = format!("{}/kinds.toml: {name}", connector.folder);
            if list("kind").is_empty() && entry.get("skipped").is_none() {
                faults.push(format!("{place} has neither a kind nor a reason to be skipped"));
            }
            if !list("kind").is_empty() && list("fixtures").is_empty() {
                faults.push(format!("{place} is mapped, but no fixture shows it"));
            }
            for fixture in list("fixtures").iter().filter_map(toml::Value::as_str) {
                if !root().join(&connector.folder).join("fixtures").join(fixture).is_dir() {
                    faults.push(format!("{place}: there is no fixture '{fixture}'"));
                }
            }
        }
    }
    conclude(looked_at, "event types", faults);
}

/// A folder with the signs of a connector is in the list; what is not in the list has none of them.
#[test]
fn every_connector_is_in_the_list() {
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for package in packages().iter().filter(|p| p.folder.starts_with("connectors/")) {
        looked_at += 1;
        let folder = root().join(&package.folder);
        let looks_like_one = folder.join("kinds.toml").exists() || folder.join("config.example.yaml").exists();
        if looks_like_one && layer(package) != Some(Layer::Connector) {
            faults.push(format!("{} looks like a connector, but connectors/all does not list it", package.folder));
        }
    }
    let folders = std::fs::read_dir(root().join("connectors")).expect("connectors/").flatten();
    for folder in folders.filter(|entry| entry.path().is_dir()) {
        looked_at += 1;
        if !Path::new(&folder.path()).join("Cargo.toml").exists() {
            faults.push(format!("{} is no package", folder.path().display()));
        }
    }
    conclude(looked_at, "folders of connectors/", faults);
}
