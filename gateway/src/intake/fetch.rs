//! The fetch driver: carries out orders from `inlet.fetches` on any replica, with the instance's credentials.
//!
//! An order is done when what came of it is safe: what it brought, or the news that it was given up. Until then a restart
//! does it again. Which orders are in hand is the affair of [`super::orders`].

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use connector_sdk::{Fetch, FetchIo, FetchedMedia, IntakeError, RawEvent, Rejected, Shape, Timestamp, Wire};
use futures::FutureExt;
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::health::Health;
use super::push::PushLine;
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
/// Calls at once: of one instance, and of all beyond the one that each may always make. A provider that hangs holds up
/// its own orders only.
const AT_ONCE: usize = 16;
const AT_ONCE_OF_ONE: usize = 4;
/// The part of a health reason that says where the credentials were refused.
const WHERE: &str = "fetching a file";

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
    fetchers: ArcSwap<Fetchers>,
    push: PushLine,
    health: Option<Health>,
    calls: Semaphore,
    calls_of: Mutex<HashMap<String, Arc<Calls>>>,
    busy: AtomicUsize,
}

/// Places of one instance.
struct Calls {
    all: Semaphore,
    /// The one that nobody else can take.
    first: Semaphore,
}

/// Something is under way that a stop should wait for a moment.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// What it brought is safe.
    Brought,
    /// The news that it was given up is safe.
    GivenUp,
}

impl Workers {
    pub fn new(fetchers: Fetchers, push: PushLine) -> Self {
        Self::reporting(fetchers, push, None)
    }

    /// Says to operators what providers say of the credentials.
    pub fn reporting(fetchers: Fetchers, push: PushLine, health: Option<Health>) -> Self {
        Self(Arc::new(Shared {
            fetchers: ArcSwap::from_pointee(fetchers),
            push,
            health,
            calls: Semaphore::new(AT_ONCE),
            calls_of: Mutex::default(),
            busy: AtomicUsize::new(0),
        }))
    }

    /// Other fetchers from now on; an order under way makes its next attempt with them.
    pub fn replace(&self, fetchers: Fetchers) {
        self.0.fetchers.store(Arc::new(fetchers));
    }

    pub fn knows(&self, instance: &str) -> bool {
        self.0.fetchers.load().contains_key(instance)
    }

    /// Calls and results under way; what waits between two attempts does not count.
    pub fn busy(&self) -> usize {
        self.0.busy.load(Ordering::Relaxed)
    }

    /// Carries out one order; returns when its result is safe, whatever it was.
    pub async fn carry_out(&self, record: OrderRecord) -> Carried {
        let Some((fetcher, raws, carried)) = self.results(&record).await else {
            self.publish(orphan(&record)).await;
            return Carried::GivenUp;
        };
        let _busy = Busy::new(&self.0.busy);
        let mut backoff = Backoff::new(PUBLISH_PAUSE.0, PUBLISH_PAUSE.1, &record.order.id);
        for raw in raws {
            while !self.0.push.run(&fetcher.instance, &raw, PUBLISH_LIMIT).await.is_safe() {
                tokio::time::sleep(backoff.next(None)).await;
            }
        }
        carried
    }

    /// What the order brought, or that it was given up. `None`: its instance is not (or no longer) configured here.
    async fn results(&self, record: &OrderRecord) -> Option<(Fetcher, Vec<RawEvent>, Carried)> {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, &record.order.id);
        loop {
            let fetcher = self.0.fetchers.load().get(&record.instance)?.clone();
            let error = match self.attempt(&fetcher, record).await {
                Ok(raws) => return Some((fetcher, raws, Carried::Brought)),
                Err(error) => error,
            };
            let wait = match &error {
                IntakeError::Retry { after, .. } => Some(backoff.next(*after)),
                _ => None,
            };
            let Some(wait) = wait.filter(|wait| crate::clock::now().plus(*wait) < expires(record)) else {
                let news = given_up(&fetcher, record, &error);
                return Some((fetcher, vec![news], Carried::GivenUp));
            };
            tracing::debug!(instance = %record.instance, order = %record.order.id, %error, "fetch failed, tried again");
            tokio::time::sleep(wait).await;
        }
    }

    /// One call. The places among those at once are held for the call alone, not for the waiting between two.
    async fn attempt(&self, fetcher: &Fetcher, record: &OrderRecord) -> Result<Vec<RawEvent>, IntakeError> {
        let calls = self.calls_of(&record.instance);
        let _own = calls.all.acquire().await.ok();
        let _call = tokio::select! {
            biased;
            first = calls.first.acquire() => first.ok(),
            call = self.0.calls.acquire() => call.ok(),
        };
        let _busy = Busy::new(&self.0.busy);
        let io = FetchIo { now: crate::clock::now(), ..fetcher.io.clone() };
        let fetched = AssertUnwindSafe(fetcher.fetch.fetch(&record.order, &io)).catch_unwind().await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(IntakeError::Broken("the connector panicked; this is a bug".into())));
        self.report(fetcher, &fetched);
        fetched
    }

    /// Credentials that are refused concern more than this order.
    fn report(&self, fetcher: &Fetcher, fetched: &Result<Vec<RawEvent>, IntakeError>) {
        let Some(health) = &self.0.health else { return };
        let reporter = health.of(&fetcher.instance, Shape::Fetch);
        match fetched {
            Ok(_) => reporter.well_again(),
            Err(IntakeError::Unauthorised(reason)) => {
                reporter.trouble(&format!("{WHERE}: credentials refused: {reason}"), RENEW);
            }
            Err(_) => {}
        }
    }

    fn calls_of(&self, instance: &str) -> Arc<Calls> {
        let mut calls = self.0.calls_of.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Calls { all: Semaphore::new(AT_ONCE_OF_ONE), first: Semaphore::new(1) });
        calls.entry(instance.to_owned()).or_insert_with(new).clone()
    }

    /// Puts a record where orders and dead letters are, however long Kafka is away.
    pub async fn put(&self, record: Record) {
        self.publish(record).await;
    }

    async fn publish(&self, letter: Record) {
        let mut backoff = Backoff::new(PUBLISH_PAUSE.0, PUBLISH_PAUSE.1, &letter.key);
        while let Err(error) = self.0.push.publisher.publish(vec![letter.clone()]).await {
            tracing::debug!(%error, "tried again");
            tokio::time::sleep(backoff.next(None)).await;
        }
    }
}

/// What an operator can do about refused credentials.
const RENEW: &str = "renew the token or give it the scope that files need";

/// When an order is given up.
pub(super) fn expires(record: &OrderRecord) -> Timestamp {
    record.order.expires_at.unwrap_or_else(|| record.ordered_at.plus(EXPIRES_AFTER))
}

fn given_up(fetcher: &Fetcher, record: &OrderRecord, error: &IntakeError) -> RawEvent {
    let (order, reason, now) = (&record.order, error.to_string(), crate::clock::now());
    tracing::warn!(instance = %record.instance, order = %order.id, reason, "fetch given up");
    let too_large = matches!(error, IntakeError::TooLarge(_));
    let told = std::panic::catch_unwind(AssertUnwindSafe(|| match too_large {
        true => fetcher.fetch.too_large(order, &reason, now),
        false => fetcher.fetch.failed(order, &reason, now),
    }));
    told.unwrap_or_else(|_| FetchedMedia::failed(order, &reason).into_raw(now))
}

/// An order of an instance that is not (or no longer) configured here: kept, so that people can see what was not fetched.
fn orphan(record: &OrderRecord) -> Record {
    tracing::warn!(instance = %record.instance, order = %record.order.id, "order of an instance that is not configured here; dead-lettered");
    let detail = format!("fetch order {}: no such instance here, or it fetches nothing", record.order.id);
    let raw = RawEvent::new(Wire::Json, to_json(record), record.ordered_at);
    deadletter::orphan(&record.instance, raw, &Rejected::whole("instance_not_configured", detail))
}
