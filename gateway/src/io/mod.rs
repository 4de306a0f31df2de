//! What connectors may do to the outside world: HTTP, small state, downloads.

pub mod download;
pub mod guard;
pub mod http;
pub mod state;

use std::path::Path;
use std::sync::Arc;

use connector_sdk::{FetchIo, Io};

use crate::config::model::FetchOption;
use crate::pipeline::blobs::BlobStore;

/// The outside world of one instance.
pub fn for_instance(client: &http::Client, data_dir: &Path, instance: &str) -> Io {
    Io { http: Arc::new(client.clone()), state: Arc::new(state::LocalState::new(data_dir, instance)) }
}

/// What an instance's fetch orders may do to the outside world.
pub fn for_fetches(option: &FetchOption, blobs: &BlobStore) -> Result<FetchIo, String> {
    let client = http::Client::guarded(guard::Guard::new(&option.private_hosts))?;
    let download = download::Downloader { client: client.clone(), blobs: blobs.clone(), max_bytes: option.max_bytes.0 };
    Ok(FetchIo { http: Arc::new(client), download: Arc::new(download), now: crate::clock::now() })
}
