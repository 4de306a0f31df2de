//! The stock binary: every connector of the list.

use std::process::ExitCode;

// Every input makes and drops some hundred small allocations on changing threads: measured, the system allocator cost a
// sixth of the CPU. Linked, mimalloc stands in for the system's altogether, for librdkafka too; named as Rust's global
// allocator it would treat all memory as specially aligned, which takes longer.
use mimalloc as _;

fn main() -> ExitCode {
    inlet::commands::main(connectors::all(), &connectors::DEMO)
}
