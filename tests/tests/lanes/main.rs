//! The delivery lanes against a real Apache Kafka, through the library's public API: what the rest of the gateway rests on.

mod consumers;
mod ownership;
mod push;
mod replay;
mod support;
mod topics;
