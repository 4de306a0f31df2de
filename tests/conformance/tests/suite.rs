//! The suite itself: a good connector passes every law, and each broken copy fails the law that it breaks.

mod sample;

use std::collections::BTreeMap;

use connector_sdk::Entry;
use sample::{DEFECTS, entry};

/// Failures, by name, of the tests that end so.
fn failures(entry: Entry, law: &str) -> BTreeMap<String, String> {
    let tests = inlet_conformance::tests(&[entry]).into_iter().filter(|test| test.name.ends_with(law));
    tests.filter_map(|test| Some((test.name.clone(), test.run().err()?))).collect()
}

#[test]
fn a_good_connector_passes() {
    let failed = failures(entry::<0>(), "");
    assert!(failed.is_empty(), "{}", failed.iter().map(|(name, why)| format!("{name}: {why}\n")).collect::<String>());
}

#[test]
fn each_defect_is_noticed_by_its_law() {
    for (defect, law) in DEFECTS {
        let failed = failures(broken(*defect), &format!("::{law}"));
        assert!(!failed.is_empty(), "defect {defect} must fail {law}");
    }
}

fn broken(defect: u8) -> Entry {
    let all = [
        entry::<1>(),
        entry::<2>(),
        entry::<3>(),
        entry::<4>(),
        entry::<5>(),
        entry::<6>(),
        entry::<7>(),
        entry::<8>(),
        entry::<9>(),
        entry::<10>(),
        entry::<11>(),
        entry::<12>(),
        entry::<13>(),
        entry::<14>(),
        entry::<15>(),
        entry::<16>(),
    ];
    all[usize::from(defect) - 1]
}

#[test]
fn nothing_to_test_fails() {
    let tests = inlet_conformance::tests(&[]);
    assert_eq!(tests.len(), 1);
    assert!(tests.into_iter().all(|test| test.run().is_err()));
}
