//! The replay lane against a real Apache Kafka: exactly once, whatever happens to owners and brokers (contract D3).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::{LIMIT, Member, Plan, create_topics, event, input, judge, key, names, settings};
use anyhow::{Context, Result, bail, ensure};
use inlet::delivery::replay::{
    Epoch, InstanceRef, LaneState, Ownership, Replay, ReplayHandle, Settled, list_cursors, partition::shard_of,
};
use inlet::delivery::settings::KafkaSettings;
use inlet_tests::consume::Committed;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{runtime, wait};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::{mpsc, watch};

pub const SMALL: fn(u64) -> usize = |_| 100;

/// One member without sources: the test itself submits.
pub struct Bare {
    pub handle: ReplayHandle,
    pub announced: mpsc::Receiver<Ownership>,
    pub instances: watch::Sender<Vec<InstanceRef>>,
}

impl Bare {
    pub fn start(settings: &KafkaSettings, instances: &[(&str, bool)]) -> Result<Self> {
        let refs = instances.iter().map(|(name, replay)| InstanceRef { name: (*name).to_owned(), replay: *replay });
        let (instances, watched) = watch::channel(refs.collect());
        let (announce, announced) = mpsc::channel(64);
        Ok(Self { handle: Replay::start(settings, watched, announce)?, announced, instances })
    }

    pub fn next(&mut self) -> Result<Ownership> {
        let next = runtime::block_on(async { tokio::time::timeout(LIMIT, self.announced.recv()).await });
        next.context("no shard was announced")?.context("the lane ended")
    }

    pub fn shutdown(self) -> bool {
        runtime::block_on(self.handle.shutdown())
    }
}

/// The next epoch that has not ended.
pub fn epoch(ownership: &mut Ownership) -> Result<Epoch> {
    let wanted = |epoch: &Option<Epoch>| epoch.as_ref().is_some_and(|epoch| !epoch.ended.is_cancelled());
    let found = runtime::block_on(async {
        tokio::time::timeout(LIMIT, ownership.epoch.wait_for(wanted)).await.map(|e| e.map(|e| e.clone()))
    });
    found.context("no epoch began")??.context("is some")
}

/// Submits one input and waits for its end; `None`: the epoch ended before.
pub fn submit(epoch: &Epoch, name: &str, n: u64, bytes: usize) -> Result<Option<Settled>> {
    runtime::block_on(async {
        let (input, outcome) = input(name, n, bytes);
        if epoch.lane.send(input).await.is_err() {
            return Ok(None);
        }
        Ok(tokio::time::timeout(LIMIT, outcome).await.context("neither settled nor ended")?.ok())
    })
}

pub fn position(epoch: &Epoch, name: &str) -> Option<u64> {
    epoch.cursors.get(&key(name)).and_then(|cursor| cursor.0["n"].as_u64())
}

/// Somebody else with the shard's transactional id.
fn rival(settings: &KafkaSettings, shard: i32) -> Result<BaseProducer> {
    let rival: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("transactional.id", settings.transactional_id(shard))
        .set("transaction.timeout.ms", "60000")
        .set("partitioner", "murmur2_random")
        .set("log_level", "0")
        .create()?;
    rival.init_transactions(LIMIT)?;
    Ok(rival)
}

/// An event and a position in an open transaction, confirmed by the broker but not committed.
fn half_a_transaction(rival: &BaseProducer, settings: &KafkaSettings, shard: i32, name: &str, n: u64) -> Result<()> {
    rival.begin_transaction()?;
    let record = event(name, n, 10);
    let events = &settings.topics.events.name;
    rival.send(BaseRecord::to(events).key(&record.key).payload(&record.value[..])).map_err(|(e, _)| e)?;
    let cursors = &settings.topics.cursors.name;
    let cursor_key = format!("[\"{name}\",\"INBOX\"]");
    let value = format!("{{\"v\":1,\"cursor\":{{\"n\":{n}}},\"at\":\"2026-01-01T00:00:00Z\"}}");
    rival.send(BaseRecord::to(cursors).partition(shard).key(&cursor_key).payload(&value)).map_err(|(e, _)| e)?;
    wait::until_true(LIMIT, "the broker has the records", || {
        rival.poll(Duration::ZERO);
        rival.in_flight_count() == 0
    })
}

#[test]
fn d3_events_and_positions_are_committed_together_before_they_are_settled() -> Result<()> {
    let kafka = Kafka::shared();
    let settings = settings(kafka, "together", 2);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let (first, second) = (member.next()?, member.next()?);
    let shard = shard_of("mailbox-0", 2);
    let (mut ours, other) = if first.shard == shard { (first, second) } else { (second, first) };
    let begun = epoch(&mut ours)?;
    ensure!(begun.cursors.is_empty(), "a new topic holds no positions");
    let mut reader = Committed::open(&kafka.bootstrap(), &settings.topics.events.name, LIMIT)?;
    for n in 0..5 {
        ensure!(submit(&begun, "mailbox-0", n, 10)? == Some(Settled::Published));
        let stored = runtime::block_on(list_cursors(&settings))?;
        ensure!(stored[&key("mailbox-0")].cursor.0["n"] == n && stored[&key("mailbox-0")].partition == shard);
        // What is settled is visible to whoever reads committed records.
        reader.read_until(LIMIT, "the event", |records| records.len() as u64 == n + 1)?;
    }
    ensure!(other.epoch.borrow().is_none(), "a shard without replay instances has no epoch");
    let status = member.handle.status();
    ensure!(status.member && status.shards.len() == 2, "{status:?}");
    let lane = status.shards.iter().find(|s| s.shard == shard).context("is owned")?;
    ensure!(lane.state == LaneState::Running && lane.inputs == 5 && lane.epochs == 1, "{lane:?}");

    // Inside the epoch a source that begins again finds the positions of now.
    let refreshed = runtime::block_on(begun.refreshed()).context("the epoch goes on")?;
    ensure!(position(&begun, "mailbox-0").is_none() && position(&refreshed, "mailbox-0") == Some(4));
    ours.released.cancel();
    other.released.cancel();
    ensure!(member.shutdown(), "the lane ended in time");
    ensure!(ours.revoked.is_cancelled() && begun.ended.is_cancelled());
    judge(&settings, &names(1), 5, &[])
}

#[test]
fn a_shard_gets_its_lane_when_its_first_replay_instance_comes() -> Result<()> {
    let settings = settings(Kafka::shared(), "later", 1);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("pbx", false)])?;
    let mut ownership = member.next()?;
    ensure!(ownership.epoch.borrow().is_none());
    member.instances.send(vec![InstanceRef { name: "mailbox-0".to_owned(), replay: true }])?;
    let begun = epoch(&mut ownership)?;
    ensure!(submit(&begun, "mailbox-0", 0, 10)? == Some(Settled::Published));
    member.instances.send(vec![InstanceRef { name: "pbx".to_owned(), replay: false }])?;
    wait::until_true(LIMIT, "the epoch's end", || begun.ended.is_cancelled())?;
    wait::until_true(LIMIT, "an idle shard", || {
        member.handle.status().shards.iter().all(|shard| shard.state == LaneState::Idle)
    })?;
    ensure!(!ownership.revoked.is_cancelled() && ownership.epoch.borrow().is_none());
    ownership.released.cancel();
    ensure!(member.shutdown());
    judge(&settings, &names(1), 1, &[])
}

#[test]
fn d3_an_owner_that_dies_in_a_transaction_leaves_nothing_behind() -> Result<()> {
    let settings = settings(Kafka::shared(), "died", 1);
    create_topics(&settings)?;
    let dead = rival(&settings, 0)?;
    half_a_transaction(&dead, &settings, 0, "mailbox-0", 0)?;
    // As after kill -9: neither commit nor abort, and the broker would wait for a minute.
    drop(dead);
    let begun = Instant::now();
    let plan = Plan::new(300, SMALL);
    let member = Member::start(&settings, &names(1), &plan)?;
    wait::until_true(LIMIT, "300 commits", || plan.settled() == 300)?;
    ensure!(begun.elapsed() < Duration::from_secs(30), "took {:?}: the dead owner was waited for", begun.elapsed());
    member.stop()?;
    judge(&settings, &names(1), 300, &[])
}

#[test]
fn d3_a_zombie_cannot_commit_behind_the_new_owner() -> Result<()> {
    let settings = settings(Kafka::shared(), "zombie", 1);
    create_topics(&settings)?;
    let zombie = rival(&settings, 0)?;
    half_a_transaction(&zombie, &settings, 0, "mailbox-0", 0)?;
    let plan = Plan::new(200, SMALL);
    let member = Member::start(&settings, &names(1), &plan)?;
    wait::until_true(LIMIT, "100 commits", || plan.settled() >= 100)?;
    let error = zombie.commit_transaction(Duration::from_secs(10)).err().context("the zombie committed")?;
    wait::until_true(LIMIT, "200 commits", || plan.settled() == 200)?;
    member.stop()?;
    judge(&settings, &names(1), 200, &[]).with_context(|| format!("the zombie heard: {error}"))
}

#[test]
fn d3_an_owner_that_was_fenced_reads_its_positions_again() -> Result<()> {
    let settings = settings(Kafka::shared(), "fenced", 1);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let mut ownership = member.next()?;
    let first = epoch(&mut ownership)?;
    ensure!(submit(&first, "mailbox-0", 0, 10)? == Some(Settled::Published));
    // Another owner takes over, does input 1 and goes.
    let other = rival(&settings, 0)?;
    half_a_transaction(&other, &settings, 0, "mailbox-0", 1)?;
    other.commit_transaction(LIMIT)?;
    drop(other);
    ensure!(submit(&first, "mailbox-0", 1, 10)?.is_none(), "an input of the fenced epoch was settled");
    ensure!(first.ended.is_cancelled());
    let second = epoch(&mut ownership)?;
    ensure!(position(&second, "mailbox-0") == Some(1), "{:?}", second.cursors);
    ensure!(submit(&second, "mailbox-0", 2, 10)? == Some(Settled::Published));
    let status = member.handle.status();
    ensure!(status.shards[0].last_error.is_some() && status.shards[0].epochs == 2, "{status:?}");
    ownership.released.cancel();
    ensure!(member.shutdown());
    judge(&settings, &names(1), 3, &[])
}

#[test]
fn d3_two_members_share_the_shards_and_hand_them_over() -> Result<()> {
    const COUNT: u64 = 4_000;
    let settings = settings(Kafka::shared(), "handover", 8);
    create_topics(&settings)?;
    let names = names(16);
    let total = |share: u64| names.len() * share as usize;
    let plan = Plan::new(COUNT / 4, SMALL);
    let first = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "a quarter by the first member", || plan.settled() >= total(COUNT / 4))?;
    ensure!(first.shards().len() == 8);

    plan.limit.store(COUNT / 2, Ordering::SeqCst);
    let second = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "a fair share", || first.shards().len() == 4 && second.shards().len() == 4)?;
    judge(&settings, &names, COUNT / 2, &[])?;

    // Settled inputs can be fewer than committed ones: those of a transaction at a rebalance are told to nobody.
    let before = plan.settled();
    plan.limit.store(COUNT, Ordering::SeqCst);
    wait::until_true(LIMIT, "load", || plan.settled() >= before + 1_000)?;
    let leaving = Instant::now();
    first.stop()?;
    wait::until_true(LIMIT, "all shards at the second member", || second.shards().len() == 8)?;
    println!("handed over by an orderly leave in {:?}", leaving.elapsed());
    ensure!(leaving.elapsed() < Duration::from_secs(6), "waited for the session: {:?}", leaving.elapsed());
    judge(&settings, &names, COUNT, &[])?;
    second.stop()
}

#[test]
fn d3_brokers_may_be_restarted_and_killed_under_load() -> Result<()> {
    const COUNT: u64 = 6_000;
    let mut kafka = Kafka::one()?;
    let settings = settings(&kafka, "restart", 4);
    create_topics(&settings)?;
    let names = names(8);
    let plan = Plan::new(COUNT, SMALL);
    let member = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "load", || plan.settled() >= 2_000)?;
    kafka.stop(0)?;
    kafka.start(0)?;
    wait::until_true(LIMIT, "more load", || plan.settled() >= 6_000)?;
    kafka.kill(0);
    kafka.start(0)?;
    judge(&settings, &names, COUNT, &[])?;
    member.stop()
}

#[test]
fn d3_replicated_brokers_may_die_in_turn_under_load() -> Result<()> {
    const STEP: u64 = 1_000;
    let mut kafka = Kafka::three()?;
    let mut settings = settings(&kafka, "turns", 4);
    settings.topics.set_replication(3);
    create_topics(&settings)?;
    let names = names(8);
    let plan = Plan::new(0, SMALL);
    let member = Member::start(&settings, &names, &plan)?;
    let more = |what: &str| {
        let before = plan.settled();
        plan.limit.fetch_add(STEP, Ordering::SeqCst);
        wait::until_true(LIMIT, what, || plan.settled() >= before + 2_000)
    };
    for broker in 0..3 {
        more("load")?;
        kafka.kill(broker);
        more("load on the other two brokers")?;
        kafka.start(broker)?;
    }
    judge(&settings, &names, 6 * STEP, &[])?;
    member.stop()
}

#[test]
fn d3_nothing_is_settled_while_the_broker_is_silent() -> Result<()> {
    let kafka = Kafka::one()?;
    let settings = settings(&kafka, "silent", 1);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let mut ownership = member.next()?;
    let begun = epoch(&mut ownership)?;
    ensure!(submit(&begun, "mailbox-0", 0, 10)? == Some(Settled::Published));
    kafka.pause(0);
    let (next, mut outcome) = input("mailbox-0", 1, 10);
    runtime::block_on(begun.lane.send(next)).context("the queue takes it")?;
    let early = runtime::block_on(async { tokio::time::timeout(Duration::from_secs(2), &mut outcome).await });
    ensure!(early.is_err(), "an input ended ({early:?}) though no broker answered");
    kafka.resume(0);
    let settled = runtime::block_on(async { tokio::time::timeout(LIMIT, outcome).await })?;
    // Either the same transaction went through after all, or its epoch ended and the position tells where to go on.
    if settled.is_err() {
        let again = epoch(&mut ownership)?;
        if position(&again, "mailbox-0") == Some(0) {
            ensure!(submit(&again, "mailbox-0", 1, 10)? == Some(Settled::Published));
        }
    }
    ownership.released.cancel();
    member.shutdown();
    judge(&settings, &names(1), 2, &[])
}

/// 3 and 7 of every ten are refused by the broker, 5 is larger than any producer sends.
fn sizes(n: u64) -> usize {
    match n % 10 {
        3 | 7 => 200_000,
        5 => 1_200_000,
        _ => 100,
    }
}

#[test]
fn d8_records_that_kafka_never_takes_become_dead_letters_and_the_others_go_on() -> Result<()> {
    const COUNT: u64 = 20;
    let kafka = Kafka::shared();
    let settings = settings(kafka, "oversize", 1);
    create_topics(&settings)?;
    let limit = ["--alter", "--entity-type", "topics", "--entity-name", &settings.topics.events.name];
    kafka
        .tool(
            "org.apache.kafka.tools.ConfigCommand",
            &[&limit[..], &["--add-config", "max.message.bytes=100000"]].concat(),
        )
        .or_else(|_| {
            kafka.tool(
                "kafka.admin.ConfigCommand",
                &[&limit[..], &["--add-config", "max.message.bytes=100000"]].concat(),
            )
        })?;
    let names = names(3);
    let plan = Plan::new(COUNT, sizes);
    let member = Member::start(&settings, &names, &plan)?;
    let refused: Vec<u64> = (0..COUNT).filter(|n| sizes(*n) > 100_000).collect();
    let letters = refused.len() * names.len();
    wait::until_true(LIMIT, "dead letters", || plan.dead_letters.load(Ordering::SeqCst) >= letters)?;
    wait::until_true(LIMIT, "the others", || plan.settled() >= names.len() * COUNT as usize - letters)?;
    let status = member.handle.status();
    ensure!(status.shards[0].epochs == 1, "the sources were disturbed: {status:?}");
    ensure!(status.shards[0].dead_letters as usize == letters, "{status:?}");
    member.stop()?;
    judge(&settings, &names, COUNT, &refused)?;
    let mut dead = Committed::open(&kafka.bootstrap(), &settings.topics.deadletter.name, LIMIT)?;
    let dead = dead.read_until(LIMIT, "dead letters", |records| records.len() >= letters)?;
    let mut found: Vec<_> =
        dead.iter().map(|record| (record.text("/instance"), record.json().map(|j| j["n"].as_u64()).ok())).collect();
    found.sort();
    found.dedup();
    ensure!(dead.len() == letters && found.len() == letters, "{} letters, {} different", dead.len(), found.len());
    ensure!(dead.iter().all(|record| record.header("reason").is_some_and(|reason| !reason.is_empty())));
    Ok(())
}

#[test]
fn waits_for_kafka_and_for_the_topic() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let settings = settings(&kafka, "absent", 1);
    let plan = Plan::new(50, SMALL);
    let member = Member::start(&settings, &names(1), &plan)?;
    wait::until_true(LIMIT, "a reason in the status", || member.handle.status().last_error.is_some())?;
    kafka.start_all()?;
    wait::until_true(LIMIT, "the topic's absence in the status", || {
        member.handle.status().last_error.is_some_and(|error| error.reason.contains("does not exist"))
    })?;
    create_topics(&settings)?;
    wait::until_true(LIMIT, "50 commits", || plan.settled() == 50)?;
    member.stop()?;
    judge(&settings, &names(1), 50, &[])
}

#[test]
fn d3_another_number_of_partitions_owns_nothing() -> Result<()> {
    let mut settings = settings(Kafka::shared(), "partitions", 2);
    create_topics(&settings)?;
    settings.topics.cursors.partitions = 3;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    wait::until_true(LIMIT, "a reason", || {
        member.handle.status().last_error.is_some_and(|error| error.reason.contains("has 2 partitions"))
    })?;
    let told = member.handle.status().last_error.context("just seen")?.reason;
    ensure!(told.contains("topics.cursors.partitions says 3") && told.contains("reshard"), "{told}");
    ensure!(!member.handle.status().member && member.announced.try_recv().is_err());
    ensure!(member.shutdown());
    Ok(())
}

/// A figure for the log, and a floor that only a broken batching would miss.
#[test]
fn many_inputs_share_a_transaction() -> Result<()> {
    const COUNT: u64 = 2_000;
    let settings = settings(Kafka::shared(), "throughput", 4);
    create_topics(&settings)?;
    let names = names(20);
    let plan = Plan::new(0, |_| 1_000);
    let member = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "all lanes", || {
        let status = member.handle.status();
        status.shards.len() == 4 && status.shards.iter().all(|shard| shard.state == LaneState::Running)
    })?;
    let begun = Instant::now();
    plan.limit.store(COUNT, Ordering::SeqCst);
    let wanted = names.len() * COUNT as usize;
    wait::until_true(LIMIT, "all commits", || plan.settled() == wanted)?;
    let elapsed = begun.elapsed();
    let transactions: u64 = member.handle.status().shards.iter().map(|shard| shard.transactions).sum();
    let rate = wanted as f64 / elapsed.as_secs_f64();
    println!("{wanted} events of 1 KB in {elapsed:?}: {rate:.0}/s, {} a transaction", wanted as u64 / transactions);
    if (transactions as usize) * 10 > wanted {
        bail!("{transactions} transactions for {wanted} inputs");
    }
    member.stop()?;
    judge(&settings, &names, COUNT, &[])
}
