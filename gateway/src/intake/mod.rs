//! Drivers by shape: supervision, waiting, retry, cursors and the moment of acknowledgement are theirs, never a
//! connector's.

pub mod backoff;
pub mod fetch;
pub mod health;
pub mod poll;
pub mod push;
pub mod session;
pub mod sources;
pub mod webhook;
