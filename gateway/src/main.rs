//! The stock binary: every connector of the list.

use std::process::ExitCode;

/// Every input makes and drops some hundred small allocations on changing threads: measured, the system allocator cost a
/// sixth of the CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    inlet::commands::main(connectors::all(), &connectors::DEMO)
}
