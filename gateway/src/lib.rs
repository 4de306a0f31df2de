//! Inlet, the gateway: intake → admit → parse → enrich → stamp → deliver → settle.
//!
//! It is a library so that a company can build its own binary from the list of connectors plus its private ones:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     // A static list of `connector_sdk::Entry`: the stock ones and your own.
//!     inlet::commands::main(connectors::all(), &connectors::DEMO)
//! }
//! ```

pub mod admin;
pub mod archive;
pub mod clock;
pub mod commands;
pub mod config;
pub mod delivery;
pub mod drivers;
pub mod gateway;
pub mod ingress;
pub mod intake;
pub mod io;
pub mod jobs;
pub mod pipeline;
pub mod reload;
pub mod seen;
pub mod spool;
pub mod telemetry;
