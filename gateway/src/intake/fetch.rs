//! The fetch driver: carries out orders from `inlet.fetches` on any replica, with the instance's credentials.
//!
//! An order is done when what came of it is safe on Kafka: what it brought, or the news that it was given up. Until then
//! a restart does it again.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Fetch, FetchIo, FetchedMedia, IntakeError, RawEvent, Rejected, Wire};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::push::PushLine;
use crate::delivery::consumer::{ConsumeError, GroupConsumer};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::encode::{OrderRecord, to_json};
use crate::pipeline::instance::Instance;
use crate::pipeline::{deadletter, record::Record};

/// How long an order is tried that names no end of its own.
const EXPIRES_AFTER: Duration = Duration::from_secs(3600);
/// Pause between attempts at the provider: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// One attempt to bring a result to Kafka, and the pause between two: from, to.
const PUBLISH_LIMIT: Duration = Duration::from_secs(60);
const PUBLISH_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Calls at once: by this process, and for one instance, so that a provider that hangs holds up its own orders only.
const AT_ONCE: usize = 16;
const AT_ONCE_OF_ONE: usize = 4;
/// Orders in hand, most of which wait for their next attempt.
const IN_HAND_MAX: usize = 1024;
/// How long to wait before joining the workers' group again.
const REJOIN: Duration = Duration::from_secs(5);

/// An instance's fetcher.
#[derive(Clone)]
pub struct Fetcher {
    pub instance: Arc<Instance>,
    pub fetch: Arc<dyn Fetch>,
    pub io: FetchIo,
}

/// All fetchers by instance.
pub type Fetchers = HashMap<String, Fetcher>;

/// Carries out orders; cheap to clone.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    fetchers: Fetchers,
    push: PushLine,
    calls: Semaphore,
    calls_of_one: HashMap<String, Semaphore>,
}

/// Carries out orders as they come, until `stopping`; what is under way then is done again by whoever comes next.
pub async fn follow(settings: KafkaSettings, fetchers: Fetchers, push: PushLine, stopping: CancellationToken) {
    let workers = Workers::new(fetchers, push);
    while !stopping.is_cancelled() {
        let ended = tokio::select! {
            ended = workers.work(&settings) => ended,
            () = stopping.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "fetch orders cannot be read; joining again");
        }
        tokio::select! {
            () = tokio::time::sleep(REJOIN) => {}
            () = stopping.cancelled() => return,
        }
    }
}

impl Workers {
    pub fn new(fetchers: Fetchers, push: PushLine) -> Self {
        let of_one = fetchers.keys().map(|name| (name.clone(), Semaphore::new(AT_ONCE_OF_ONE))).collect();
        Self(Arc::new(Shared { fetchers, push, calls: Semaphore::new(AT_ONCE), calls_of_one: of_one }))
    }

    async fn work(&self, settings: &KafkaSettings) -> Result<(), ConsumeError> {
        let consumer = GroupConsumer::join(settings)?;
        // Tasks end with it when this function is dropped: their jobs are not done.
        let mut running = JoinSet::new();
        loop {
            while running.len() >= IN_HAND_MAX {
                running.join_next().await;
            }
            while running.try_join_next().is_some() {}
            let job = consumer.next().await?;
            let workers = self.clone();
            running.spawn(async move {
                match serde_json::from_slice::<OrderRecord>(&job.received.value) {
                    Ok(record) => workers.carry_out(record).await,
                    Err(error) => tracing::error!(%error, "a record on the fetches topic is no order; passed over"),
                }
                job.done();
            });
        }
    }

    /// Carries out one order; returns when its result is safe on Kafka, whatever it was.
    pub async fn carry_out(&self, record: OrderRecord) {
        let Some(fetcher) = self.0.fetchers.get(&record.instance) else {
            let letter = orphan(&record);
            return self.publish(letter).await;
        };
        let mut backoff = Backoff::new(PUBLISH_PAUSE.0, PUBLISH_PAUSE.1, &record.order.id);
        for raw in self.results(fetcher, &record).await {
            while !self.0.push.run(&fetcher.instance, &raw, PUBLISH_LIMIT).await.is_safe() {
                tokio::time::sleep(backoff.next(None)).await;
            }
        }
    }

    async fn results(&self, fetcher: &Fetcher, record: &OrderRecord) -> Vec<RawEvent> {
        let expires = record.order.expires_at.unwrap_or_else(|| record.ordered_at.plus(EXPIRES_AFTER));
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, &record.order.id);
        loop {
            let error = match self.attempt(fetcher, record).await {
                Ok(raws) => return raws,
                Err(error) => error,
            };
            let wait = match &error {
                IntakeError::Retry { after, .. } => backoff.next(*after),
                _ => return vec![given_up(fetcher, record, &error.to_string())],
            };
            if crate::clock::now().plus(wait) >= expires {
                return vec![given_up(fetcher, record, &error.to_string())];
            }
            tracing::debug!(instance = %record.instance, order = %record.order.id, %error, "fetch failed, tried again");
            tokio::time::sleep(wait).await;
        }
    }

    /// One call. The places among those at once are held for the call alone, not for the waiting between two.
    async fn attempt(&self, fetcher: &Fetcher, record: &OrderRecord) -> Result<Vec<RawEvent>, IntakeError> {
        let own = self.0.calls_of_one.get(&record.instance);
        let _own = match own {
            Some(own) => own.acquire().await.ok(),
            None => None,
        };
        let _call = self.0.calls.acquire().await.ok();
        let io = FetchIo { now: crate::clock::now(), ..fetcher.io.clone() };
        let fetched = AssertUnwindSafe(fetcher.fetch.fetch(&record.order, &io)).catch_unwind().await;
        fetched.unwrap_or_else(|_| Err(IntakeError::Broken("the connector panicked; this is a bug".into())))
    }

    async fn publish(&self, letter: Record) {
        let mut backoff = Backoff::new(PUBLISH_PAUSE.0, PUBLISH_PAUSE.1, &letter.key);
        while let Err(error) = self.0.push.publisher.publish(vec![letter.clone()]).await {
            tracing::debug!(%error, "tried again");
            tokio::time::sleep(backoff.next(None)).await;
        }
    }
}

fn given_up(fetcher: &Fetcher, record: &OrderRecord, reason: &str) -> RawEvent {
    tracing::warn!(instance = %record.instance, order = %record.order.id, reason, "fetch given up");
    let now = crate::clock::now();
    let told = std::panic::catch_unwind(AssertUnwindSafe(|| fetcher.fetch.failed(&record.order, reason, now)));
    told.unwrap_or_else(|_| FetchedMedia::failed(&record.order, reason).into_raw(now))
}

/// An order of an instance that is not (or no longer) configured here: kept, so that people can see what was not fetched.
fn orphan(record: &OrderRecord) -> Record {
    tracing::warn!(instance = %record.instance, order = %record.order.id, "order of an instance that is not configured here; dead-lettered");
    let detail = format!("fetch order {}: no such instance here, or it fetches nothing", record.order.id);
    let raw = RawEvent::new(Wire::Json, to_json(record), record.ordered_at);
    deadletter::orphan(&record.instance, raw, &Rejected::whole("instance_not_configured", detail))
}
