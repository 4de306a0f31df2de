//! Starts and stops the replay lane.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Ownership;
use super::cursors::CursorReader;
use super::group::Group;
use super::shard::Shared;
use super::status::{Board, ReplayStatus};
use crate::delivery::settings::{KafkaSettings, SettingsError};

/// From the order to stop until the group is left; the shards' own limit is a part of it.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(7);

/// An instance that has one owner in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRef {
    pub name: String,
    /// Whether it delivers with positions, exactly once; only then its shard needs a producer.
    pub replay: bool,
}

/// Starts the lane.
pub struct Replay;

impl Replay {
    /// Joins the owners' group as soon as Kafka and the cursors topic are there, and announces each shard that this
    /// process comes to own. `instances` may change while it runs. Fails for settings that no Kafka could repair.
    pub fn start(
        settings: &KafkaSettings,
        instances: watch::Receiver<Vec<InstanceRef>>,
        owned: mpsc::Sender<Ownership>,
    ) -> Result<ReplayHandle, SettingsError> {
        settings.owners()?;
        settings.shard(0)?;
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            max_record_bytes: settings.max_message_bytes()?,
            reader: CursorReader::new(settings)?,
            board: Board::default(),
            call_limit: settings.call_limit,
        });
        let stop = CancellationToken::new();
        let left = CancellationToken::new();
        let group = Group::new(shared.clone(), instances, owned, stop.clone());
        let done = left.clone().drop_guard();
        std::thread::Builder::new()
            .name("replay-group".to_owned())
            .spawn(move || {
                let _done = done;
                group.run();
            })
            .map_err(|error| SettingsError::Client(format!("no thread for the owners' group: {error}")))?;
        Ok(ReplayHandle { shared, stop, left })
    }
}

/// A running lane. Dropping it stops the lane without waiting.
pub struct ReplayHandle {
    shared: Arc<Shared>,
    stop: CancellationToken,
    left: CancellationToken,
}

impl ReplayHandle {
    /// Revokes every shard, lets what is under way commit, and leaves the group, so that other replicas take over at
    /// once. Says whether all that was done in time.
    pub async fn shutdown(self) -> bool {
        self.stop.cancel();
        tokio::time::timeout(SHUTDOWN_LIMIT, self.left.cancelled()).await.is_ok()
    }

    pub fn status(&self) -> ReplayStatus {
        self.shared.board.read()
    }
}

impl Drop for ReplayHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
