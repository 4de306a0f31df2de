//! Fetch orders: done when what came of them is safe, whatever it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connector_sdk::schemas::FetchState;
use connector_sdk::{
    Download, Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpFault, HttpRequest, IntakeError, RawEvent,
    SourceClass, Start, Timestamp, Wire, async_trait,
};
use inlet::delivery::memory::{Answer, Script};
use inlet::intake::fetch::{Fetcher, Workers};
use inlet::pipeline::deadletter::DeadLetter;
use inlet::pipeline::encode::OrderRecord;
use inlet::pipeline::record::TopicRole;

use crate::cut::CutAfter;
use crate::inputs::{Input, Verb, order};
use crate::judge::{Repeats, judge};
use crate::world::{World, instance, io};

const SECOND: Duration = Duration::from_secs(1);

/// Brings the input that an order names, after so many failures.
#[derive(Default)]
struct FakeFetch {
    failures: usize,
    error: Option<fn() -> IntakeError>,
    panics: bool,
    failed_panics: bool,
    hangs: bool,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl Fetch for FakeFetch {
    async fn fetch(&self, order: &FetchOrder, _: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(if self.hangs { 3600 * SECOND } else { SECOND }).await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        assert!(!self.panics, "scripted panic in fetch");
        if call < self.failures {
            return Err(self.error.map_or_else(|| IntakeError::retry("scripted fault"), |error| error()));
        }
        Ok(vec![RawEvent::new(Wire::Fetched, format!("ok {}", order.id), Timestamp::UNIX_EPOCH)])
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        assert!(!self.failed_panics, "scripted panic in failed");
        let _ = reason;
        RawEvent::new(Wire::Fetched, format!("bad {}", order.id), now)
    }
}

struct NoDownload;

#[async_trait]
impl Download for NoDownload {
    async fn download(&self, _: HttpRequest) -> Result<Downloaded, HttpFault> {
        Err(HttpFault::Timeout { host: "nowhere".into(), seconds: 1 })
    }
}

fn world(script: Script) -> World {
    World::new(SourceClass::Redeliver { horizon: SECOND }, script)
}

fn fetcher(world: &World, fetch: &Arc<FakeFetch>) -> Fetcher {
    let io = FetchIo { http: io().http, download: Arc::new(NoDownload), now: Timestamp::UNIX_EPOCH };
    Fetcher { instance: world.instance.clone(), fetch: fetch.clone(), io }
}

fn workers(world: &World, fetch: &Arc<FakeFetch>) -> Workers {
    Workers::new([("i".to_owned(), fetcher(world, fetch))].into(), world.push.clone())
}

fn record(instance: &str, number: usize) -> OrderRecord {
    let order = order(&format!("m-{number}"));
    OrderRecord { instance: instance.to_owned(), order, ordered_at: inlet::clock::now() }
}

fn input(verb: Verb, number: usize) -> Input {
    Input { verb, stream: "m".to_owned(), number }
}

#[tokio::test(start_paused = true)]
async fn an_order_is_done_when_its_result_is_safe() {
    let mut scripts = vec![Script::always(Answer::Taken), Script::always(Answer::Refused), Script::outage(9)];
    scripts.extend((0..20).map(Script::random));
    for script in scripts {
        let world = world(script);
        let fetch = Arc::new(FakeFetch { failures: 3, ..FakeFetch::default() });
        workers(&world, &fetch).carry_out(record("i", 1)).await;
        judge(&[input(Verb::Ok, 1)], &world.publisher.records(), Repeats::Allowed);
        assert_eq!(world.tally().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn kafka_away_for_good_keeps_an_order_open() {
    let world = world(Script::always(Answer::Lost));
    let fetch = Arc::new(FakeFetch::default());
    let workers = workers(&world, &fetch);
    let open = tokio::time::timeout(3600 * SECOND, workers.carry_out(record("i", 1))).await;
    assert!(open.is_err() && world.publisher.records().is_empty());
    // It was fetched once: what waits is the result.
    assert_eq!(fetch.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_each_await() {
    for polls in 1.. {
        let world = world(Script::first([Answer::Lost, Answer::TakenUnheard]));
        let fetch = Arc::new(FakeFetch { failures: 2, ..FakeFetch::default() });
        let workers = workers(&world, &fetch);
        let was_cut = CutAfter::new(workers.carry_out(record("i", 1)), polls).await.is_none();
        if was_cut {
            workers.carry_out(record("i", 1)).await;
        }
        judge(&[input(Verb::Ok, 1)], &world.publisher.records(), Repeats::Allowed);
        assert_eq!(world.tally().in_flight(), 0);
        if !was_cut {
            assert!(polls > 5, "only {polls} awaits were tried");
            break;
        }
    }
}

/// Refused, broken, panicking, expired: the news goes out in its place.
#[tokio::test(start_paused = true)]
async fn an_order_that_is_given_up_says_so() {
    let fatal: [fn() -> IntakeError; 3] = [
        || IntakeError::Unauthorised("scripted".into()),
        || IntakeError::Broken("scripted".into()),
        || IntakeError::CursorLost("scripted".into()),
    ];
    let mut fetches: Vec<_> =
        fatal.map(|error| FakeFetch { failures: 1, error: Some(error), ..FakeFetch::default() }).into();
    fetches.push(FakeFetch { panics: true, ..FakeFetch::default() });
    for fetch in fetches {
        let (world, fetch) = (world(Script::random(3)), Arc::new(fetch));
        workers(&world, &fetch).carry_out(record("i", 1)).await;
        judge(&[input(Verb::Bad, 1)], &world.publisher.records(), Repeats::Allowed);
        assert_eq!(fetch.calls.load(Ordering::Relaxed), 1);
    }
    let (world, fetch) = (world(Script::random(3)), Arc::new(FakeFetch { failures: 99, ..FakeFetch::default() }));
    let mut late = record("i", 1);
    late.order.expires_at = Some(inlet::clock::now().plus(SECOND));
    workers(&world, &fetch).carry_out(late).await;
    judge(&[input(Verb::Bad, 1)], &world.publisher.records(), Repeats::Allowed);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_said_to_be() {
    let world = world(Script::always(Answer::Taken));
    let error: fn() -> IntakeError = || IntakeError::TooLarge("answer of h is over 7 bytes".into());
    let fetch = Arc::new(FakeFetch { failures: 1, error: Some(error), failed_panics: true, ..FakeFetch::default() });
    workers(&world, &fetch).carry_out(record("i", 1)).await;
    let records = world.publisher.records();
    let [letter] = &records[..] else { panic!("{records:?}") };
    // The fake parser knows no media; the letter holds what it was given.
    let letter: DeadLetter = serde_json::from_slice(&letter.value).unwrap();
    let media: FetchedMedia = serde_json::from_slice(&letter.raw.unwrap().body).unwrap();
    assert_eq!((media.state(), media.order.id.as_str()), (FetchState::TooLarge, "m-1"));
}

/// D10: a token without the scope for files is told once, and is over with the first file that comes.
#[tokio::test(start_paused = true)]
async fn d10_refused_credentials_are_told_until_a_file_comes() {
    let world = world(Script::always(Answer::Taken));
    let error: fn() -> IntakeError = || IntakeError::Unauthorised("files:read is missing".into());
    let fetch = Arc::new(FakeFetch { failures: 3, error: Some(error), ..FakeFetch::default() });
    let fetchers = [("i".to_owned(), fetcher(&world, &fetch))].into();
    let workers = Workers::reporting(fetchers, world.push.clone(), Some(world.health.clone()));
    for number in 0..3 {
        workers.carry_out(record("i", number)).await;
        let status = world.health.all()["i"].clone();
        assert_eq!(status.troubles.len(), 1, "{status:?}");
        assert!(status.reason.contains("files:read is missing") && !status.action.is_empty(), "{status:?}");
    }
    workers.carry_out(record("i", 3)).await;
    assert!(world.health.all()["i"].troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn not_even_a_panic_on_giving_up_loses_an_order() {
    let world = world(Script::always(Answer::Taken));
    let fetch = Arc::new(FakeFetch { panics: true, failed_panics: true, ..FakeFetch::default() });
    workers(&world, &fetch).carry_out(record("i", 1)).await;
    let records = world.publisher.records();
    let [letter] = &records[..] else { panic!("{records:?}") };
    let letter: DeadLetter = serde_json::from_slice(&letter.value).unwrap();
    let media: FetchedMedia = serde_json::from_slice(&letter.raw.unwrap().body).unwrap();
    assert_eq!(media.order.id, "m-1");
}

#[tokio::test(start_paused = true)]
async fn an_order_of_nobody_is_kept_as_a_dead_letter() {
    for script in [Script::always(Answer::Taken), Script::outage(5)] {
        let world = world(script);
        workers(&world, &Arc::new(FakeFetch::default())).carry_out(record("another", 1)).await;
        let records = world.publisher.records();
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!(record.topic, TopicRole::DeadLetter);
        let letter: DeadLetter = serde_json::from_slice(&record.value).unwrap();
        assert_eq!((letter.reason.as_str(), letter.instance.as_str()), ("instance_not_configured", "another"));
        let order: OrderRecord = serde_json::from_slice(&letter.raw.unwrap().body).unwrap();
        assert_eq!(order.order.id, "m-1");
    }
}

/// A provider that hangs holds up its own orders and nobody else's.
#[tokio::test(start_paused = true)]
async fn d10_one_instance_does_not_hold_up_another() {
    let world = world(Script::always(Answer::Taken));
    let hanging = Arc::new(FakeFetch { hangs: true, ..FakeFetch::default() });
    let well = Arc::new(FakeFetch::default());
    let other = instance("other", SourceClass::Ephemeral, Start::Now, &world.metrics);
    let other = Fetcher { instance: Arc::new(other), ..fetcher(&world, &well) };
    let fetchers = [("i".to_owned(), fetcher(&world, &hanging)), ("other".to_owned(), other)];
    let workers = Workers::new(fetchers.into(), world.push.clone());
    let orders = |instance: &'static str, count: usize| {
        let workers = workers.clone();
        (0..count).map(move |number| {
            let workers = workers.clone();
            tokio::spawn(async move { workers.carry_out(record(instance, number)).await })
        })
    };
    let stuck: Vec<_> = orders("i", 50).collect();
    tokio::task::yield_now().await;
    let done = futures::future::join_all(orders("other", 20));
    tokio::time::timeout(60 * SECOND, done).await.expect("not held up");
    assert_eq!(hanging.most_at_once.load(Ordering::Relaxed), 4);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}
