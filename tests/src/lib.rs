//! Real servers, real clients and small scripted providers for the suites in `tests/tests/`.
//!
//! Everything runs as child processes or tasks on free loopback ports under a temporary folder; nothing outlives the
//! test process, not even when that one is killed ([`process`]). The programs come from `tests/setup`.
//! The API is synchronous: a test reads as a sequence of things done and things waited for ([`wait`]).

pub mod blobs;
pub mod cache;
pub mod config;
pub mod consume;
pub mod corpus;
pub mod fixtures;
pub mod gateway;
pub mod http_client;
pub mod judge;
pub mod mail;
pub mod ports;
pub mod process;
pub mod runtime;
pub mod servers;
pub mod tls;
pub mod wait;
pub mod webhooks;
