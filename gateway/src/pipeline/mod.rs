//! The straight line.

pub mod record;
