//! A Kafka-protocol broker inside this process, for `inlet quickstart`: librdkafka's mock cluster, to which real
//! clients can connect. Its data ends with it, and it neither isolates nor fences transactions.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use super::link::Quiet;
use super::settings::Topics;
use crate::pipeline::record::TopicRole;

/// How often the cluster's thread looks whether it has to end.
const TICK: Duration = Duration::from_millis(200);

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("the embedded broker does not start: {0}")]
    Kafka(#[from] KafkaError),
    #[error("the embedded broker does not start: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the embedded broker ended before it was ready")]
    Ended,
}

/// A running broker; it ends when this is dropped.
pub struct EmbeddedKafka {
    bootstrap: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedKafka {
    /// Starts one broker on a free loopback port and creates the topics (with replication 1). Blocks for milliseconds.
    pub fn start(topics: &Topics) -> Result<Self, EmbeddedError> {
        let (ready_tx, ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let topics = topics.clone();
        // The cluster's handle cannot move between threads: it lives and dies on this one.
        let thread = std::thread::Builder::new()
            .name("embedded-kafka".to_owned())
            .spawn(move || serve(&topics, &ready_tx, &stopped))?;
        let bootstrap = ready.recv().map_err(|_| EmbeddedError::Ended)??;
        Ok(Self { bootstrap, stop: Some(stop), thread: Some(thread) })
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for EmbeddedKafka {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(topics: &Topics, ready: &mpsc::Sender<Result<String, KafkaError>>, stopped: &mpsc::Receiver<()>) {
    let mut config = ClientConfig::new();
    config.set("test.mock.num.brokers", "1").set_log_level(RDKafkaLogLevel::Critical);
    let producer: BaseProducer<Quiet> = match config.create_with_context(Quiet) {
        Ok(producer) => producer,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let Some(cluster) = producer.client().mock_cluster() else { return };
    let created = TopicRole::ALL.iter().try_for_each(|role| {
        let topic = topics.get(*role);
        cluster.create_topic(&topic.name, topic.partitions, 1)
    });
    if ready.send(created.map(|()| cluster.bootstrap_servers())).is_err() {
        return;
    }
    // Ends when the owner drops its sender.
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
        producer.poll(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Publisher;
    use crate::delivery::consumer::{Tail, TailFrom};
    use crate::delivery::push::{DEFAULT_DEADLINE, KafkaPublisher};
    use crate::delivery::settings::KafkaSettings;
    use crate::pipeline::record::Record;

    #[tokio::test(flavor = "multi_thread")]
    async fn takes_records_and_gives_them_back() {
        let topics = Topics::default();
        let kafka = EmbeddedKafka::start(&topics).expect("starts");
        let settings = KafkaSettings::new(vec![kafka.bootstrap().to_owned()]);
        let mut tail = Tail::open(&settings, &[TopicRole::Events], TailFrom::End).await.expect("the topic is there");
        let publisher = KafkaPublisher::start(&settings, DEFAULT_DEADLINE).expect("settings are valid");
        let record = Record {
            topic: TopicRole::Events,
            key: "conversation".to_owned(),
            value: "event".into(),
            headers: vec![("ce_id", "1".to_owned())],
        };
        publisher.publish(vec![record.clone()]).await.expect("confirmed");
        let next = tokio::time::timeout(Duration::from_secs(20), tail.next());
        let received = next.await.expect("a record comes").expect("is readable");
        assert_eq!((received.value, received.key), (record.value, Some(record.key)));
        assert_eq!(received.headers, [("ce_id".to_owned(), "1".to_owned())]);
    }
}
