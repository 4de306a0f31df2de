//! The straight line: raw input → parse → enrich → stamp → records.
//!
//! [`line::Line::prepare`] is the whole of it. No way back, no waiting for Kafka here: lanes deliver, drivers settle.

pub mod blobs;
pub mod deadletter;
pub mod encode;
pub mod enrich;
pub mod instance;
pub mod line;
pub mod raw;
pub mod record;
