//! One shard's thread: opens epochs, collects inputs into transactions, settles what is committed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::Cursor;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::cursors::CursorReader;
use super::entry::Entry;
use super::slot::Slot;
use super::status::{Board, LaneState};
use super::transaction::{Failed, Seat, Transactions};
use super::{CursorKey, Epoch, Input};
use crate::clock::now;
use crate::delivery::settings::KafkaSettings;

/// Inputs that wait while a transaction commits; a full queue holds the drivers back.
pub const LANE_CAPACITY: usize = 1024;
/// A transaction takes at most this many records, and about this many bytes: both are committed well within a second.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// After the first input, others that come in this time share its transaction.
const COLLECT_TIME: Duration = Duration::from_millis(10);
/// After a refusal, up to this many inputs get a transaction each.
const SUSPECTS_ALONE: usize = 64;
/// How often an idle producer's queues are served.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Pause before an epoch is opened again: from, to; doubled by each failure, forgotten after a commit.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What all shards of a process share.
pub(super) struct Shared {
    pub settings: KafkaSettings,
    pub max_record_bytes: usize,
    pub reader: CursorReader,
    pub board: Board,
    /// A blocking call that lasts longer has hung.
    pub call_limit: Duration,
}

/// One shard's work; runs on a thread of its own until the control stops it.
pub(super) struct Lane {
    pub seat: Seat,
    pub tenant: u64,
    pub slot: Arc<Slot>,
    pub control: Arc<Control>,
    pub shared: Arc<Shared>,
    pub runtime: Runtime,
}

/// How an epoch ended.
enum End {
    Stopped,
    /// Whether it had committed anything, and why it ended.
    Failed(bool, Failed),
}

impl Lane {
    pub fn run(self) {
        let mut pause = RETRY_MIN;
        while self.control.is_running() {
            self.shared.board.state(self.seat.shard, LaneState::Opening);
            let End::Failed(committed, failed) = self.epoch() else { break };
            if !self.control.is_running() {
                break;
            }
            let fenced = matches!(failed, Failed::Fenced(_));
            self.shared.board.shard_error(self.seat.shard, failed.reason());
            // Of a job no group says whose it is: whoever was fenced has lost it.
            if fenced && self.seat.job.is_some() {
                break;
            }
            self.shared.board.state(self.seat.shard, LaneState::Waiting);
            pause = if committed { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) };
            self.pause(pause.mul_f64(0.5 + 0.5 * jitter()));
        }
        self.shared.board.state(self.seat.shard, LaneState::Stopping);
    }

    fn pause(&self, time: Duration) {
        let stop = &self.control.stop;
        let _ = self.runtime.block_on(async { tokio::time::timeout(time, stop.cancelled()).await });
    }

    /// From fencing the owner before to the first error. The producer and all that was in flight end with it.
    fn epoch(&self) -> End {
        let opened = self.open().and_then(|transactions| Ok((transactions, self.read()?)));
        let (transactions, cursors) = match opened {
            Ok(opened) => opened,
            Err(failed) => return End::Failed(false, failed),
        };
        if !self.control.is_running() {
            return End::Stopped;
        }
        let (lane, inputs) = mpsc::channel(LANE_CAPACITY);
        let epoch = Epoch::begin(cursors.clone(), lane, CancellationToken::new());
        self.shared.board.change(self.seat.shard, |status| {
            status.state = LaneState::Running;
            status.epochs += 1;
        });
        self.slot.show(self.tenant, Some(epoch.clone()));
        let mut running =
            Running { lane: self, inputs, epoch, cursors, transactions: Some(transactions), committed: false };
        let end = running.serve();
        running.end();
        end
    }

    fn open(&self) -> Result<Transactions<'_>, Failed> {
        let waiting = |reason| self.shared.board.shard_waits(self.seat.shard, reason);
        Transactions::open(&self.shared.settings, &self.seat, &self.control, waiting)
    }

    fn read(&self) -> Result<HashMap<CursorKey, Cursor>, Failed> {
        let read = self.shared.reader.read(self.seat.shard, || self.control.is_running());
        let mut cursors = read.map_err(|error| Failed::Broken(error.to_string()))?;
        cursors.retain(|key, _| self.seat.owns(key));
        Ok(cursors)
    }
}

/// An epoch that takes inputs.
struct Running<'a> {
    lane: &'a Lane,
    inputs: mpsc::Receiver<Input>,
    epoch: Epoch,
    /// The shard's positions as this epoch knows them.
    cursors: HashMap<CursorKey, Cursor>,
    transactions: Option<Transactions<'a>>,
    committed: bool,
}

impl Running<'_> {
    fn serve(&mut self) -> End {
        loop {
            let batch = match self.collect() {
                Some(batch) if !batch.is_empty() => batch,
                Some(_) => {
                    self.transactions.iter().for_each(Transactions::idle);
                    continue;
                }
                None => return End::Stopped,
            };
            if let Err(failed) = self.commit(batch) {
                return End::Failed(self.committed, failed);
            }
        }
    }

    /// The next inputs that share a transaction; none after a while without input, `None` at a stop. What came in while
    /// the last transaction committed is taken at once.
    fn collect(&mut self) -> Option<Vec<Entry>> {
        let (lane, inputs) = (self.lane, &mut self.inputs);
        lane.runtime.block_on(async {
            let stop = &lane.control.stop;
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                input = inputs.recv() => input?,
                () = tokio::time::sleep(IDLE_TICK) => return Some(Vec::new()),
            };
            let mut batch = Vec::new();
            let (mut records, mut bytes) = (0, 0);
            let mut add = |input: Input, batch: &mut Vec<Entry>| {
                let entry = Entry::new(input, lane.shared.max_record_bytes);
                records += entry.records.len() + 1;
                bytes += entry.bytes();
                batch.push(entry);
                records >= BATCH_RECORDS || bytes >= BATCH_BYTES
            };
            let mut full = add(first, &mut batch);
            let until = Instant::now() + COLLECT_TIME;
            while !full {
                tokio::select! {
                    biased;
                    input = inputs.recv() => match input {
                        Some(input) => full = add(input, &mut batch),
                        None => break,
                    },
                    () = tokio::time::sleep_until(until) => break,
                    () = stop.cancelled() => break,
                }
            }
            Some(batch)
        })
    }

    /// Commits a batch. When Kafka refuses a record for good, the batch is split so that the culprit comes to be alone;
    /// that one becomes a dead letter, and everything stays in order.
    fn commit(&mut self, batch: Vec<Entry>) -> Result<(), Failed> {
        // Parts still to be committed, the first one last.
        let mut parts = vec![batch];
        let committed = self.commit_parts(&mut parts);
        if committed.is_err() {
            // Before the inputs are dropped: whoever misses a verdict finds the epoch ended.
            self.end();
        }
        committed
    }

    fn commit_parts(&mut self, parts: &mut Vec<Vec<Entry>>) -> Result<(), Failed> {
        while let Some(part) = parts.last_mut() {
            match self.transact(part) {
                Ok(()) => parts.pop().into_iter().for_each(|part| self.settle(part)),
                Err(failed @ (Failed::Broken(_) | Failed::Fenced(_))) => return Err(failed),
                Err(Failed::Refused { reason, suspects }) => {
                    let (shard, inputs) = (self.lane.seat.shard, part.len());
                    tracing::warn!(shard, inputs, %reason, "replay lane: Kafka refuses a record");
                    self.reopen()?;
                    match part.as_mut_slice() {
                        [culprit] => culprit.become_dead_letter(&reason).map_err(Failed::Broken)?,
                        _ => {
                            let smaller = split(std::mem::take(part), &suspects);
                            parts.pop();
                            parts.extend(smaller.into_iter().rev());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// First hidden, then ended: whoever sees the end does not find it again.
    fn end(&self) {
        self.lane.slot.show(self.lane.tenant, None);
        self.epoch.ended.cancel();
    }

    fn transact(&self, part: &[Entry]) -> Result<(), Failed> {
        if part.iter().all(Entry::is_barrier) {
            return Ok(());
        }
        let Some(transactions) = &self.transactions else {
            return Err(Failed::Broken("the producer was lost".to_owned()));
        };
        let positions = last_positions(part);
        let records = part.iter().enumerate().flat_map(|(i, entry)| entry.records.iter().map(move |r| (i, r)));
        transactions.run(records, &positions)
    }

    /// Only after a commit.
    fn settle(&mut self, part: Vec<Entry>) {
        self.committed = true;
        let positions = last_positions(&part);
        self.cursors.extend(positions.iter().cloned());
        self.epoch.note_committed(positions);
        let dead = part.iter().filter(|entry| entry.is_dead_letter()).count() as u64;
        let inputs = part.iter().filter(|entry| !entry.is_barrier()).count() as u64;
        self.lane.shared.board.change(self.lane.seat.shard, |status| {
            status.inputs += inputs;
            status.dead_letters += dead;
            if inputs > 0 {
                status.transactions += 1;
                status.last_commit = Some(now());
            }
        });
        part.into_iter().for_each(Entry::settle);
    }

    /// After a refusal the producer is made anew (its next transaction would fail too). The inputs in hand are still
    /// right only if nobody else committed in between: the positions that are read now must be those in memory.
    fn reopen(&mut self) -> Result<(), Failed> {
        self.transactions = None;
        if !self.lane.control.is_running() {
            return Err(Failed::Broken("the shard was taken away".to_owned()));
        }
        let transactions = self.lane.open()?;
        if self.lane.read()? != self.cursors {
            return Err(Failed::Broken("another owner has committed in between".to_owned()));
        }
        self.transactions = Some(transactions);
        Ok(())
    }
}

/// Smaller parts in the same order: a few suspects alone (a transaction each costs less than a producer made anew for
/// each halving), many in halves.
fn split<T>(part: Vec<T>, suspects: &BTreeSet<usize>) -> Vec<Vec<T>> {
    let half = part.len() / 2;
    let alone = |i: usize| suspects.contains(&i) && suspects.len() <= SUSPECTS_ALONE;
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut fresh = true;
    for (i, entry) in part.into_iter().enumerate() {
        if fresh || alone(i) || (i == half && suspects.len() > SUSPECTS_ALONE) {
            parts.push(Vec::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push(entry);
        }
        fresh = alone(i);
    }
    parts
}

/// Of each stream the last position: compaction would keep no other.
fn last_positions(part: &[Entry]) -> Vec<(CursorKey, Cursor)> {
    let mut last: HashMap<&CursorKey, &Cursor> = HashMap::new();
    for entry in part {
        last.extend(entry.position());
    }
    last.into_iter().map(|(key, cursor)| (key.clone(), cursor.clone())).collect()
}

/// Between 0 and 1, so that shards do not come back in step.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_come_to_be_alone_and_order_stays() {
        let suspects = BTreeSet::from([2, 3, 6]);
        assert_eq!(split((0..8).collect(), &suspects), [vec![0, 1], vec![2], vec![3], vec![4, 5], vec![6], vec![7]]);
        assert_eq!(split(vec![0, 1], &BTreeSet::from([0, 1])), [[0], [1]]);
    }

    #[test]
    fn many_suspects_are_halved() {
        let parts = split((0..200).collect(), &(0..200).collect());
        assert_eq!(parts, [(0..100).collect::<Vec<_>>(), (100..200).collect()]);
    }
}
