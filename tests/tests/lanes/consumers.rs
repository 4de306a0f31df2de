//! Readers of Inlet's own topics: `Tail` and the fetch workers' group.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inlet::delivery::Publisher;
use inlet::delivery::consumer::{GroupConsumer, Job, Received, Tail, TailFrom};
use inlet::delivery::push::{DEFAULT_DEADLINE, KafkaPublisher};
use inlet::delivery::settings::KafkaSettings;
use inlet::pipeline::record::{Record, TopicRole};
use inlet_tests::runtime;
use inlet_tests::servers::kafka::Kafka;

use crate::support::{LIMIT, create_topics, event, settings};

fn order(n: usize) -> Record {
    let key = format!("order-{n}");
    Record { topic: TopicRole::Fetches, key: key.clone(), value: key.into(), headers: Vec::new() }
}

async fn next(tail: &mut Tail) -> Result<Received> {
    Ok(tokio::time::timeout(LIMIT, tail.next()).await.context("no record came")??)
}

async fn job(worker: &GroupConsumer) -> Result<Job> {
    Ok(tokio::time::timeout(LIMIT, worker.next()).await.context("no job came")??)
}

fn publisher(settings: &KafkaSettings) -> Result<KafkaPublisher> {
    Ok(KafkaPublisher::start(settings, DEFAULT_DEADLINE)?)
}

#[test]
fn tail_shows_what_is_there_or_what_comes() -> Result<()> {
    let settings = settings(Kafka::shared(), "tail", 1);
    create_topics(&settings)?;
    let publisher = publisher(&settings)?;
    runtime::block_on(async {
        publisher.publish(vec![event("old", 0, 10)]).await?;
        let roles = [TopicRole::Events, TopicRole::DeadLetter];
        let mut new = Tail::open(&settings, &roles, TailFrom::End).await?;
        let mut all = Tail::open(&settings, &roles, TailFrom::Beginning).await?;
        publisher.publish(vec![event("new", 1, 10)]).await?;
        let letter = Record { topic: TopicRole::DeadLetter, ..order(7) };
        publisher.publish(vec![letter]).await?;

        // Partitions come in any order.
        let seen = [next(&mut all).await?, next(&mut all).await?, next(&mut all).await?];
        let old = seen.iter().find(|r| r.key.as_deref() == Some("old")).context("what was there is not shown")?;
        ensure!(old.header("ce_id") == Some("old-0") && old.topic == TopicRole::Events && old.at.is_some(), "{old:?}");
        ensure!(old.value == event("old", 0, 10).value);
        let later = [next(&mut new).await?, next(&mut new).await?];
        let mut keys: Vec<_> = later.iter().filter_map(|r| r.key.clone()).collect();
        keys.sort();
        ensure!(keys == ["new", "order-7"], "{keys:?}");
        ensure!(later.iter().any(|r| r.topic == TopicRole::DeadLetter));
        Ok(())
    })
}

#[test]
fn tail_names_a_topic_that_is_missing() -> Result<()> {
    let settings = settings(Kafka::shared(), "nothing-here", 1);
    let opened = runtime::block_on(Tail::open(&settings, &[TopicRole::Events], TailFrom::End));
    let error = opened.err().context("the topic does not exist")?.to_string();
    ensure!(error.contains("nothing-here.events"), "{error}");
    Ok(())
}

#[test]
fn jobs_that_are_not_done_are_given_to_the_next_worker() -> Result<()> {
    const COUNT: usize = 30;
    let mut settings = settings(Kafka::shared(), "workers", 1);
    settings.topics.fetches.partitions = 2;
    create_topics(&settings)?;
    let publisher = publisher(&settings)?;
    runtime::block_on(async {
        publisher.publish((0..COUNT).map(order).collect()).await?;
        let worker = GroupConsumer::join(&settings)?;
        let mut done = BTreeSet::new();
        let mut unfinished = Vec::new();
        for _ in 0..COUNT {
            let job = job(&worker).await?;
            let key = job.received.key.clone().context("a key")?;
            // Every fifth worker hangs; what comes behind it is finished all the same.
            if unfinished.len() < COUNT / 5 && done.len() % 4 == 3 {
                unfinished.push(job);
            } else {
                job.done();
            }
            ensure!(done.insert(key), "a job came twice");
        }
        ensure!(done.len() == COUNT);
        let left: BTreeSet<_> = unfinished.iter().filter_map(|job| job.received.key.clone()).collect();
        drop(unfinished);
        drop(worker);

        // The next member gets everything from the first unfinished job of each partition on.
        let worker = GroupConsumer::join(&settings)?;
        let mut again = BTreeSet::new();
        while !left.is_subset(&again) {
            let job = job(&worker).await?;
            again.insert(job.received.key.clone().context("a key")?);
            job.done();
        }
        ensure!(again.len() < COUNT, "nothing was committed: {} jobs came again", again.len());
        while let Ok(job) = tokio::time::timeout(Duration::from_secs(1), worker.next()).await {
            job?.done();
        }
        drop(worker);

        // Now all is done: only what comes after is left.
        publisher.publish(vec![order(COUNT)]).await?;
        let worker = GroupConsumer::join(&settings)?;
        let last = job(&worker).await?;
        ensure!(last.received.key.as_deref() == Some("order-30"), "{:?} was done already", last.received.key);
        Ok(())
    })
}
