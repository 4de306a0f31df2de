//! What connectors may do to the outside world: HTTP, small state, downloads.

pub mod download;
pub mod http;
pub mod state;

use std::path::Path;
use std::sync::Arc;

use connector_sdk::Io;

/// The outside world of one instance.
pub fn for_instance(client: &http::Client, data_dir: &Path, instance: &str) -> Io {
    Io { http: Arc::new(client.clone()), state: Arc::new(state::LocalState::new(data_dir, instance)) }
}
