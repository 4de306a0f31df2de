//! What the connectors' fixtures expect are events of this schema.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common;

/// `expected.json` of every case below `connectors/`.
fn expected(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            expected(&path, found);
        } else if path.file_name().is_some_and(|name| name == "expected.json") {
            found.push(path);
        }
    }
}

#[test]
fn expected_events_validate_and_round_trip() {
    let mut files = Vec::new();
    expected(&common::root().join("../connectors"), &mut files);
    files.sort();
    let validator = common::validator();
    let mut events = 0;
    for path in files {
        let outcome = common::read(&path);
        for (index, event) in outcome["events"].as_array().into_iter().flatten().enumerate() {
            events += 1;
            if let Some(fault) = common::fault(&validator, event) {
                panic!("{} events[{index}]: {fault}", path.display());
            }
        }
    }
    assert!(events > 0, "no fixture expects an event");
}
