//! Delivery without Kafka, for tests of the drivers: both lanes in memory, with failures by script.
//!
//! What a driver must hold against these: every input arrives at least once or becomes a dead letter, none is invented,
//! and nothing is acknowledged before it is safe.

mod lane;
mod publisher;
mod script;

pub use self::lane::MemoryLane;
pub use self::publisher::MemoryPublisher;
pub use self::script::{Answer, Script};
