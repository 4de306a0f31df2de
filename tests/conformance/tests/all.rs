//! Every law over every connector of the stock binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    inlet_conformance::main(connectors::all())
}
