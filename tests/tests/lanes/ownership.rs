//! Ownership under faults on a real Apache Kafka: each recovers without an operator, and nothing comes twice (D3).

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::replay::{Bare, SMALL, epoch, position, submit};
use crate::support::{LIMIT, Member, Plan, create_topics, judge, names, settings};
use anyhow::{Context, Result, ensure};
use inlet::delivery::replay::manage::{self, ManageError};
use inlet::delivery::replay::{InstanceRef, LaneState, Settled, list_cursors, partition::shard_of};
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{runtime, wait};

/// An owner that was idle for longer than the broker keeps transactional ids gets a new one by itself.
#[test]
fn d3_an_expired_transactional_id_is_taken_anew() -> Result<()> {
    let kafka = Kafka::one_with(&[
        "transactional.id.expiration.ms=2000",
        "transaction.remove.expired.transaction.cleanup.interval.ms=500",
        "producer.id.expiration.ms=2000",
        "producer.id.expiration.check.interval.ms=500",
    ])?;
    let settings = settings(&kafka, "expired", 1);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let mut ownership = member.next()?;
    let first = epoch(&mut ownership)?;
    ensure!(submit(&first, "mailbox-0", 0, 10)? == Some(Settled::Published));
    let id = settings.transactional_id(0);
    wait::until_true(LIMIT, "the broker to forget the id", || {
        let listed = kafka.tool("org.apache.kafka.tools.TransactionsCommand", &["list"]);
        listed.is_ok_and(|text| !text.contains(&id))
    })?;
    ensure!(submit(&first, "mailbox-0", 1, 10)?.is_none(), "an input of the forgotten producer was settled");
    let second = epoch(&mut ownership)?;
    let told = member.handle.status().shards[0].last_error.clone().context("a reason")?.reason;
    ensure!(told.contains("INVALID_PRODUCER_ID_MAPPING"), "another reason than the forgotten id: {told}");
    ensure!(position(&second, "mailbox-0") == Some(0), "{:?}", second.cursors);
    ensure!(submit(&second, "mailbox-0", 1, 10)? == Some(Settled::Published));
    ownership.released.cancel();
    ensure!(member.shutdown());
    judge(&settings, &names(1), 2, &[])
}

/// A call that does not come back costs its thread and its client, not the shard.
#[test]
fn d3_a_call_that_hangs_is_given_up() -> Result<()> {
    let kafka = Kafka::one()?;
    let mut settings = settings(&kafka, "hung", 1);
    // Below what the calls themselves allow: to the watchdog every call to a silent broker hangs.
    settings.call_limit = Duration::from_millis(1500);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let mut ownership = member.next()?;
    let begun = epoch(&mut ownership)?;
    ensure!(submit(&begun, "mailbox-0", 0, 10)? == Some(Settled::Published));
    // An owned shard without a lane, whose next lane is opened while no broker answers: below the session's end.
    let refs = |replay| vec![InstanceRef { name: "mailbox-0".to_owned(), replay }];
    member.instances.send(refs(false))?;
    wait::until_true(LIMIT, "an idle shard", || member.handle.status().shards[0].state == LaneState::Idle)?;
    kafka.pause(0);
    member.instances.send(refs(true))?;
    let hung = wait::until_true(LIMIT, "a call that is given up", || member.handle.status().hung_calls > 0);
    kafka.resume(0);
    hung?;
    // What the given-up thread had asked for may fence the next one once more: it begins again by itself.
    wait::until_true(LIMIT, "a committed input", || {
        let Ok(again) = epoch(&mut ownership) else { return false };
        let next = position(&again, "mailbox-0").map_or(0, |n| n + 1);
        next == 2 || submit(&again, "mailbox-0", next, 10).is_ok_and(|settled| settled.is_some())
    })?;
    ensure!(!ownership.revoked.is_cancelled(), "the shard was lost: nothing of this was the watchdog's");
    ownership.released.cancel();
    member.shutdown();
    judge(&settings, &names(1), 2, &[])
}

/// Coordinators of transactions and groups move from broker to broker while all of them live.
#[test]
fn d3_coordinators_may_move_under_load() -> Result<()> {
    const STEP: u64 = 500;
    let mut kafka = Kafka::three()?;
    let mut settings = settings(&kafka, "moves", 4);
    settings.topics.set_replication(3);
    create_topics(&settings)?;
    let names = names(8);
    let plan = Plan::new(STEP, SMALL);
    let member = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "load", || plan.settled() >= 1_000)?;
    // A broker that was away leads nothing when it comes back …
    kafka.stop(1)?;
    kafka.start(1)?;
    let before = kafka.leaders("__transaction_state")?;
    ensure!(!before.contains(&2), "the broker that came back leads already: {before:?}");
    plan.limit.fetch_add(STEP, Ordering::SeqCst);
    let settled = plan.settled();
    wait::until_true(LIMIT, "more load", || plan.settled() >= settled + 500)?;
    // … until its share is given back to it, coordinators included, in the middle of transactions.
    let elect = ["--election-type", "PREFERRED", "--all-topic-partitions"];
    kafka.tool("org.apache.kafka.tools.LeaderElectionCommand", &elect)?;
    let after = kafka.leaders("__transaction_state")?;
    ensure!(after.contains(&2), "no coordinator moved: {before:?} {after:?}");
    plan.limit.fetch_add(STEP, Ordering::SeqCst);
    judge(&settings, &names, 3 * STEP, &[])?;
    member.stop()
}

/// Whoever alters the topic's partitions by hand moves instances away from their positions: nothing is begun anew, and
/// the command that the error names mends it.
#[test]
fn d3_positions_follow_when_the_number_of_partitions_changes() -> Result<()> {
    const COUNT: u64 = 50;
    let kafka = Kafka::shared();
    let mut settings = settings(kafka, "reshard", 2);
    create_topics(&settings)?;
    let names = names(12);
    let plan = Plan::new(COUNT, SMALL);
    let member = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "the first part", || plan.settled() == names.len() * COUNT as usize)?;
    let refused =
        runtime::block_on(manage::reshard(&settings, None, 5)).err().context("was done while an owner runs")?;
    ensure!(matches!(refused, ManageError::Running(_)), "{refused}");
    ensure!(kafka.leaders(&settings.topics.cursors.name)?.len() == 2, "a refusal changed the topic");
    member.stop()?;

    let topic = settings.topics.cursors.name.clone();
    kafka.tool("org.apache.kafka.tools.TopicCommand", &["--alter", "--topic", &topic, "--partitions", "5"])?;
    settings.topics.cursors.partitions = 5;
    plan.limit.store(2 * COUNT, Ordering::SeqCst);
    let lost = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "the reason", || {
        let error = lost.handle.status().last_error;
        error.is_some_and(|error| error.reason.contains("inlet cursors reshard --partitions 5"))
    })?;
    ensure!(lost.shards().is_empty(), "shards are owned whose positions lie elsewhere");
    lost.stop()?;

    let done = runtime::block_on(manage::reshard(&settings, None, 5))?;
    ensure!(done.moved > 0 && done.moved + done.kept == names.len(), "{done:?}");
    let again = runtime::block_on(manage::reshard(&settings, None, 5))?;
    ensure!(again.moved == 0 && again.kept == names.len(), "{again:?}");
    // Whoever reads right afterwards sees all of them: a commit is answered before its markers are everywhere.
    for partitions in 6..=9 {
        runtime::block_on(manage::reshard(&settings, None, partitions))?;
        settings.topics.cursors.partitions = partitions;
        let found = runtime::block_on(list_cursors(&settings))?.len();
        ensure!(found == names.len(), "{found} of {} positions right after a move to {partitions}", names.len());
    }
    let member = Member::start(&settings, &names, &plan)?;
    judge(&settings, &names, 2 * COUNT, &[])?;
    member.stop()?;

    // To another topic, and with fewer partitions: a gateway that still has the old name stays away.
    let moved = runtime::block_on(manage::reshard(&settings, Some("reshard.cursors2"), 3))?;
    ensure!(moved.moved == names.len() && moved.partitions == 3, "{moved:?}");
    plan.limit.store(3 * COUNT, Ordering::SeqCst);
    let old = Member::start(&settings, &names, &plan)?;
    wait::until_true(LIMIT, "the new name", || {
        old.handle
            .status()
            .last_error
            .is_some_and(|error| error.reason.contains("topics.cursors.name: reshard.cursors2"))
    })?;
    ensure!(old.shards().is_empty());
    old.stop()?;
    settings.topics.cursors.name = "reshard.cursors2".to_owned();
    settings.topics.cursors.partitions = 3;
    let stored = runtime::block_on(list_cursors(&settings))?;
    let placed = |(key, stored): (&inlet::delivery::replay::CursorKey, &inlet::delivery::replay::StoredCursor)| {
        stored.partition == shard_of(&key.instance, 3)
    };
    ensure!(stored.len() == names.len() && stored.iter().all(placed), "{stored:?}");
    let member = Member::start(&settings, &names, &plan)?;
    judge(&settings, &names, 3 * COUNT, &[])?;
    member.stop()
}

/// A position is set while nobody runs; the owner that comes next goes on from there.
#[test]
fn d3_a_position_that_was_set_is_where_the_next_owner_goes_on() -> Result<()> {
    let settings = settings(Kafka::shared(), "set", 2);
    create_topics(&settings)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let shard = shard_of("mailbox-0", 2);
    let (first, second) = (member.next()?, member.next()?);
    let (mut ours, other) = if first.shard == shard { (first, second) } else { (second, first) };
    let begun = epoch(&mut ours)?;
    ensure!(submit(&begun, "mailbox-0", 0, 10)? == Some(Settled::Published));
    let to =
        |n: u64| vec![(crate::support::key("mailbox-0"), Some(connector_sdk::Cursor(serde_json::json!({ "n": n }))))];
    let refused = manage::store(&settings, "mailbox-0", &to(7), false).err().context("was done while an owner runs")?;
    ensure!(matches!(&refused, ManageError::Running(owners) if owners.len() == 1), "{refused}");

    // By force the owner is fenced: what it had in hand is not settled, and it goes on from the new position.
    manage::store(&settings, "mailbox-0", &to(7), true)?;
    ensure!(submit(&begun, "mailbox-0", 1, 10)?.is_none(), "settled behind the back of whoever set the position");
    let again = epoch(&mut ours)?;
    ensure!(position(&again, "mailbox-0") == Some(7), "{:?}", again.cursors);
    ours.released.cancel();
    other.released.cancel();
    ensure!(member.shutdown());

    manage::store(&settings, "mailbox-0", &to(3), false)?;
    let mut member = Bare::start(&settings, &[("mailbox-0", true)])?;
    let (first, second) = (member.next()?, member.next()?);
    let (mut ours, other) = if first.shard == shard { (first, second) } else { (second, first) };
    ensure!(position(&epoch(&mut ours)?, "mailbox-0") == Some(3));
    ours.released.cancel();
    other.released.cancel();
    ensure!(member.shutdown());
    manage::store(&settings, "mailbox-0", &[(crate::support::key("mailbox-0"), None)], false)?;
    ensure!(runtime::block_on(list_cursors(&settings))?.is_empty(), "a position that was taken away is there");
    judge(&settings, &names(1), 1, &[])
}
