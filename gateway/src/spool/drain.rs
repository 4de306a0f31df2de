//! Brings the spool's entries to Kafka: in their order, many on their way at once, by itself.
//!
//! One producer has it all, the first sends of spooled inputs too, and keeps the order in which it was given records for as
//! long as it takes. So the drain only feeds it, up to a window, and forgets entries from the front as they are confirmed.
//! Where a send fails all the same (a refusal, missing rights, a producer that broke) the drain waits until everything
//! under way is settled and takes what failed one by one.
//!
//! Between an input's way into the spool and its turn another replica may have published a redelivery of it, or this one's
//! first send may have arrived unheard. So each entry is asked for in the seen index before it is sent, once the index
//! knows all; ids become known to the others when Kafka has their events (D4).

mod careful;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::entry::{Damaged, Entry};
use super::error::SpoolError;
use super::lane::{Lane, Sent};
use super::reader::{Found, Reader};
use super::writer::Spool;
use crate::clock::now;
use crate::delivery::PublishError;
use crate::delivery::push::Sending;
use crate::intake::backoff::Backoff;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::deadletter;
use crate::pipeline::record::{Record, TopicRole};
use crate::seen::{Seen, SeenId};
use crate::telemetry::counters::{Fate, Metrics};

/// What is on its way at once.
const WINDOW_ENTRIES: usize = 2048;
const WINDOW_BYTES: usize = 4 << 20;
/// What is read at once.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 1 << 20;
/// Pause after something failed that may pass: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often it is looked whether entries have become too old.
const AGE_TICK: Duration = Duration::from_secs(5);
/// How long entries wait for the seen index while Kafka is there. Then it is missing rights or its topic.
const DOUBT_LIMIT: Duration = Duration::from_secs(60);

/// What the drain works with.
#[derive(Clone)]
pub struct DrainParts {
    pub spool: Spool,
    pub lane: Arc<dyn Lane>,
    pub seen: Arc<Seen>,
    pub blobs: BlobStore,
    pub metrics: Arc<Metrics>,
}

/// A running drain.
pub struct Drain {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drain {
    /// On the current runtime, until it is stopped.
    pub fn start(parts: DrainParts) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker::new(parts, stop.clone());
        Self { stop, task: tokio::spawn(worker.run()) }
    }

    /// Ends it. What is not confirmed by now stays in the spool.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the drain of the spool ended badly");
        }
    }
}

struct UnderWay {
    entry: Entry,
    sent: Sent,
    /// The send that was made before the entry was spooled.
    first: bool,
}

struct Worker {
    parts: DrainParts,
    stop: CancellationToken,
    reader: Option<Reader>,
    /// The last entry that was read.
    read: i64,
    ready: VecDeque<Found>,
    under_way: VecDeque<UnderWay>,
    under_way_bytes: usize,
    backoff: Backoff,
    told_old: bool,
    /// Since when an entry has waited for the seen index with Kafka there.
    doubting: Option<Instant>,
}

/// A step could not be done now.
struct Later(String);

/// What became of an entry whose turn it is.
enum Turn {
    Sent,
    /// It waits until the seen index knows all.
    Doubtful,
}

impl Worker {
    fn new(parts: DrainParts, stop: CancellationToken) -> Self {
        Self {
            parts,
            stop,
            reader: None,
            read: 0,
            ready: VecDeque::new(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            backoff: Backoff::new(PAUSE.0, PAUSE.1, "spool"),
            told_old: false,
            doubting: None,
        }
    }

    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut age = tokio::time::interval(AGE_TICK);
        let gate_of = self.parts.spool.clone();
        while !stop.is_cancelled() {
            // Before the look at what there is, so that nothing is missed.
            let changed = gate_of.gate().changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let pause = match self.feed().await {
                Ok(()) => None,
                Err(Later(reason)) => {
                    tracing::warn!(reason, "the spool cannot be drained now; tried again");
                    Some(self.backoff.next(None))
                }
            };
            let pausing = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = settled(self.under_way.front()) => self.reap().await,
                () = changed, if pause.is_none() && self.has_room() => {}
                () = pausing => {}
                () = self.parts.seen.certain(), if self.doubting.is_some() => {}
                () = tokio::time::sleep(PAUSE.1), if self.doubting.is_some() => {}
                _ = age.tick() => self.watch_age(),
            }
        }
        // Whatever was confirmed meanwhile need not be sent again by the next process.
        self.reap_confirmed();
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < WINDOW_ENTRIES && self.under_way_bytes < WINDOW_BYTES
    }

    /// Hands entries to the producer while there is room.
    async fn feed(&mut self) -> Result<(), Later> {
        while self.has_room() && !self.stop.is_cancelled() {
            if self.ready.is_empty() {
                self.read_on().await?;
            }
            match self.ready.front() {
                None => break,
                Some(Ok(entry)) => {
                    let (id, blobs) = (entry.id, entry.blobs);
                    // Not again and again while it waits.
                    if blobs > 0 && self.must_wait() {
                        break;
                    }
                    self.store_blobs(id, blobs).await?;
                }
                Some(Err(_)) => {}
            }
            match self.ready.pop_front() {
                Some(Ok(entry)) => {
                    if let Turn::Doubtful = self.hand_over(entry)? {
                        break;
                    }
                }
                Some(Err(damaged)) => self.put_aside(damaged)?,
                None => break,
            }
            self.backoff.reset();
        }
        Ok(())
    }

    async fn read_on(&mut self) -> Result<(), Later> {
        let unsent = self.parts.spool.gate().unsent();
        if unsent == 0 {
            return Ok(());
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.parts.spool.reader().map_err(|error| Later(error.to_string()))?,
        };
        let range = (self.read, self.parts.spool.gate().through());
        let read = tokio::task::spawn_blocking(move || {
            let found = reader.read(range, READ_ENTRIES, READ_BYTES);
            (reader, found)
        });
        match read.await {
            Ok((reader, Ok(found))) => {
                self.reader = Some(reader);
                match found.last() {
                    Some(last) => self.read = last.as_ref().map_or_else(|damaged| damaged.id, |entry| entry.id),
                    None => self.vanished(unsent),
                }
                self.ready.extend(found);
                Ok(())
            }
            Ok((_, Err(error))) => {
                if matches!(error, SpoolError::Corrupt { .. }) {
                    // The writer moves the files aside; the next reader sees the new ones.
                    self.parts.spool.recheck();
                }
                Err(Later(error.to_string()))
            }
            Err(error) => Err(Later(error.to_string())),
        }
    }

    /// What was committed is not there: damage, which was reported when the database was moved aside.
    fn vanished(&self, entries: u64) {
        tracing::error!(entries, "spooled input is missing in the database; see what was quarantined");
        self.parts.spool.gate().vanished(entries);
    }

    async fn store_blobs(&mut self, entry: i64, count: usize) -> Result<(), Later> {
        for n in 0..count {
            let reader = match self.reader.take() {
                Some(reader) => reader,
                None => self.parts.spool.reader().map_err(|error| Later(error.to_string()))?,
            };
            let read = tokio::task::spawn_blocking(move || {
                let blob = reader.blob(entry, n);
                (reader, blob)
            });
            let (reader, blob) = read.await.map_err(|error| Later(error.to_string()))?;
            self.reader = Some(reader);
            match blob {
                Ok(blob) => {
                    let stored = self.parts.blobs.put(&blob.reference, blob.bytes).await;
                    stored.map_err(|fault| Later(format!("blobs of spooled input: {fault}")))?;
                }
                Err(error @ SpoolError::Corrupt { .. }) => {
                    // Its records would refer to nothing.
                    if let Some(slot @ Ok(_)) = self.ready.front_mut()
                        && let Ok(entry) = slot
                    {
                        let (instance, accepted_at, bytes) = (entry.instance.clone(), entry.accepted_at, entry.bytes);
                        *slot = Err(Damaged { id: entry.id, instance, accepted_at, reason: error.to_string(), bytes });
                    }
                    return Ok(());
                }
                Err(error) => return Err(Later(error.to_string())),
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, mut entry: Entry) -> Result<Turn, Later> {
        let first = self.parts.spool.take_first(entry.id);
        let is_first = first.is_some();
        if !is_first {
            if self.must_wait() {
                self.ready.push_front(Ok(entry));
                return Ok(Turn::Doubtful);
            }
            self.leave_out_published(&mut entry);
        }
        let sent = match first {
            Some(sent) => Ok(sent),
            None if entry.records.is_empty() => Ok(settled_as(None)),
            None => self.parts.lane.send(&[&entry.records]).map(|mut sent| sent.swap_remove(0)),
        };
        let sent = match sent {
            Ok(sent) => sent,
            // It never can be: as if Kafka had said so.
            Err(refused @ PublishError::Refused { .. }) => settled_as(Some(refused)),
            Err(PublishError::Unavailable(reason)) => {
                self.ready.push_front(Ok(entry));
                return Err(Later(reason));
            }
        };
        self.follow(entry, sent, is_first);
        Ok(Turn::Sent)
    }

    /// The seen index will know more in a moment.
    fn must_wait(&mut self) -> bool {
        if !self.parts.seen.doubts() {
            self.doubting = None;
            return false;
        }
        let since = *self.doubting.get_or_insert_with(Instant::now);
        if !self.parts.lane.is_usable() {
            self.doubting = Some(Instant::now());
        } else if since.elapsed() > DOUBT_LIMIT {
            self.parts.seen.pass_over();
            self.doubting = None;
            return false;
        }
        true
    }

    /// Takes from an entry what is on Kafka already. With nothing left to recognise it by, all of it is.
    fn leave_out_published(&self, entry: &mut Entry) {
        let ids = entry.records.iter().filter_map(SeenId::of).count();
        let is_published = |record: &Record| SeenId::of(record).is_some_and(|id| self.parts.seen.is_published(id));
        entry.records.retain(|record| !is_published(record));
        let left = entry.records.iter().filter_map(SeenId::of).count();
        if left == ids {
            return;
        }
        self.parts.spool.figures().duplicates.fetch_add(1, Ordering::Relaxed);
        if left == 0 {
            entry.records.clear();
            entry.fate = entry.fate.map(|_| Fate::Duplicate);
        } else if let Some(Fate::Published { events }) = &mut entry.fate {
            *events = entry.records.iter().filter(|record| record.topic == TopicRole::Events).count();
        }
    }

    /// Kafka has an entry, or a dead letter in its place: the other replicas are told, before it leaves the spool.
    fn landed(&self, entry: &Entry) {
        self.parts.seen.learn(entry.records.iter().filter_map(SeenId::of), true);
    }

    fn follow(&mut self, entry: Entry, sent: Sent, first: bool) {
        self.under_way_bytes += entry.wire_bytes();
        self.under_way.push_back(UnderWay { entry, sent, first });
        self.parts.spool.gate().sent();
    }

    /// A damaged entry: its row is kept beside, and a dead letter says so on Kafka.
    fn put_aside(&mut self, damaged: Damaged) -> Result<(), Later> {
        let Damaged { id, instance, accepted_at, reason, bytes } = damaged;
        tracing::error!(
            entry = id,
            instance,
            reason,
            "a spooled input is damaged; its row is kept in the table 'damaged'"
        );
        self.parts.spool.set_aside(id, bytes, reason.clone());
        let letter = deadletter::damaged(&instance, id, accepted_at, &reason);
        let fate = (!instance.is_empty()).then_some(Fate::DeadLettered);
        // The row is gone from the entries already: nothing to count there.
        let entry = Entry { id, instance, accepted_at, fate, records: vec![letter], blobs: 0, bytes: 0 };
        self.hand_over(entry).map(drop)
    }

    /// Entries at the front have their verdict.
    async fn reap(&mut self) {
        self.reap_confirmed();
        let failed = self.under_way.front().and_then(|front| front.sent.verdict());
        if matches!(failed, Some(Err(_))) {
            self.take_care().await;
        }
    }

    /// Forgets entries from the front that Kafka has.
    fn reap_confirmed(&mut self) {
        let (mut last, mut entries, mut bytes) = (None, 0, 0);
        while let Some(front) = self.under_way.front()
            && front.sent.verdict() == Some(Ok(()))
        {
            let Some(UnderWay { entry, first, .. }) = self.under_way.pop_front() else { break };
            self.under_way_bytes = self.under_way_bytes.saturating_sub(entry.wire_bytes());
            if first {
                self.parts.spool.figures().confirmed_late.fetch_add(1, Ordering::Relaxed);
            }
            self.landed(&entry);
            self.count(&entry, entry.fate);
            last = Some(entry.id);
            entries += u64::from(entry.bytes > 0);
            bytes += entry.bytes;
        }
        if let Some(id) = last {
            self.parts.spool.remove_through(id, entries, bytes);
        }
    }

    /// One entry is done.
    fn count(&self, entry: &Entry, fate: Option<Fate>) {
        self.parts.spool.gate().confirmed();
        self.parts.spool.figures().drained.fetch_add(1, Ordering::Relaxed);
        if let Some(fate) = fate
            && let Some(counters) = self.parts.metrics.find(&entry.instance)
        {
            counters.drained(fate);
        }
    }

    fn watch_age(&mut self) {
        let figures = self.parts.spool.figures();
        let old = figures.is_over_age(now());
        if old && !self.told_old {
            let age = figures.oldest_age(now());
            tracing::error!(?age, "spooled input is older than spool.max_age; it stays until Kafka takes it");
        }
        self.told_old = old;
    }
}

/// For what need not be sent, or never can be.
fn settled_as(failure: Option<PublishError>) -> Sent {
    let settled = Sending::of(1);
    settled.settle(1, failure);
    settled
}

/// Returns when the entry at the front has its verdict; never when there is none.
async fn settled(front: Option<&UnderWay>) {
    match front {
        Some(front) => {
            let _ = front.sent.settled().await;
        }
        None => std::future::pending().await,
    }
}
