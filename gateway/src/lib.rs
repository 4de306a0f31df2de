//! Inlet, the gateway.

pub mod delivery;
pub mod pipeline;
