//! Topics are created as configured, and what somebody else created is checked.

use anyhow::{Context, Result, ensure};
use inlet::delivery::settings::KafkaSettings;
use inlet::delivery::topics::{Fault, Severity, TopicSheet, TopicsError, ensure, ensure_when_up};
use inlet::pipeline::record::TopicRole;
use inlet_tests::runtime;
use inlet_tests::servers::kafka::Kafka;

use crate::support::{create_topics, settings};

#[test]
fn missing_topics_are_created_and_pass_the_check() -> Result<()> {
    let settings = settings(Kafka::shared(), "created", 4);
    let findings = runtime::block_on(ensure(&settings))?;
    let created = findings.iter().filter(|f| f.fault == Fault::Created).count();
    ensure!(created == TopicRole::ALL.len() && findings.len() == created, "{findings:?}");
    let again = runtime::block_on(ensure(&settings))?;
    ensure!(again.is_empty(), "{again:?}");
    let described = Kafka::shared()
        .tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &settings.topics.cursors.name])?;
    for word in ["PartitionCount: 4", "cleanup.policy=compact", "segment.ms=3600000", "min.cleanable.dirty.ratio=0.1"] {
        ensure!(described.contains(word), "{word} is missing: {described}");
    }
    Ok(())
}

#[test]
fn two_replicas_may_create_at_once() -> Result<()> {
    let settings = settings(Kafka::shared(), "race", 4);
    let (first, second) = runtime::block_on(async { tokio::join!(ensure(&settings), ensure(&settings)) });
    let (first, second) = (first?, second?);
    let created = first.iter().chain(&second).filter(|f| f.fault == Fault::Created).count();
    ensure!(created == TopicRole::ALL.len(), "{first:?} {second:?}");
    ensure!(first.iter().chain(&second).all(|f| f.severity() == Severity::Note), "{first:?} {second:?}");
    Ok(())
}

#[test]
fn what_somebody_else_created_is_checked() -> Result<()> {
    let kafka = Kafka::shared();
    let mut settings = settings(kafka, "foreign", 8);
    settings.topics.create = false;
    settings.properties.insert("message.max.bytes".to_owned(), "2000000".to_owned());
    settings.topics.events.replication = 3;
    kafka.create_topic(&settings.topics.events.name, 2)?;
    kafka.create_topic(&settings.topics.cursors.name, 4)?;
    let findings = runtime::block_on(ensure(&settings))?;
    let fault = |role: TopicRole, wanted: &dyn Fn(&Fault) -> bool| {
        let found = findings.iter().find(|f| f.role == role && wanted(&f.fault));
        found.map(ToString::to_string).with_context(|| format!("{role:?}: not found in {findings:?}"))
    };
    let text = fault(TopicRole::Cursors, &|f| *f == Fault::Partitions { found: 4, configured: 8 })?;
    ensure!(text.contains("topics.cursors.partitions: 4"), "{text}");
    let text = fault(TopicRole::Cursors, &|f| matches!(f, Fault::Cleanup { .. }))?;
    ensure!(text.contains("--add-config cleanup.policy=compact"), "{text}");
    let text = fault(TopicRole::Events, &|f| matches!(f, Fault::MessageBytes { .. }))?;
    ensure!(text.contains("max.message.bytes="), "{text}");
    fault(TopicRole::Events, &|f| matches!(f, Fault::Retention { .. }))?;
    fault(TopicRole::Events, &|f| *f == Fault::Replication { found: 1, configured: 3 })?;
    fault(TopicRole::DeadLetter, &|f| *f == Fault::Missing)?;
    let errors = findings.iter().filter(|f| f.severity() == Severity::Error).count();
    ensure!(errors >= 5, "{findings:?}");
    Ok(())
}

#[test]
fn more_replicas_than_brokers_is_a_finding() -> Result<()> {
    let mut settings = settings(Kafka::shared(), "replicas", 4);
    settings.topics.fetches.replication = 3;
    let findings = runtime::block_on(ensure(&settings))?;
    let found = findings.iter().find(|f| f.role == TopicRole::Fetches).context("no finding")?;
    ensure!(matches!(found.fault, Fault::NotCreated { .. }) && found.severity() == Severity::Error, "{found}");
    ensure!(found.to_string().contains("topics.fetches.replication"), "{found}");
    Ok(())
}

#[test]
fn kafka_may_come_later() -> Result<()> {
    let nowhere = KafkaSettings::new(vec!["127.0.0.1:9".to_owned()]);
    let error = runtime::block_on(ensure(&nowhere)).err().context("nothing listens there")?;
    ensure!(matches!(error, TopicsError::Unreachable { .. }), "{error}");

    let mut kafka = Kafka::prepared(1)?;
    let settings = settings(&kafka, "late", 1);
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let waiting = runtime::spawn(async move {
        let mut tell = |error: &TopicsError| drop(told.send(error.to_string()));
        ensure_when_up(&settings, &mut tell).await
    });
    runtime::block_on(hears.recv()).context("the wait is told")?;
    kafka.start_all()?;
    let findings = runtime::block_on(waiting)??;
    ensure!(findings.iter().filter(|f| f.fault == Fault::Created).count() == TopicRole::ALL.len(), "{findings:?}");
    Ok(())
}

/// The printed commands are for people to run: they must make topics that pass the check.
#[test]
fn the_printed_commands_make_topics_that_pass() -> Result<()> {
    let kafka = Kafka::shared();
    let settings = settings(kafka, "printed", 4);
    let commands = TopicSheet::new(&settings)?.to_commands(&kafka.bootstrap(), "User:inlet");
    let mut run = 0;
    for line in commands.lines().filter(|line| line.starts_with("kafka-topics.sh ")) {
        let words: Vec<_> = line.split_whitespace().skip(3).collect();
        kafka.tool("org.apache.kafka.tools.TopicCommand", &words)?;
        run += 1;
    }
    ensure!(run == TopicRole::ALL.len(), "{commands}");
    create_topics(&settings)?;
    let findings = runtime::block_on(ensure(&settings))?;
    ensure!(findings.is_empty(), "{findings:?}");
    Ok(())
}
