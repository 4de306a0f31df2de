//! The JSON Schema, the examples, the fixtures and the Rust types agree.

mod common;
mod examples;
mod file;
mod fixtures;
mod open;
