//! The gateway never names a provider.

use crate::conclude;
use crate::source::Source;
use crate::workspace::{connectors, root, rust_files};

/// The name under which a connector registers: the constant `NAME` of its kind.
fn registered_name(folder: &str) -> Option<String> {
    for (_, text) in rust_files(&format!("{folder}/src")) {
        let source = Source::read(&text);
        let line = source.code.lines().position(|line| line.trim_start().starts_with("const NAME"))? + 1;
        if let Some((_, name)) = source.strings.iter().find(|(at, _)| *at == line) {
            return Some(name.clone());
        }
    }
    None
}

fn names() -> Vec<String> {
    let folders = connectors().into_iter().map(|c| &c.folder);
    // A connector that is not written yet has its folder's name.
    folders.map(|f| registered_name(f).unwrap_or_else(|| f.rsplit('/').next().unwrap_or(f).to_owned())).collect()
}

#[test]
fn no_string_of_the_gateway_is_a_connectors_name() {
    let names = names();
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for (file, text) in rust_files("gateway") {
        for (line, string) in Source::read(&text).strings {
            looked_at += 1;
            if names.contains(&string) {
                faults.push(format!("{file}:{line}: \"{string}\""));
            }
        }
    }
    assert!(!names.is_empty(), "no connector is registered");
    conclude(looked_at, "strings", faults);
}

/// A connector's name, its folder's name and its package's name are one.
#[test]
fn a_connector_is_called_as_its_folder() {
    let all = connectors();
    let faults = all
        .iter()
        .filter_map(|c| Some((c, registered_name(&c.folder)?)))
        .filter(|(c, name)| !root().join("connectors").join(name).ends_with(&c.folder))
        .map(|(c, name)| format!("{} registers as '{name}'", c.folder))
        .collect();
    conclude(all.len(), "connectors", faults);
}
