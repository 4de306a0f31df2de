//! A lane of one command (`inlet import`, `inlet backfill`): exactly once like a source's, beside the live intake.
//!
//! It has a transactional id of its own, so that it fences another run of the same job and never the instance's owner,
//! and a position of its own in the shard's partition, under a stream that begins with [`RESERVED_PREFIX`].

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connector_sdk::StreamId;
use connector_sdk::key::sha256_hex;
use tokio::sync::watch;

use super::control::Control;
use super::cursors::CursorReader;
use super::partition::shard_of;
use super::shard::{Lane, Shared};
use super::slot::Slot;
use super::status::Board;
use super::transaction::Seat;
use super::{Epoch, RESERVED_PREFIX, ReplayStatus};
use crate::delivery::settings::{KafkaSettings, SettingsError};

/// From the order to stop until what is under way is committed.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const STOP_TICK: Duration = Duration::from_millis(5);
/// Characters of the hash that tells jobs apart in transactional ids.
const HASH_CHARS: usize = 12;

/// Name of the job that keeps its position in a stream.
pub(super) fn name_of(stream: &StreamId) -> &str {
    stream.0.split('/').next().unwrap_or_default()
}

/// Two runs of one job have the same, so that the later one fences the earlier.
pub(super) fn transactional_id(settings: &KafkaSettings, instance: &str, name: &str) -> String {
    let job = sha256_hex(format!("{instance}\n{name}").as_bytes());
    format!("{}job-{}", settings.transactional_id_prefix(), &job[..HASH_CHARS])
}

/// A running job's lane. Dropping it ends it without waiting.
pub struct JobLane {
    shared: Arc<Shared>,
    control: Arc<Control>,
    thread: JoinHandle<()>,
    pub epochs: watch::Receiver<Option<Epoch>>,
}

impl JobLane {
    /// `name` begins with [`RESERVED_PREFIX`]; the job's streams are `name` itself or begin with `name/`. Kafka may be
    /// away: then the first epoch takes its time.
    pub fn start(settings: &KafkaSettings, instance: &str, name: &str) -> Result<Self, SettingsError> {
        debug_assert!(name.starts_with(RESERVED_PREFIX));
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            max_record_bytes: settings.max_message_bytes()?,
            reader: CursorReader::new(settings)?,
            board: Board::default(),
            call_limit: settings.call_limit,
        });
        let shard = shard_of(instance, settings.topics.cursors.partitions);
        let seat = Seat {
            shard,
            transactional_id: transactional_id(settings, instance, name),
            job: Some((instance.to_owned(), name.to_owned())),
        };
        let slot = Arc::new(Slot::new());
        let epochs = slot.subscribe();
        let control = Arc::new(Control::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let client = |what: &str, error: std::io::Error| SettingsError::Client(format!("{what}: {error}"));
        shared.board.owned(shard);
        let lane = Lane {
            seat,
            tenant: slot.let_to_next(),
            slot,
            control: control.clone(),
            shared: shared.clone(),
            runtime: runtime.map_err(|error| client("no runtime for the lane", error))?,
        };
        let thread = std::thread::Builder::new().name("replay-job".to_owned()).spawn(move || lane.run());
        let thread = thread.map_err(|error| client("no thread for the lane", error))?;
        Ok(Self { shared, control, thread, epochs })
    }

    /// Whether the lane has ended by itself: the same job runs elsewhere and has fenced this one.
    pub fn is_lost(&self) -> bool {
        self.thread.is_finished() && self.control.is_running()
    }

    /// The call into the Kafka client that hangs, if any: then nothing but a new process helps.
    pub fn hangs_in(&self) -> Option<&'static str> {
        self.control.calls.overdue(self.shared.call_limit)
    }

    pub fn status(&self) -> ReplayStatus {
        self.shared.board.read()
    }

    /// Lets what is under way commit and ends. False: not in time.
    pub async fn stop(self) -> bool {
        self.control.finish();
        let until = Instant::now() + STOP_LIMIT;
        while !self.thread.is_finished() && Instant::now() < until {
            tokio::time::sleep(STOP_TICK).await;
        }
        self.thread.is_finished()
    }
}

impl Drop for JobLane {
    fn drop(&mut self) {
        self.control.finish();
    }
}
