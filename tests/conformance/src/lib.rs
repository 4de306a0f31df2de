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
mod folder;
mod laws;
mod outcome;
mod subject;

use std::process::ExitCode;

use connector_sdk::Entry;
use libtest_mimic::{Arguments, Failed, Trial};

/// Result of one test: `Err` says what is wrong and what to do.
pub(crate) type Verdict = Result<(), String>;

/// Runs every law over every case of these connectors.
pub fn main(entries: &[Entry]) -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = entries.iter().flat_map(laws::trials).collect();
    if trials.is_empty() {
        trials.push(trial("list".to_owned(), || Err("the list of connectors is empty: nothing was tested".to_owned())));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

pub(crate) fn trial(name: String, test: impl FnOnce() -> Verdict + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from))
}
