//! The lane from end to end on the embedded broker: quick, and without Java. What that broker cannot show (isolation,
//! fencing) is proven on a real Kafka in `tests/`.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::delivery::consumer::{Tail, TailFrom};
use crate::delivery::embedded::EmbeddedKafka;
use crate::delivery::settings::{KafkaSettings, Topics};
use crate::pipeline::record::TopicRole;

const LIMIT: Duration = Duration::from_secs(30);

fn input(n: u64, bytes: usize) -> (Input, oneshot::Receiver<Settled>) {
    let (settled, outcome) = oneshot::channel();
    let record =
        move |topic, value: Vec<u8>| Record { topic, key: n.to_string(), value: value.into(), headers: Vec::new() };
    let input = Input {
        key: CursorKey { instance: "mailbox".to_owned(), stream: StreamId::new("INBOX") },
        cursor_after: Some(Cursor(json!({ "uid": n }))),
        records: vec![record(TopicRole::Events, vec![b'x'; bytes])],
        dead_letter: Arc::new(move |reason| vec![record(TopicRole::DeadLetter, reason.as_bytes().to_vec())]),
        settled,
    };
    (input, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_settled_and_their_positions_stored() {
    let mut topics = Topics::default();
    topics.cursors.partitions = 1;
    let kafka = EmbeddedKafka::start(&topics).expect("starts");
    let mut settings = KafkaSettings::new(vec![kafka.bootstrap().to_owned()]);
    settings.topics = topics;
    let (_instances, watched) = watch::channel(vec![InstanceRef { name: "mailbox".to_owned(), replay: true }]);
    let (announce, mut announced) = mpsc::channel(1);
    let handle = Replay::start(&settings, watched, announce).expect("settings are valid");
    let mut ownership = timeout(LIMIT, announced.recv()).await.expect("joins").expect("a shard");
    // Not held: the lane waits for its readers.
    let epoch = {
        let shown = timeout(LIMIT, ownership.epoch.wait_for(Option::is_some)).await;
        shown.expect("begins").expect("runs").clone().expect("is some")
    };

    let mut outcomes = Vec::new();
    for n in 0..10 {
        // The fourth is larger than any producer sends.
        let (input, outcome) = input(n, if n == 4 { 2_000_000 } else { 10 });
        epoch.lane.send(input).await.expect("takes it");
        outcomes.push(outcome);
    }
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let settled = timeout(LIMIT, outcome).await.expect("in time").expect("committed");
        assert_eq!(settled, if n == 4 { Settled::DeadLettered } else { Settled::Published }, "{n}");
    }
    let stored = list_cursors(&settings).await.expect("readable");
    let cursors: Vec<_> = stored.values().map(|stored| &stored.cursor.0).collect();
    assert_eq!(cursors, [&json!({ "uid": 9 })]);
    let mut letters = Tail::open(&settings, &[TopicRole::DeadLetter], TailFrom::Beginning).await.expect("is there");
    let letter = timeout(LIMIT, letters.next()).await.expect("comes").expect("is readable");
    assert_eq!(letter.key.as_deref(), Some("4"));

    let status = handle.status();
    assert_eq!((status.shards[0].inputs, status.shards[0].dead_letters), (10, 1), "{status:?}");
    assert!(status.shards[0].transactions < 10, "nothing was grouped: {status:?}");
    ownership.released.cancel();
    assert!(handle.shutdown().await);
    assert!(ownership.revoked.is_cancelled() && epoch.ended.is_cancelled());
    assert!(epoch.refreshed().await.is_none());
}
