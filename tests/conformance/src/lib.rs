//! The laws that every connector obeys, run over its fixtures. Nobody opts in and nobody can opt out: what is in a
//! connector's list of entries and in its `fixtures/` is tested.
//!
//! A connector crate runs the suite over itself with
//!
//! ```toml
//! [dev-dependencies]
//! inlet-conformance.workspace = true
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! and `tests/conformance.rs`:
//!
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     inlet_conformance::main(&[connector_sdk::Entry::of::<connector_slack::Slack>()])
//! }
//! ```
//!
//! Test names read `slack::dm_with_file::golden`; the usual arguments of a Rust test binary work (a substring,
//! `--exact`, `--list`, `--skip`). `BLESS=1` rewrites what is generated (each `expected.json`, the README's table of
//! options); read the difference before you commit it.

mod bless;
mod example;
mod folder;
mod laws;
mod mutate;
mod options;
mod outcome;
mod proof;
mod subject;
mod table;

use std::process::ExitCode;

use connector_sdk::Entry;
use libtest_mimic::{Arguments, Failed, Trial};

/// Result of one test: `Err` says what is wrong and what to do.
pub type Verdict = Result<(), String>;

/// One law over one case, or over one connector.
pub struct Test {
    /// `slack::dm_with_file::golden`.
    pub name: String,
    run: Box<dyn FnOnce() -> Verdict + Send>,
}

impl Test {
    pub(crate) fn new(name: String, run: impl FnOnce() -> Verdict + Send + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Runs it.
    pub fn run(self) -> Verdict {
        (self.run)()
    }
}

/// Every test of these connectors; at least one, which fails when there is nothing to test.
pub fn tests(entries: &[Entry]) -> Vec<Test> {
    let tests: Vec<Test> = entries.iter().flat_map(laws::tests).collect();
    if !tests.is_empty() {
        return tests;
    }
    vec![Test::new("list".to_owned(), || Err("the list of connectors is empty: nothing was tested".to_owned()))]
}

/// Runs every law over every case of these connectors, with the arguments of a Rust test binary.
pub fn main(entries: &[Entry]) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = tests(entries)
        .into_iter()
        .map(|test| Trial::test(test.name.clone(), move || test.run().map_err(Failed::from)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
