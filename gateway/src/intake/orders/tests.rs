//! What is in hand, without a Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use connector_sdk::FetchOrder;

use super::*;
use crate::delivery::memory::MemoryPublisher;
use crate::intake::push::PushLine;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::enrich::Enricher;
use crate::pipeline::line::Line;

/// An order whose end is counted.
struct Counted {
    received: Received,
    done: Arc<AtomicUsize>,
}

impl Ordered for Counted {
    fn received(&self) -> &Received {
        &self.received
    }

    fn done(self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

struct World {
    hand: Hand<Counted>,
    publisher: Arc<MemoryPublisher>,
    done: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl World {
    /// Nobody's fetchers: every order ends as a dead letter, or goes back.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(&crate::config::model::Blobs::default(), dir.path()).unwrap();
        let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 1 << 20 };
        let publisher = Arc::new(MemoryPublisher::default());
        let push = PushLine { line: Arc::new(line), publisher: publisher.clone(), seen: Arc::default() };
        let hand = Hand::new(Workers::new(HashMap::new(), push));
        Self { hand, publisher, done: Arc::default(), _dir: dir }
    }

    fn take(&mut self, id: &str, age: Duration) {
        let order = FetchOrder {
            id: id.to_owned(),
            kind: "media".to_owned(),
            params: serde_json::Value::Null,
            expires_at: None,
        };
        let ordered_at = crate::clock::now().minus(age);
        let record = OrderRecord { instance: "unknown".to_owned(), order, ordered_at };
        let received = Received {
            topic: TopicRole::Fetches,
            partition: 0,
            offset: 0,
            at: None,
            key: Some(format!("unknown/{id}")),
            headers: Vec::new(),
            value: serde_json::to_vec(&record).map(Bytes::from).unwrap(),
        };
        self.hand.take(Counted { received, done: self.done.clone() });
    }

    async fn end_all(&mut self) {
        while let Some(ended) = self.hand.running.join_next().await {
            self.hand.ended(ended);
        }
    }

    fn published(&self) -> Vec<TopicRole> {
        self.publisher.records().iter().map(|record| record.topic).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn orders_for_the_same_thing_are_carried_out_once() {
    let mut world = World::new();
    for _ in 0..3 {
        world.take("a", UNKNOWN_WAIT);
    }
    world.take("b", UNKNOWN_WAIT);
    world.end_all().await;
    assert_eq!(world.published(), [TopicRole::DeadLetter; 2]);
    assert_eq!(world.done.load(Ordering::Relaxed), 4);
    // It brought nothing, so a new order is a new attempt.
    world.take("a", UNKNOWN_WAIT);
    world.end_all().await;
    assert_eq!(world.published().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_order_of_an_instance_not_known_yet_goes_to_the_back() {
    let mut world = World::new();
    world.take("a", Duration::ZERO);
    assert_eq!(world.done.load(Ordering::Relaxed), 0);
    // The same comes round before the first is done: both stay in circulation.
    world.take("a", Duration::ZERO);
    world.end_all().await;
    assert_eq!(world.published(), [TopicRole::Fetches; 2]);
    assert_eq!(world.publisher.records()[0].key, "unknown/a");
    assert_eq!(world.done.load(Ordering::Relaxed), 2);
    assert!(world.hand.backs.is_empty() && world.hand.open.is_empty() && world.hand.of_one.is_empty());
}

#[test]
fn what_was_brought_is_known_for_a_while() {
    let mut recent = Recent::default();
    for n in 0..=RECENT_MAX {
        recent.note(n.to_string());
        recent.note(n.to_string());
    }
    assert!(recent.has(&RECENT_MAX.to_string()));
    recent.note("one more".to_owned());
    assert!(!recent.has("0") && recent.has("one more"));
}
