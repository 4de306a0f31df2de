//! Membership in the owners' group: one thread that polls and is never blocked for long.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Ownership;
use super::cursors::CursorsError;
use super::handle::InstanceRef;
use super::owned::Owned;
use super::partition::shard_of;
use super::shard::Shared;
use crate::delivery::link::{lock, log};
use crate::delivery::verdict;

/// One poll of the group; what else the thread looks after waits at most this long.
const POLL_SLICE: Duration = Duration::from_millis(100);
/// One question for the cursors topic, and the pause before the next one while it is not there.
const METADATA_LIMIT: Duration = Duration::from_secs(3);
const METADATA_PAUSE: Duration = Duration::from_millis(500);
/// Pause before all positions are read again, where one lies in the wrong place.
const PLACEMENT_PAUSE: Duration = Duration::from_secs(5);
/// How often the clients that nobody uses at the moment are served.
const IDLE_TICK: Duration = Duration::from_secs(1);

pub(super) struct Group {
    shared: Arc<Shared>,
    instances: watch::Receiver<Vec<InstanceRef>>,
    announce: mpsc::Sender<Ownership>,
    stop: CancellationToken,
}

type Member = BaseConsumer<Rebalancer>;

impl Group {
    pub fn new(
        shared: Arc<Shared>,
        instances: watch::Receiver<Vec<InstanceRef>>,
        announce: mpsc::Sender<Ownership>,
        stop: CancellationToken,
    ) -> Self {
        Self { shared, instances, announce, stop }
    }

    /// Until the stop: membership after membership; one ends only when librdkafka gives its client up.
    pub fn run(mut self) {
        while !self.stop.is_cancelled() {
            if !self.topic_is_there() {
                self.pause(METADATA_PAUSE);
                continue;
            }
            if let Err(reason) = self.membership() {
                self.shared.board.group_error(reason);
                self.pause(METADATA_PAUSE);
            }
            self.shared.board.member(false);
        }
    }

    /// Instances are placed by the number of partitions: with another one, replicas would disagree on who owns what.
    fn topic_is_there(&self) -> bool {
        let topic = &self.shared.settings.topics.cursors;
        let found = self.shared.reader.partitions(METADATA_LIMIT);
        let reason = match found {
            Ok(found) if found == topic.partitions => match self.positions_are_in_place(found) {
                Ok(()) => return true,
                Err(error) => {
                    self.shared.board.group_error(error.to_string());
                    self.pause(PLACEMENT_PAUSE);
                    return false;
                }
            },
            Ok(0) => format!("topic {} does not exist yet", topic.name),
            Ok(found) => {
                let (name, configured) = (&topic.name, topic.partitions);
                format!(
                    "topic {name} has {found} partitions, topics.cursors.partitions says {configured}; instances are \
                     placed by that number. Set it to {found} if the topic was made so; if somebody altered the topic, \
                     run `inlet cursors reshard --partitions {found}` first"
                )
            }
            Err(error) => error.to_string(),
        };
        self.shared.board.group_error(reason);
        false
    }

    fn positions_are_in_place(&self, shards: i32) -> Result<(), CursorsError> {
        self.shared.reader.check_placement(shards, || !self.stop.is_cancelled())
    }

    fn membership(&mut self) -> Result<(), String> {
        let config = self.shared.settings.owners().map_err(|e| e.to_string())?;
        let owned = Mutex::new(Owned::new(self.shared.clone(), self.announce.clone()));
        let rebalancer = Rebalancer { owned, shared: self.shared.clone() };
        let consumer: Member = config.create_with_context(rebalancer).map_err(|e| e.to_string())?;
        self.place(&consumer);
        let topic = self.shared.settings.topics.cursors.name.clone();
        consumer.subscribe(&[&topic]).map_err(|e| e.to_string())?;
        let mut idle = Instant::now();
        // Dropping the consumer leaves the group; its last rebalance gives the shards up.
        while !self.stop.is_cancelled() {
            match consumer.poll(POLL_SLICE) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(code.to_string()),
                Some(Err(error)) if is_silent(&error) => {}
                Some(Err(error)) => self.shared.board.group_error(verdict::explain(&error, &topic)),
                Some(Ok(_)) | None => {}
            }
            if self.instances.has_changed().unwrap_or(false) {
                self.place(&consumer);
            }
            lock(&consumer.context().owned).tick();
            if idle.elapsed() > IDLE_TICK {
                self.shared.reader.idle();
                idle = Instant::now();
            }
        }
        Ok(())
    }

    /// Tells which shards hold replay instances.
    fn place(&mut self, consumer: &Member) {
        let shards = self.shared.settings.topics.cursors.partitions;
        let instances = self.instances.borrow_and_update();
        let replay = instances.iter().filter(|i| i.replay).map(|i| shard_of(&i.name, shards));
        lock(&consumer.context().owned).place(replay.collect::<HashSet<_>>());
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stop.is_cancelled() {
            std::thread::sleep(POLL_SLICE.min(time));
        }
    }
}

/// Errors of single connections: the session's end is what counts.
fn is_silent(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve)
    )
}

/// Called by librdkafka on the polling thread.
struct Rebalancer {
    owned: Mutex<Owned>,
    shared: Arc<Shared>,
}

impl Rebalancer {
    fn shards(&self, partitions: &TopicPartitionList) -> Vec<i32> {
        let topic = &self.shared.settings.topics.cursors;
        let elements = partitions.elements();
        let ours = elements.iter().filter(|e| e.topic() == topic.name && e.partition() < topic.partitions);
        ours.map(|e| e.partition()).collect()
    }
}

impl ClientContext for Rebalancer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Rebalancer {
    /// The partition moves on only after this has returned.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(partitions) => {
                let lost = consumer.assignment_lost();
                let shards = self.shards(partitions);
                tracing::info!(?shards, lost, "replay lane: shards are given up");
                lock(&self.owned).release(&shards, lost);
            }
            Rebalance::Assign(_) => {}
            Rebalance::Error(error) => self.shared.board.group_error(error.to_string()),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(partitions) = rebalance else { return };
        self.shared.board.member(true);
        // Ownership is all that is wanted: the records are read by another client, from the beginning.
        let paused = consumer.assignment().and_then(|all| consumer.pause(&all));
        if let Err(error) = paused {
            self.shared.board.group_error(format!("the group's partitions cannot be paused: {error}"));
        }
        let shards = self.shards(partitions);
        if !shards.is_empty() {
            tracing::info!(?shards, "replay lane: shards are taken over");
        }
        lock(&self.owned).take_over(&shards);
    }
}
