//! The fetch driver: carries out orders from `inlet.fetches` on any replica, with the instance's credentials.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Fetch, FetchIo, IntakeError, RawEvent, Timestamp};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::push::PushLine;
use crate::delivery::consumer::{ConsumeError, GroupConsumer};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::encode::OrderRecord;
use crate::pipeline::instance::Instance;

/// Attempts at an order that keeps failing.
const ATTEMPTS_MAX: u32 = 6;
/// Time for one order with all its attempts, where it does not expire before.
const ORDER_LIMIT: Duration = Duration::from_secs(15 * 60);

/// An instance's fetcher.
#[derive(Clone)]
pub struct Fetcher {
    pub instance: Arc<Instance>,
    pub fetch: Arc<dyn Fetch>,
    pub io: FetchIo,
}

/// All fetchers by instance.
pub type Fetchers = HashMap<String, Fetcher>;

/// Orders carried out at once by this process.
const AT_ONCE: usize = 16;
/// How long to wait before joining the workers' group again.
const REJOIN: Duration = Duration::from_secs(5);

/// Carries out orders as they come, until `stopping`; what is under way then is done again by whoever comes next.
pub async fn follow(settings: KafkaSettings, fetchers: Fetchers, push: PushLine, stopping: CancellationToken) {
    let fetchers = Arc::new(fetchers);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    while !stopping.is_cancelled() {
        let ended = tokio::select! {
            ended = work(&settings, &fetchers, &push, &permits) => ended,
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

async fn work(
    settings: &KafkaSettings,
    fetchers: &Arc<Fetchers>,
    push: &PushLine,
    permits: &Arc<Semaphore>,
) -> Result<(), ConsumeError> {
    let consumer = GroupConsumer::join(settings)?;
    let mut running = JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
        while running.try_join_next().is_some() {}
        let job = consumer.next().await?;
        let (fetchers, push) = (fetchers.clone(), push.clone());
        // Tasks end with `running` when this function is dropped: their jobs are not done.
        running.spawn(async move {
            match serde_json::from_slice::<OrderRecord>(&job.received.value) {
                Ok(record) => carry_out(&fetchers, &push, record).await,
                Err(error) => tracing::error!(%error, "a record on the fetches topic is no order; passed over"),
            }
            job.done();
            drop(permit);
        });
    }
}

/// Carries out one order; returns when its result is safe on Kafka, whatever it was.
pub async fn carry_out(fetchers: &Fetchers, push: &PushLine, record: OrderRecord) {
    let Some(fetcher) = fetchers.get(&record.instance) else {
        tracing::warn!(instance = %record.instance, order = %record.order.id, "order of an instance that is not configured here; dropped");
        return;
    };
    for raw in results(fetcher, &record).await {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while !push.run(&fetcher.instance, &raw, ORDER_LIMIT).await.is_safe() {
            tokio::time::sleep(backoff.next(None)).await;
        }
    }
}

async fn results(fetcher: &Fetcher, record: &OrderRecord) -> Vec<RawEvent> {
    let order = &record.order;
    let expires =
        order.expires_at.unwrap_or_else(|| record.ordered_at.plus(ORDER_LIMIT.max(Duration::from_secs(3600))));
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut attempt = 0;
    loop {
        attempt += 1;
        let io = FetchIo { now: crate::clock::now(), ..fetcher.io.clone() };
        let error = match fetcher.fetch.fetch(order, &io).await {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let wait = match &error {
            IntakeError::Retry { after, .. } => backoff.next(*after),
            _ => return vec![given_up(fetcher, record, &error.to_string())],
        };
        let late = crate::clock::now().plus(wait) >= expires;
        if late || attempt >= ATTEMPTS_MAX {
            return vec![given_up(fetcher, record, &error.to_string())];
        }
        tracing::debug!(instance = %record.instance, order = %order.id, %error, "fetch failed, tried again");
        tokio::time::sleep(wait).await;
    }
}

fn given_up(fetcher: &Fetcher, record: &OrderRecord, reason: &str) -> RawEvent {
    tracing::warn!(instance = %record.instance, order = %record.order.id, reason, "fetch given up");
    fetcher.fetch.failed(&record.order, reason, now())
}

fn now() -> Timestamp {
    crate::clock::now()
}
