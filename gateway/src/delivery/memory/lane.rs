//! The replay lane in memory: one shard whose transactions end as a script says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::Cursor;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::script::{Answer, Script};
use crate::delivery::link::lock;
use crate::delivery::replay::{CursorKey, Epoch, Input, Ownership, Settled};
use crate::pipeline::record::Record;

/// Inputs that wait; small, so that back-pressure is met.
const LANE_CAPACITY: usize = 4;

/// Between two epochs, as a real lane has it.
const REOPEN_PAUSE: Duration = Duration::from_millis(5);

/// One shard and what was committed to it.
#[derive(Clone)]
pub struct MemoryLane {
    inner: Arc<Inner>,
}

struct Inner {
    script: Mutex<Script>,
    store: Mutex<Store>,
    cut: Mutex<CancellationToken>,
}

#[derive(Default)]
struct Store {
    cursors: HashMap<CursorKey, Cursor>,
    records: Vec<Record>,
    epochs: u64,
}

impl MemoryLane {
    pub fn new(script: Script) -> Self {
        let inner = Inner { script: Mutex::new(script), store: Mutex::default(), cut: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// From now on.
    pub fn set_script(&self, script: Script) {
        *lock(&self.inner.script) = script;
    }

    /// Owns the shard, on the current tokio runtime, until it is revoked.
    pub fn own(&self, shard: i32) -> Ownership {
        let (revoked, released) = (CancellationToken::new(), CancellationToken::new());
        let (show, epoch) = watch::channel(None);
        tokio::spawn(serve(self.inner.clone(), show, revoked.clone()));
        Ownership { shard, revoked, released, epoch }
    }

    /// Ends the current epoch, as a fencing rival would.
    pub fn cut(&self) {
        lock(&self.inner.cut).cancel();
    }

    /// Everything committed so far, in order.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.inner.store).records.clone()
    }

    pub fn cursor(&self, key: &CursorKey) -> Option<Cursor> {
        lock(&self.inner.store).cursors.get(key).cloned()
    }

    /// How many epochs have begun.
    pub fn epochs(&self) -> u64 {
        lock(&self.inner.store).epochs
    }
}

async fn serve(inner: Arc<Inner>, show: watch::Sender<Option<Epoch>>, revoked: CancellationToken) {
    while !revoked.is_cancelled() {
        let cut = CancellationToken::new();
        *lock(&inner.cut) = cut.clone();
        let (number, cursors) = {
            let mut store = lock(&inner.store);
            store.epochs += 1;
            (store.epochs, store.cursors.clone())
        };
        let (lane, mut inputs) = mpsc::channel(LANE_CAPACITY);
        let epoch = Epoch::begin(cursors, lane, CancellationToken::new());
        show.send_replace(Some(epoch.clone()));
        tokio::select! {
            () = transactions(&inner, number, &epoch, &mut inputs) => {}
            () = cut.cancelled() => {}
            () = revoked.cancelled() => {}
        }
        show.send_replace(None);
        epoch.ended.cancel();
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

/// Until one fails, or a younger epoch has begun: that fences this one.
async fn transactions(inner: &Inner, number: u64, epoch: &Epoch, inputs: &mut mpsc::Receiver<Input>) {
    let mut batch = Vec::new();
    while inputs.recv_many(&mut batch, LANE_CAPACITY).await > 0 {
        if lock(&inner.store).epochs != number {
            return;
        }
        // One that only waits for what went before is no transaction.
        let commits = batch.iter().any(|input| !input.records.is_empty() || input.cursor_after.is_some());
        let answer = if commits { lock(&inner.script).next() } else { Answer::Taken };
        match answer {
            Answer::Lost => return,
            Answer::TakenUnheard => {
                batch.drain(..).for_each(|input| drop(commit(inner, epoch, input, false)));
                return;
            }
            Answer::Taken | Answer::Refused => {
                for input in batch.drain(..) {
                    let (settled, outcome) = commit(inner, epoch, input, answer == Answer::Refused);
                    let _ = settled.send(outcome);
                }
            }
        }
        // As a real one does, it takes its time.
        tokio::task::yield_now().await;
    }
}

fn commit(
    inner: &Inner,
    epoch: &Epoch,
    input: Input,
    refused: bool,
) -> (tokio::sync::oneshot::Sender<Settled>, Settled) {
    let refused = refused && !input.records.is_empty();
    let records = if refused { (input.dead_letter)("scripted") } else { input.records };
    let mut store = lock(&inner.store);
    store.records.extend(records);
    if let Some(cursor) = input.cursor_after {
        store.cursors.insert(input.key.clone(), cursor.clone());
        epoch.note_committed([(input.key, cursor)]);
    }
    (input.settled, if refused { Settled::DeadLettered } else { Settled::Published })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::record::TopicRole;
    use connector_sdk::StreamId;
    use serde_json::json;
    use tokio::sync::oneshot;

    const COUNT: u64 = 50;

    fn key() -> CursorKey {
        CursorKey { instance: "i".to_owned(), stream: StreamId::new("s") }
    }

    fn record(topic: TopicRole, n: u64) -> Record {
        Record { topic, key: "k".to_owned(), value: n.to_string().into(), headers: Vec::new() }
    }

    fn input(n: u64) -> (Input, oneshot::Receiver<Settled>) {
        let (settled, outcome) = oneshot::channel();
        let input = Input {
            key: key(),
            cursor_after: Some(Cursor(json!(n))),
            records: vec![record(TopicRole::Events, n)],
            dead_letter: Arc::new(move |_| vec![record(TopicRole::DeadLetter, n)]),
            settled,
        };
        (input, outcome)
    }

    /// The simplest driver there is: begins again behind the committed position whenever the epoch ends.
    async fn drive(ownership: &mut Ownership) {
        loop {
            let current = ownership.epoch.wait_for(Option::is_some).await.expect("the lane runs").clone();
            let Some(epoch) = current else { continue };
            let begin = epoch.cursors.get(&key()).and_then(|c| c.0.as_u64()).map_or(0, |n| n + 1);
            let mut outcomes = Vec::new();
            for n in begin..COUNT {
                let (input, outcome) = input(n);
                if epoch.lane.send(input).await.is_err() {
                    break;
                }
                outcomes.push(outcome);
            }
            let heard = futures::future::join_all(outcomes).await;
            if heard.iter().all(Result::is_ok) && begin + heard.len() as u64 == COUNT {
                return;
            }
            epoch.ended.cancelled().await;
        }
    }

    #[tokio::test]
    async fn each_input_is_committed_once_whatever_the_script() {
        let refused = Script::always(Answer::Refused);
        let mut scripts = vec![Script::always(Answer::Taken), Script::outage(5), refused];
        scripts.extend((0..50).map(Script::random));
        for script in scripts {
            let lane = MemoryLane::new(script.clone());
            let mut ownership = lane.own(0);
            drive(&mut ownership).await;
            let values: Vec<_> = lane.records().iter().map(|r| r.value.clone()).collect();
            let wanted: Vec<_> = (0..COUNT).map(|n| bytes::Bytes::from(n.to_string())).collect();
            assert_eq!(values, wanted, "{script:?}");
            assert_eq!(lane.cursor(&key()), Some(Cursor(json!(COUNT - 1))));
            ownership.revoked.cancel();
        }
    }

    #[tokio::test]
    async fn a_refreshed_epoch_knows_what_was_queued_before() {
        let lane = MemoryLane::new(Script::always(Answer::Taken));
        let mut ownership = lane.own(0);
        let epoch = ownership.epoch.wait_for(Option::is_some).await.expect("runs").clone().expect("is some");
        let (first, unheard) = input(7);
        epoch.lane.send(first).await.expect("takes it");
        drop(unheard);
        let refreshed = epoch.refreshed().await.expect("goes on");
        assert_eq!(refreshed.cursors.get(&key()), Some(&Cursor(json!(7))));
        lane.cut();
        refreshed.ended.cancelled().await;
        assert!(refreshed.refreshed().await.is_none());
        assert!(ownership.epoch.wait_for(Option::is_some).await.is_ok());
        assert_eq!(lane.epochs(), 2);
    }
}
