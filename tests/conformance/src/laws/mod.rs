//! The laws, numbered as in `docs/adding-a-connector.md`, and which of them is run over what.

mod golden;

use std::sync::Arc;

use connector_sdk::{Entry, fixture};
use libtest_mimic::Trial;

use crate::folder::Folder;
use crate::subject::Subject;
use crate::{Verdict, trial};

/// A law over one case.
type CaseLaw = fn(&Subject) -> Verdict;

/// Laws that every case obeys.
const CASE_LAWS: &[(&str, CaseLaw)] = &[("golden", golden::golden)];

/// The tests of one connector.
pub(crate) fn trials(entry: &Entry) -> Vec<Trial> {
    let name = entry.name;
    let folder = match Folder::open(entry) {
        Ok(folder) => Arc::new(folder),
        Err(error) => return vec![trial(format!("{name}::folder"), move || Err(error))],
    };
    let cases = match fixture::cases(folder.fixtures) {
        Ok(cases) if cases.is_empty() => Err("fixtures/ holds no case: nothing was tested".to_owned()),
        other => other,
    };
    let cases = match cases {
        Ok(cases) => cases,
        Err(error) => return vec![trial(format!("{name}::fixtures"), move || Err(error))],
    };
    let mut trials = Vec::new();
    for case in cases {
        let subject = Subject { folder: folder.clone(), case: Arc::new(case) };
        for (law, test) in CASE_LAWS {
            let subject = subject.clone();
            trials.push(trial(format!("{name}::{}::{law}", subject.case.name), move || test(&subject)));
        }
    }
    trials
}
