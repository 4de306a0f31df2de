//! The fault harness: a ledger of what the gateway owes, a judge, and runs that break everything around it from a seed.
//!
//! `tests/faults/run --kills N [--seed S]` drives two gateways, three brokers, a mailbox, forms, webhooks and a PBX while
//! processes are killed and links are cut; the target `simulation` does the same to the gateway's own code in memory.

pub mod dice;
pub mod judge;
pub mod ledger;
pub mod run;
