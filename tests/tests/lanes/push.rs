//! The push lane: every record that was `Ok` is there, in order, also when brokers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use inlet::delivery::push::{DEFAULT_DEADLINE, KafkaPublisher};
use inlet::delivery::{LinkState, PublishError, Publisher};
use inlet_tests::consume::Committed;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{runtime, wait};

use crate::support::{LIMIT, create_topics, event, settings};

/// One conversation: sends its next event only after the one before was confirmed; repeats what was not.
async fn converse(
    publisher: Arc<KafkaPublisher>,
    name: String,
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicU64>,
) -> u64 {
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        match publisher.publish(vec![event(&name, n, 200)]).await {
            Ok(()) => {
                n += 1;
                confirmed.fetch_add(1, Ordering::SeqCst);
            }
            Err(PublishError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(refused) => panic!("{refused}"),
        }
    }
    n
}

/// First appearances rise without a gap; what was repeated may appear again.
fn is_ordered(numbers: &[u64], count: u64) -> bool {
    let mut next = 0;
    for n in numbers {
        match *n {
            n if n == next => next += 1,
            n if n < next => {}
            _ => return false,
        }
    }
    next >= count
}

#[test]
fn confirmed_records_survive_broker_restarts_in_order() -> Result<()> {
    let mut kafka = Kafka::one()?;
    let settings = settings(&kafka, "push", 1);
    create_topics(&settings)?;
    let publisher = Arc::new(KafkaPublisher::start(&settings, DEFAULT_DEADLINE)?);
    let (stop, confirmed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let names: Vec<_> = (0..20).map(|i| format!("conversation-{i}")).collect();
    let talks: Vec<_> = names
        .iter()
        .map(|name| runtime::spawn(converse(publisher.clone(), name.clone(), stop.clone(), confirmed.clone())))
        .collect();
    let more = |count: u64| {
        let wanted = confirmed.load(Ordering::SeqCst) + count;
        wait::until_true(LIMIT, "confirmations", || confirmed.load(Ordering::SeqCst) >= wanted)
    };
    more(500)?;
    ensure!(publisher.link().is_up());
    kafka.stop(0)?;
    wait::until_true(LIMIT, "the link is down", || !publisher.link().is_up())?;
    kafka.start(0)?;
    more(500)?;
    kafka.kill(0);
    kafka.start(0)?;
    more(500)?;
    ensure!(publisher.link().is_up());
    stop.store(true, Ordering::SeqCst);
    let counts: Vec<u64> = talks.into_iter().map(runtime::block_on).collect::<Result<_, _>>()?;

    let total = usize::try_from(counts.iter().sum::<u64>())?;
    let mut reader = Committed::open(&kafka.bootstrap(), &settings.topics.events.name, LIMIT)?;
    reader.read_until(LIMIT, &format!("{total} events"), |records| records.len() >= total)?;
    let records = reader.drain()?;
    println!("{total} confirmed, {} on the topic", records.len());
    for (name, count) in names.iter().zip(counts) {
        let mine = records.iter().filter(|r| r.key.as_deref() == Some(name));
        let numbers: Vec<u64> = mine.filter_map(|r| r.json().ok()?["n"].as_u64()).collect();
        ensure!(is_ordered(&numbers, count), "{name}: {count} confirmed, on the topic {numbers:?}");
    }
    Ok(())
}

#[test]
fn an_outage_is_told_within_the_deadline() -> Result<()> {
    let mut kafka = Kafka::one()?;
    let settings = settings(&kafka, "outage", 1);
    create_topics(&settings)?;
    let publisher = KafkaPublisher::start(&settings, DEFAULT_DEADLINE)?;
    runtime::block_on(publisher.publish(vec![event("a", 0, 10)]))?;
    // Sockets stay open and nothing answers: the worst kind.
    kafka.pause(0);
    let begun = Instant::now();
    let error = runtime::block_on(publisher.publish(vec![event("a", 1, 10)])).err().context("nobody confirmed it")?;
    ensure!(matches!(error, PublishError::Unavailable(_)), "{error}");
    ensure!(begun.elapsed() < DEFAULT_DEADLINE + Duration::from_secs(2), "{:?}", begun.elapsed());
    kafka.resume(0);
    wait::until_true(LIMIT, "records are taken again", || {
        runtime::block_on(publisher.publish(vec![event("a", 2, 10)])).is_ok()
    })?;
    kafka.kill(0);
    wait::until_true(
        LIMIT,
        "the link is down, with a reason",
        || matches!(publisher.link(), LinkState::Down { reason, .. } if !reason.is_empty()),
    )
}

#[test]
fn what_a_topic_does_not_take_is_refused() -> Result<()> {
    let kafka = Kafka::shared();
    let settings = settings(kafka, "too-large", 1);
    let name = settings.topics.events.name.clone();
    let create = ["--create", "--topic", &name, "--partitions", "1", "--config", "max.message.bytes=50000"];
    kafka.tool("org.apache.kafka.tools.TopicCommand", &create)?;
    let publisher = Arc::new(KafkaPublisher::start(&settings, DEFAULT_DEADLINE)?);
    runtime::block_on(async {
        publisher.publish(vec![event("a", 0, 10)]).await?;
        // All at once: the one that is too large shares its request with others.
        let sizes = |n: u64| if n == 50 { 200_000 } else { 10 };
        let call = |n| {
            let publisher = publisher.clone();
            runtime::spawn(async move { publisher.publish(vec![event("a", n, sizes(n))]).await })
        };
        for (n, told) in (0..100).map(call).collect::<Vec<_>>().into_iter().enumerate() {
            match told.await? {
                Ok(()) => ensure!(n != 50, "the broker took it"),
                Err(PublishError::Refused { index: 0, reason }) if n == 50 => {
                    ensure!(reason.contains(&name), "{reason}")
                }
                Err(error) => bail!("record {n}: {error}"),
            }
        }
        Ok(())
    })
}

/// A figure for the log, and a floor that only waiting for one record after the other would miss.
#[test]
fn many_calls_share_requests() -> Result<()> {
    const CALLERS: usize = 256;
    const CALLS: u64 = 200;
    let settings = settings(Kafka::shared(), "calls", 1);
    create_topics(&settings)?;
    let publisher = Arc::new(KafkaPublisher::start(&settings, Duration::from_secs(30))?);
    runtime::block_on(publisher.publish(vec![event("first", 0, 10)]))?;
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let publisher = publisher.clone();
        runtime::spawn(async move {
            for n in 0..CALLS {
                publisher.publish(vec![event(&format!("caller-{caller}"), n, 1_000)]).await?;
            }
            Ok::<_, PublishError>(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        runtime::block_on(caller)??;
    }
    let rate = CALLERS as f64 * CALLS as f64 / begun.elapsed().as_secs_f64();
    println!("{} calls with one record of 1 KB: {rate:.0}/s", CALLERS as u64 * CALLS);
    ensure!(publisher.figures().confirmed.load(Ordering::Relaxed) == CALLERS as u64 * CALLS + 1);
    ensure!(rate > 500.0, "{rate} calls a second");
    Ok(())
}
