//! `inlet run`: the gateway until a signal.

use std::path::Path;

use connector_sdk::Entry;

use super::{Failure, block_on, stop_signal};
use crate::config;
use crate::gateway::Gateway;
use crate::telemetry::logging;

pub fn run(file: &Path, entries: &'static [Entry]) -> Result<(), Failure> {
    let loaded = config::load(file, entries)?;
    block_on(async {
        let _telemetry = logging::start(&loaded.config.log, &loaded.config.tracing).map_err(Failure::wrong_use)?;
        let gateway = Gateway::start(loaded).await.map_err(Failure::failed)?;
        if let Some(address) = gateway.ingress {
            tracing::info!("ingress: http://{address}");
        }
        tracing::info!("admin: http://{}", gateway.admin);
        tracing::info!("ready");
        stop_signal().await;
        tracing::info!("stopping: settling what is in flight");
        if gateway.stop().await {
            tracing::info!("stopped");
            Ok(())
        } else {
            Err(Failure::failed(
                "not everything was settled within shutdown.grace; its senders and sources still have it",
            ))
        }
    })
}
