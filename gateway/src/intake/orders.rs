//! Which fetch orders are in hand: each thing once, and none of an instance's in the way of another's.
//!
//! Orders for a thing that is in hand already wait for its outcome, and those for what was brought a while ago are done.
//! An instance whose provider is away would fill the hand with orders that wait for their next attempt: beyond its part
//! they go to the back of the topic, where those of others overtake them. So do orders of an instance that is not known
//! here yet: configurations change on one process before another.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::fetch::{Carried, Workers, expires};
use crate::delivery::consumer::{ConsumeError, GroupConsumer, Job, Received};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::encode::{JSON, OrderRecord};
use crate::pipeline::record::{Record, TopicRole};

/// Orders in hand, most of which wait: of all, and of one instance.
const IN_HAND_MAX: usize = 8192;
const IN_HAND_OF_ONE: usize = 512;
/// How long an order waits before it goes to the back of the topic; in hand meanwhile.
const PUT_BACK_PAUSE: Duration = Duration::from_secs(5);
/// How long an order of an unknown instance waits for its configuration.
const UNKNOWN_WAIT: Duration = Duration::from_secs(10 * 60);
/// What was brought lately is not fetched again: how long, and how many are known.
const RECENT: Duration = Duration::from_secs(3600);
const RECENT_MAX: usize = 10_000;
/// How long before joining the workers' group again.
const REJOIN: Duration = Duration::from_secs(5);
/// What calls and results under way may take at the end; what is not done by then is done again by whoever comes next.
const STOP_LIMIT: Duration = Duration::from_secs(5);
const STOP_TICK: Duration = Duration::from_millis(20);

/// Carries out orders as they come, until `stopping`.
pub async fn follow(settings: KafkaSettings, workers: Workers, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        if let Err(error) = work(&settings, &workers, &stopping).await {
            tracing::warn!(%error, "fetch orders cannot be read; joining again");
        }
        tokio::select! {
            () = tokio::time::sleep(REJOIN) => {}
            () = stopping.cancelled() => {}
        }
    }
}

async fn work(settings: &KafkaSettings, workers: &Workers, stopping: &CancellationToken) -> Result<(), ConsumeError> {
    let consumer = GroupConsumer::join(settings)?;
    // What is in hand ends with it when this function is dropped: those orders are not done.
    let mut hand = Hand::new(workers.clone());
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(ended) = hand.running.join_next() => hand.ended(ended),
            job = consumer.next(), if hand.running.len() < IN_HAND_MAX => hand.take(job?),
        }
    }
    let until = Instant::now() + STOP_LIMIT;
    while workers.busy() > 0 && Instant::now() < until {
        tokio::select! {
            Some(ended) = hand.running.join_next() => hand.ended(ended),
            () = tokio::time::sleep(STOP_TICK) => {}
        }
    }
    while let Some(ended) = hand.running.try_join_next() {
        hand.ended(ended);
    }
    Ok(())
}

/// Orders in hand.
struct Hand<J> {
    workers: Workers,
    running: JoinSet<Ended>,
    /// By what they are for: the order that is worked on, and those that wait for it.
    open: HashMap<String, Vec<J>>,
    /// Those that go to the back, by a number: the same thing may come round again before its old order is done.
    backs: HashMap<u64, J>,
    next_back: u64,
    of_one: HashMap<String, usize>,
    recent: Recent,
}

/// How work on an order ended.
enum Ended {
    /// `None`: it panicked, and is not done.
    Carried {
        thing: String,
        instance: String,
        how: Option<Carried>,
    },
    PutBack(u64),
}

/// What an order is read from, and how it is told that it is done.
trait Ordered {
    fn received(&self) -> &Received;
    fn done(self);
}

impl Ordered for Job {
    fn received(&self) -> &Received {
        &self.received
    }

    fn done(self) {
        Job::done(self);
    }
}

impl<J: Ordered> Hand<J> {
    fn new(workers: Workers) -> Self {
        let (running, recent) = (JoinSet::new(), Recent::default());
        let (open, backs, of_one) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { workers, running, open, backs, next_back: 0, of_one, recent }
    }

    fn take(&mut self, job: J) {
        let record = match serde_json::from_slice::<OrderRecord>(&job.received().value) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "a record on the fetches topic is no order; passed over");
                return job.done();
            }
        };
        let thing = format!("{}/{}", record.instance, record.order.id);
        if let Some(waiting) = self.open.get_mut(&thing) {
            tracing::debug!(%thing, "ordered again while it is in hand");
            return waiting.push(job);
        }
        if self.recent.has(&thing) {
            tracing::debug!(%thing, "ordered again after it was brought");
            return job.done();
        }
        if self.goes_back(&record) {
            return self.put_back(job);
        }
        *self.of_one.entry(record.instance.clone()).or_default() += 1;
        self.open.insert(thing.clone(), vec![job]);
        let workers = self.workers.clone();
        self.running.spawn(async move {
            let instance = record.instance.clone();
            let how = AssertUnwindSafe(workers.carry_out(record)).catch_unwind().await.ok();
            Ended::Carried { thing, instance, how }
        });
    }

    fn put_back(&mut self, job: J) {
        let (number, back, workers) = (self.next_back, back(job.received()), self.workers.clone());
        self.next_back += 1;
        self.backs.insert(number, job);
        self.running.spawn(async move {
            tokio::time::sleep(PUT_BACK_PAUSE).await;
            workers.put(back).await;
            Ended::PutBack(number)
        });
    }

    fn goes_back(&self, record: &OrderRecord) -> bool {
        let now = crate::clock::now();
        if now >= expires(record) {
            return false;
        }
        let is_many = self.of_one.get(&record.instance).is_some_and(|count| *count >= IN_HAND_OF_ONE);
        let is_early = !self.workers.knows(&record.instance) && now < record.ordered_at.plus(UNKNOWN_WAIT);
        is_many || is_early
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        // Tasks that call connectors catch their panics, and all are aborted only together with this.
        let (thing, instance, how) = match ended {
            Ok(Ended::Carried { thing, instance, how }) => (thing, instance, how),
            Ok(Ended::PutBack(number)) => return self.backs.remove(&number).into_iter().for_each(Ordered::done),
            Err(_) => return,
        };
        if let Some(count) = self.of_one.get_mut(&instance) {
            *count -= 1;
            if *count == 0 {
                self.of_one.remove(&instance);
            }
        }
        let jobs = self.open.remove(&thing).unwrap_or_default();
        let Some(how) = how else { return };
        if how == Carried::Brought {
            self.recent.note(thing);
        }
        jobs.into_iter().for_each(Ordered::done);
    }
}

/// The same order once more.
fn back(received: &Received) -> Record {
    Record {
        topic: TopicRole::Fetches,
        key: received.key.clone().unwrap_or_default(),
        value: received.value.clone(),
        headers: vec![("content-type", JSON.to_owned())],
    }
}

/// Things that were brought lately.
#[derive(Default)]
struct Recent {
    known: HashSet<String>,
    order: VecDeque<(Instant, String)>,
}

impl Recent {
    fn has(&mut self, thing: &str) -> bool {
        while self.order.front().is_some_and(|(at, _)| at.elapsed() > RECENT) || self.order.len() > RECENT_MAX {
            if let Some((_, old)) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
        self.known.contains(thing)
    }

    fn note(&mut self, thing: String) {
        if self.known.insert(thing.clone()) {
            self.order.push_back((Instant::now(), thing));
        }
    }
}

#[cfg(test)]
mod tests;
