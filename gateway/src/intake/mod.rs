//! Drivers by shape: supervision, waiting, retry, cursors and the moment of acknowledgement are theirs, never a
//! connector's.

pub mod backoff;
mod ephemeral;
pub mod fetch;
pub mod health;
mod keep;
mod keys;
pub mod lane;
mod notices;
pub mod orders;
mod poll;
pub(crate) mod position;
pub mod push;
pub mod session;
pub mod settle;
pub mod shares;
pub mod sources;
pub mod webhook;
