//! The public listener as strangers meet it: limits, methods, versions, and how it ends. Over real sockets.

mod fairness;
mod limits;
mod listener;
mod secrets;
mod server;
mod wire;
