//! The push lane against librdkafka's mock cluster, whose brokers can be made to fail.

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::delivery::settings::DEFAULT_MAX_MESSAGE_BYTES;
use crate::pipeline::record::TopicRole;

const DEADLINE: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(20);

type Mock = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> (Mock, KafkaPublisher) {
    let mock = MockCluster::new(1).expect("mock cluster");
    let mut settings = KafkaSettings::new(vec![mock.bootstrap_servers()]);
    settings.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    for role in TopicRole::ALL {
        mock.create_topic(&settings.topics.get(role).name, 2, 1).expect("topic");
    }
    let publisher = KafkaPublisher::start(&settings, DEADLINE).expect("settings are valid");
    (mock, publisher)
}

fn record(bytes: usize) -> Record {
    Record {
        topic: TopicRole::Events,
        key: "conversation".to_owned(),
        value: Bytes::from(vec![b'x'; bytes]),
        headers: vec![("ce_id", "1".to_owned())],
    }
}

/// Polls `probe` until it holds; a test that waits for longer than `LIMIT` fails.
async fn until(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !probe().await {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn confirmed_records_are_ok_and_counted() {
    let (_mock, publisher) = cluster();
    publisher.publish(vec![record(10), record(20), record(30)]).await.expect("confirmed");
    assert_eq!(publisher.figures().confirmed.load(Ordering::Relaxed), 3);
    assert!(publisher.link().is_up());
    assert!(publisher.flush(LIMIT).await);
    assert_eq!(publisher.publish(Vec::new()).await, Ok(()));
}

/// What is on Kafka, as it stands in its partitions.
fn values(mock: &Mock, topic: &str, count: usize) -> Vec<String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    (0..2).for_each(|number| {
        partitions.add_partition_offset(topic, number, Offset::Beginning).expect("an offset");
    });
    consumer.assign(&partitions).expect("assigned");
    let (mut values, deadline) = (Vec::new(), Instant::now() + LIMIT);
    while values.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} within {LIMIT:?}", values.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a message");
            values.push(String::from_utf8(message.payload().unwrap_or_default().to_vec()).expect("text"));
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d5_whoever_hands_over_records_of_a_call_stay_together_and_in_order() {
    const CALLERS: usize = 8;
    const CALLS: usize = 50;
    const RECORDS: usize = 5;
    let (mock, publisher) = cluster();
    let publisher = Arc::new(publisher);
    let call = |caller, call| {
        let value = |at| Bytes::from(format!("{caller}/{call:02}/{at}"));
        (0..RECORDS).map(|at| Record { value: value(at), ..record(0) }).collect::<Vec<_>>()
    };
    let callers = (0..CALLERS).map(|caller| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            // Three at a time: some wait while others are on their way, and most are sent by somebody else.
            let calls: Vec<usize> = (0..CALLS).collect();
            for calls in calls.chunks(3) {
                let sent: Vec<_> = calls.iter().map(|&n| publisher.enqueue(&call(caller, n)).expect("fits")).collect();
                for sent in sent {
                    sent.settled().await.expect("confirmed");
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no panic");
    }
    assert_eq!(publisher.in_flight(), 0);
    let topic = KafkaSettings::new(Vec::new()).topics.events.name;
    let all = values(&mock, &topic, CALLERS * CALLS * RECORDS);
    let ends: Vec<String> = (0..RECORDS).map(|at| format!("/{at}")).collect();
    for together in all.chunks(RECORDS) {
        assert!(together.iter().zip(&ends).all(|(value, end)| value.ends_with(end)), "torn apart: {together:?}");
    }
    for caller in 0..CALLERS {
        let own: Vec<_> = all.iter().filter(|value| value.starts_with(&format!("{caller}/"))).collect();
        assert!(own.len() == CALLS * RECORDS && own.is_sorted(), "caller {caller}: {own:?}");
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_stops_the_call_before_anything_is_sent() {
    let (_mock, publisher) = cluster();
    let error = publisher.publish(vec![record(10), record(DEFAULT_MAX_MESSAGE_BYTES)]).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused { index: 1, .. }), "{error}");
    assert_eq!(publisher.figures().confirmed.load(Ordering::Relaxed), 0);
    assert_eq!(publisher.figures().refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_the_broker_refuses_for_good_is_refused() {
    let (mock, publisher) = cluster();
    publisher.publish(vec![record(1)]).await.expect("confirmed");
    // Once in company, once alone.
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 2]);
    let error = publisher.publish(vec![record(1)]).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused { index: 0, .. }), "{error}");
}

#[tokio::test]
async fn who_was_refused_for_the_company_is_taken_alone() {
    let (mock, publisher) = cluster();
    publisher.publish(vec![record(1)]).await.expect("confirmed");
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    publisher.publish(vec![record(1), record(2)]).await.expect("each is taken alone");
}

#[tokio::test]
async fn missing_rights_are_for_people_to_repair() {
    let (mock, publisher) = cluster();
    publisher.publish(vec![record(1)]).await.expect("confirmed");
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let error = publisher.publish(vec![record(1)]).await.unwrap_err();
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("ACL")), "{error}");
    until("the rights were given", async || publisher.publish(vec![record(1)]).await.is_ok()).await;
}

#[tokio::test]
async fn an_outage_is_unavailable_within_the_deadline_and_ends_by_itself() {
    let (mock, publisher) = cluster();
    publisher.publish(vec![record(1)]).await.expect("confirmed");
    mock.broker_down(-1).expect("down");
    let begun = Instant::now();
    let error = publisher.publish(vec![record(1)]).await.unwrap_err();
    assert!(matches!(error, PublishError::Unavailable(_)), "{error}");
    // librdkafka looks for timed-out records once a second.
    assert!(begun.elapsed() < DEADLINE + Duration::from_millis(1500), "{:?}", begun.elapsed());
    until("the link is down", async || !publisher.link().is_up()).await;
    mock.broker_up(-1).expect("up");
    until("records are taken again", async || publisher.publish(vec![record(1)]).await.is_ok()).await;
    assert!(publisher.link().is_up());
}

#[tokio::test]
async fn a_full_queue_is_unavailable_at_once() {
    let mock = MockCluster::new(1).expect("mock cluster");
    let mut settings = KafkaSettings::new(vec![mock.bootstrap_servers()]);
    settings.properties.insert("queue.buffering.max.messages".to_owned(), "2".to_owned());
    mock.create_topic(&settings.topics.events.name, 1, 1).expect("topic");
    mock.broker_down(-1).expect("down");
    let publisher = KafkaPublisher::start(&settings, DEADLINE).expect("settings are valid");
    let first = publisher.enqueue(&[record(1), record(1)]).expect("fits");
    let begun = Instant::now();
    let error = publisher.publish(vec![record(1)]).await.unwrap_err();
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("waiting")), "{error}");
    assert!(begun.elapsed() < DEADLINE / 2);
    assert!(matches!(first.settled().await, Err(PublishError::Unavailable(_))));
}

#[tokio::test]
async fn a_producer_that_broke_for_good_is_replaced() {
    let (mock, publisher) = cluster();
    publisher.publish(vec![record(1)]).await.expect("confirmed");
    publisher.end.context.broken.store(true, Ordering::Relaxed);
    let old = Arc::as_ptr(&publisher.end.producer.load());
    until("replaced", async || {
        publisher.publish(vec![record(1)]).await.expect("both producers work");
        Arc::as_ptr(&publisher.end.producer.load()) != old
    })
    .await;
    assert!(!publisher.end.context.broken.load(Ordering::Relaxed));
    drop(mock);
}

#[tokio::test]
async fn a_topic_may_come_later() {
    let mock = MockCluster::new(1).expect("mock cluster");
    // Without this the mock cluster creates what it is asked for.
    let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    let mut settings = KafkaSettings::new(vec![mock.bootstrap_servers()]);
    settings.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    settings.properties.insert("topic.metadata.propagation.max.ms".to_owned(), "0".to_owned());
    mock.topic_error(&settings.topics.events.name, missing).expect("topic error");
    let publisher = KafkaPublisher::start(&settings, DEADLINE).expect("settings are valid");
    let error = publisher.publish(vec![record(1)]).await.unwrap_err();
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("inlet topics print")), "{error}");
    mock.topic_error(&settings.topics.events.name, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).expect("no error");
    until("the topic was created", async || publisher.publish(vec![record(1)]).await.is_ok()).await;
}

#[tokio::test]
async fn starts_without_kafka() {
    let settings = KafkaSettings::new(vec!["127.0.0.1:9".to_owned()]);
    let publisher = KafkaPublisher::start(&settings, DEADLINE).expect("settings are valid");
    assert!(matches!(publisher.publish(vec![record(1)]).await, Err(PublishError::Unavailable(_))));
    let LinkState::Down { reason, .. } = publisher.link() else { panic!("nothing listens there") };
    assert!(!reason.is_empty());
}
