//! The public listener: limits first, then routing to instances. What happens behind is the webhook driver's.

pub mod body;
mod linger;
pub mod peer;
pub mod routes;
pub mod server;
pub mod threads;
mod watch;
