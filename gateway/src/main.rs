//! The stock binary: every connector of the list.

use std::process::ExitCode;

fn main() -> ExitCode {
    inlet::commands::main(connectors::all(), &connectors::DEMO)
}
