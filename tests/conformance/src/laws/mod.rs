//! The laws, and which of them is run over what.
//!
//! Law 9, the driver contract (poll, session and fetch against a scripted provider, a failing publisher, cancellation at
//! each await), needs the gateway's drivers: its tests stand beside them in `gateway/`, not here, since this crate sees
//! nothing of the gateway.

mod admit;
mod config;
mod deterministic;
mod golden;
mod reply;
mod required;
mod rotation;
mod secrets;
mod total;
mod vanish;

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_sdk::fixture::Expect;
use connector_sdk::{Entry, fixture};

use crate::folder::Folder;
use crate::subject::Subject;
use crate::{Test, Verdict, outcome};

/// A law over one case: its name, the cases that it is about, the test.
type CaseLaw = (&'static str, fn(&Subject) -> bool, fn(&Subject) -> Verdict);

const CASE_LAWS: &[CaseLaw] = &[
    ("golden", |_| true, golden::golden),
    ("total", |_| true, total::total),
    ("nothing_vanishes", Subject::is_input, vanish::nothing_vanishes),
    ("deterministic", Subject::is_input, deterministic::deterministic),
    ("replayed", Subject::is_input, deterministic::replayed),
    ("admit", is_let_in, admit::admit),
    ("rotation", is_accepted_request, rotation::rotation),
    ("secrets", |_| true, secrets::secrets),
    ("covers", |subject| !subject.case.file.covers.is_empty(), covers),
    ("reply", is_accepted_request, reply::reply),
];

/// A law over the whole connector.
type FolderLaw = (&'static str, fn(&Arc<Folder>) -> Verdict);

const FOLDER_LAWS: &[FolderLaw] = &[
    ("distinct_ids", deterministic::distinct_ids),
    ("config::example", |folder| config::example(folder)),
    ("config::refused_by_name", |folder| config::refused_by_name(folder)),
    ("config::readme_table", |folder| config::readme_table(folder)),
    ("required_cases", |folder| required::required_cases(folder, &subjects(folder)?)),
    ("kinds", kinds),
];

fn is_let_in(subject: &Subject) -> bool {
    subject.is_request() && subject.case.file.admit != Expect::Refuse
}

fn is_accepted_request(subject: &Subject) -> bool {
    subject.is_request() && subject.is_input()
}

/// The tests of one connector.
pub(crate) fn tests(entry: &Entry) -> Vec<Test> {
    let name = entry.name;
    let failed = |what: &str, error: String| vec![Test::new(format!("{name}::{what}"), move || Err(error))];
    let folder = match Folder::open(entry) {
        Ok(folder) => Arc::new(folder),
        Err(error) => return failed("folder", error),
    };
    let subjects = match subjects(&folder) {
        Ok(subjects) if subjects.is_empty() => {
            return failed("fixtures", "fixtures/ holds no case: nothing was tested".to_owned());
        }
        Ok(subjects) => subjects,
        Err(error) => return failed("fixtures", error),
    };
    let mut tests = Vec::new();
    for subject in subjects {
        for (law, _, test) in CASE_LAWS.iter().filter(|(_, about, _)| about(&subject)) {
            let subject = subject.clone();
            tests.push(Test::new(format!("{name}::{}::{law}", subject.case.name), move || test(&subject)));
        }
    }
    for (law, test) in FOLDER_LAWS {
        let folder = folder.clone();
        tests.push(Test::new(format!("{name}::{law}"), move || test(&folder)));
    }
    tests
}

fn subjects(folder: &Arc<Folder>) -> Result<Vec<Subject>, String> {
    let cases = fixture::cases(folder.fixtures)?;
    Ok(cases.into_iter().map(|case| Subject { folder: folder.clone(), case: Arc::new(case) }).collect())
}

fn covers(subject: &Subject) -> Verdict {
    required::covers(subject, &outcome::run(subject)?)
}

fn kinds(folder: &Arc<Folder>) -> Verdict {
    let mut outcomes = BTreeMap::new();
    for subject in subjects(folder)? {
        let seen = outcome::run(&subject).map_err(|e| format!("{}: {e}", subject.case.name))?;
        outcomes.insert(subject.case.name.clone(), seen.json);
    }
    required::kinds(folder, &outcomes)
}
