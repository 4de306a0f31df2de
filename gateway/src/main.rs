//! The stock binary: every connector of the list.

use std::process::ExitCode;

// Every input makes and drops some hundred small allocations on changing threads: measured, the system allocator cost a
// sixth of the CPU. Linked, mimalloc stands in for the system's altogether, for librdkafka too; as the global allocator of
// Rust it would take its slower way for aligned memory every time.
use mimalloc as _;

fn main() -> ExitCode {
    inlet::commands::main(connectors::all(), &connectors::DEMO)
}
