//! The driver contract (law 9 of conformance), against scripted sources and a scripted Kafka.
//!
//! Whatever the source does (drops the connection, repeats a page, loses its position, panics), whatever Kafka answers,
//! and wherever a driver is cut off: every input arrives at least once or is dead-lettered, none is invented, nothing is
//! acknowledged before it is safe, each stream keeps its order, and the counters say what happened. Sources with a
//! cursor arrive exactly once. All of it runs on a clock that jumps, from seeds.

mod counters;
mod cut;
mod ephemeral;
mod fetch;
mod health;
mod inputs;
mod judge;
mod poll;
mod poll_faults;
mod session;
mod webhook;
mod world;
