//! Real consumers: kcat, Kafka's own Java console consumer, Python's CloudEvents SDK, and librdkafka read_committed.

use crate::process::{Workdir, run};
use crate::servers::kafka::java;
use crate::{cache, wait};
use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const CALL_LIMIT: Duration = Duration::from_secs(10);
const POLL_LIMIT: Duration = Duration::from_millis(200);
/// Records between two looks at whether they are enough.
const BATCH: usize = 50;
/// How long the Java consumer waits for one more record before it ends.
const JAVA_IDLE_MS: &str = "10000";

/// One record as a consumer saw it. Header values are text: CloudEvents headers are.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub value: Vec<u8>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.value)
            .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&self.value)))
    }

    /// A text field of the value by JSON pointer, such as `/content/0/text`.
    pub fn text(&self, pointer: &str) -> Option<String> {
        self.json().ok()?.pointer(pointer)?.as_str().map(str::to_owned)
    }
}

/// Everything on the topic now, by kcat, to the end of each partition.
pub fn kcat(bootstrap: &str, topic: &str) -> Result<Vec<Record>> {
    let text =
        run(Command::new("kcat").args(["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]))?;
    text.lines().map(kcat_record).collect()
}

/// Reads with kcat until there are at least `count` records.
pub fn kcat_until(bootstrap: &str, topic: &str, count: usize, limit: Duration) -> Result<Vec<Record>> {
    wait::until(limit, &format!("{count} records on {topic} by kcat"), || {
        let records = kcat(bootstrap, topic)?;
        if records.len() < count {
            bail!("{} records so far", records.len());
        }
        Ok(Some(records))
    })
}

fn kcat_record(line: &str) -> Result<Record> {
    let json: Value = serde_json::from_str(line).with_context(|| format!("kcat printed {line}"))?;
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let words: Vec<_> = json["headers"].as_array().into_iter().flatten().map(|w| w.as_str().unwrap_or("")).collect();
    let headers = words.chunks(2).map(|pair| (pair[0].to_owned(), pair[pair.len() - 1].to_owned())).collect();
    Ok(Record {
        partition: i32::try_from(json["partition"].as_i64().context("partition")?)?,
        offset: json["offset"].as_i64().context("offset")?,
        key: text("key"),
        headers,
        value: text("payload").unwrap_or_default().into_bytes(),
    })
}

/// The Java console consumer of the Kafka distribution, from the beginning, until `count` records have come.
/// Gives its lines: headers, key and value separated by tabs.
pub fn java_console(bootstrap: &str, topic: &str, count: usize) -> Result<Vec<JavaLine>> {
    let properties = ["print.headers=true", "print.key=true", "key.separator=\t", "headers.separator=\u{1f}"];
    let mut command = java(&[])?;
    command.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap]);
    command.args(["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]);
    command.args(["--max-messages", &count.to_string(), "--timeout-ms", JAVA_IDLE_MS]);
    for property in properties {
        command.args(["--property", property]);
    }
    run(&mut command)?.lines().map(JavaLine::parse).collect()
}

/// One line of the Java console consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct JavaLine {
    pub headers: BTreeMap<String, String>,
    pub key: String,
    pub value: String,
}

impl JavaLine {
    fn parse(line: &str) -> Result<Self> {
        let parts: Vec<_> = line.splitn(3, '\t').collect();
        let [headers, key, value] = parts[..] else { bail!("the console consumer printed {line}") };
        let headers = headers
            .split('\u{1f}')
            .filter_map(|pair| pair.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Self { headers, key: key.to_owned(), value: value.to_owned() })
    }
}

/// What Python's CloudEvents SDK makes of `count` records: one JSON object a record with `attributes` and `data`.
pub fn python_cloudevents(bootstrap: &str, topic: &str, count: usize) -> Result<Vec<Value>> {
    let script = cache::workspace().join("tests/clients/cloudevents_consumer.py");
    let text =
        run(Command::new(cache::path("python/bin/python")?).arg(script).args([bootstrap, topic, &count.to_string()]))?;
    text.lines().map(|line| serde_json::from_str(line).context("the script prints JSON")).collect()
}

/// A consumer that sees only what is committed, over all partitions from the beginning. It stays open, so that a test
/// can go on reading where it was.
pub struct Committed {
    consumer: BaseConsumer,
    topic: String,
    pub records: Vec<Record>,
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committed").field("topic", &self.topic).field("records", &self.records.len()).finish()
    }
}

impl Committed {
    /// Waits until the topic is there, for topics that the gateway creates.
    pub fn open(bootstrap: &str, topic: &str, limit: Duration) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", format!("inlet-tests-{}", std::process::id()))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.message.max.bytes", "8388608")
            .set("log_level", "0")
            .create()?;
        let partitions = wait::until(limit, &format!("topic {topic}"), || {
            let metadata = consumer.fetch_metadata(Some(topic), CALL_LIMIT)?;
            let count = metadata.topics().first().map_or(0, |t| t.partitions().len());
            Ok((count > 0).then_some(count))
        })?;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, i32::try_from(partition)?, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(Self { consumer, topic: topic.to_owned(), records: Vec::new() })
    }

    /// Reads on until `enough` says so of everything read so far.
    pub fn read_until(&mut self, limit: Duration, what: &str, enough: impl Fn(&[Record]) -> bool) -> Result<&[Record]> {
        let what = format!("{what} on {}", self.topic);
        wait::until(limit, &what, || {
            loop {
                let before = self.records.len();
                self.take(BATCH)?;
                if enough(&self.records) {
                    return Ok(Some(()));
                }
                if self.records.len() < before + BATCH {
                    bail!("{} records so far", self.records.len());
                }
            }
        })?;
        Ok(&self.records)
    }

    /// Takes what is there now.
    pub fn drain(&mut self) -> Result<&[Record]> {
        self.take(usize::MAX)?;
        Ok(&self.records)
    }

    /// Hands over at most so many of what is there now, and does not keep them.
    pub fn next(&mut self, most: usize) -> Result<Vec<Record>> {
        self.take(most)?;
        Ok(std::mem::take(&mut self.records))
    }

    /// Takes at most so many: a test that acts in the middle of a flood must not be carried along to its end.
    fn take(&mut self, most: usize) -> Result<()> {
        let end = self.records.len().saturating_add(most);
        while self.records.len() < end
            && let Some(polled) = self.consumer.poll(POLL_LIMIT)
        {
            match polled {
                Ok(message) => self.records.push(record(&message)),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(KafkaError::MessageConsumption(code)) => bail!("read {}: {code}", self.topic),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

fn record(message: &impl Message) -> Record {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text),
        headers: headers.map(|h| (h.key.to_owned(), h.value.map(text).unwrap_or_default())).collect(),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}

/// Produces one record with kcat, key and headers included.
pub fn kcat_produce(bootstrap: &str, topic: &str, key: &str, headers: &[(&str, &str)], value: &[u8]) -> Result<()> {
    let dir = Workdir::new("kcat")?;
    let file = dir.write("value", value)?;
    let mut command = Command::new("kcat");
    command.args(["-b", bootstrap, "-P", "-t", topic, "-k", key]);
    // A paused broker keeps its sockets open: give up on it before the minute that is the default.
    // A retry must not double the record.
    command.args(["-X", "socket.timeout.ms=3000", "-X", "enable.idempotence=true"]);
    for (name, value) in headers {
        command.args(["-H", &format!("{name}={value}")]);
    }
    run(command.arg(file)).map(drop)
}
