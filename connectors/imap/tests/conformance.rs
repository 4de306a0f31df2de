//! The laws of connectors over this one's fixtures.

use std::process::ExitCode;

use connector_imap::Imap;
use connector_sdk::Entry;

fn main() -> ExitCode {
    inlet_conformance::main(&[Entry::of::<Imap>()])
}
