//! `inlet run`: the gateway until a signal.

use std::path::Path;

use connector_sdk::Entry;
use tokio::signal::unix::{SignalKind, signal};

use super::{FAILED, Failure, block_on, stop_signal};
use crate::config;
use crate::gateway::{Gateway, topics_beside};
use crate::telemetry::logging;

pub fn run(file: &Path, entries: &'static [Entry]) -> Result<(), Failure> {
    let loaded = config::load(file, entries)?;
    block_on(async {
        let mut hangup = signal(SignalKind::hangup()).map_err(|error| Failure::failed(error.to_string()))?;
        let _telemetry = logging::start(&loaded.config.log, &loaded.config.tracing).map_err(Failure::wrong_use)?;
        topics_beside(loaded.config.kafka.settings(&loaded.config.topics));
        let mut gateway = Gateway::start(loaded).await.map_err(Failure::failed)?;
        if let Some(address) = gateway.ingress {
            tracing::info!("ingress: http://{address}");
        }
        tracing::info!("admin: http://{}", gateway.admin);
        tracing::info!("ready");
        let mut stop = std::pin::pin!(stop_signal());
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(()) = hangup.recv() => {
                    tracing::info!("SIGHUP: reading the configuration again");
                    let loaded = config::load(file, entries);
                    // A stop does not wait for it.
                    tokio::select! {
                        () = &mut stop => break,
                        () = gateway.reload(loaded) => {}
                    }
                }
            }
        }
        tracing::info!("stopping: settling what is in flight; a second signal ends at once");
        let in_time = tokio::select! {
            in_time = gateway.stop() => in_time,
            () = stop_signal() => {
                tracing::warn!("ended at once by a second signal; what was not settled is still with its senders and sources");
                // Nothing may hold this up, not even a runtime that waits for its threads.
                std::process::exit(i32::from(FAILED));
            }
        };
        if in_time {
            tracing::info!("stopped");
            Ok(())
        } else {
            Err(Failure::failed(
                "not everything was settled within shutdown.grace; its senders and sources still have it",
            ))
        }
    })
}
