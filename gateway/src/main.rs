//! The stock binary: every connector of the list.

use std::process::ExitCode;

/// Every input makes and drops some hundred small allocations on changing threads: measured, the system allocator cost a
/// sixth of the CPU. It stands in for the system's altogether: librdkafka allocates in one thread and frees in another.
use mimalloc as _;

fn main() -> ExitCode {
    inlet::commands::main(connectors::all(), &connectors::DEMO)
}
