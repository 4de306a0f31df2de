//! Into the spool and out of it: order, no second send, dead letters, restarts.

use super::*;
use crate::seen::Filling;
use crate::spool::Lane;

#[tokio::test]
async fn d6_input_goes_past_an_empty_spool_while_kafka_is_well() {
    let world = World::new(Mode::Up);
    assert!(!world.input("a", "0").await.expect("taken"));
    assert_eq!((world.texts(), world.entries()), (numbers(0..1), 0));
    assert_eq!(world.tally().published, 1);
}

#[tokio::test]
async fn d6_an_outage_is_spooled_at_once_and_drained_in_order_by_itself() {
    let world = World::new(Mode::Away);
    let begun = Instant::now();
    world.inputs("a", 0..50).await;
    // Known to be away: nobody waited for Kafka's share of the deadline.
    assert!(begun.elapsed() < DEADLINE * 30, "{:?}", begun.elapsed());
    assert_eq!(world.entries(), 50);
    assert_eq!((world.tally().spooled, world.tally().published), (50, 0));
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..50));
    assert_eq!((world.tally().spooled, world.tally().published, world.tally().in_flight()), (0, 50, 0));
    assert!(!world.input("a", "50").await.expect("taken"), "straight to Kafka again");
}

#[tokio::test]
async fn d5_what_comes_later_goes_behind_the_spool_and_not_past_it() {
    let world = World::new(Mode::Silent);
    // Its first send may still be confirmed; until then the next of the conversation must not overtake it.
    assert!(world.input("a", "0").await.expect("spooled"));
    assert!(world.input("a", "1").await.expect("spooled"));
    world.lane.set(Mode::Up);
    world.inputs("a", 2..30).await;
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..30));
}

#[tokio::test]
async fn kafka_that_went_and_came_back_while_nobody_waited_has_its_time() {
    let world = World::new(Mode::Up);
    // Somebody waited once: whoever looks after the waiting has begun.
    world.inputs("a", 0..1).await;
    world.lane.set(Mode::Away);
    world.lane.set(Mode::Silent);
    let began = std::time::Instant::now();
    assert!(world.input("a", "1").await.expect("taken"), "spooled");
    assert!(began.elapsed() >= DEADLINE * 3 / 5, "given up after {:?}", began.elapsed());
}

#[tokio::test]
async fn d6_a_first_send_that_is_confirmed_late_is_not_repeated() {
    let world = World::new(Mode::Silent);
    assert!(world.input("a", "0").await.expect("spooled"));
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..1));
    assert_eq!(world.service.spool.figures().confirmed_late.load(Ordering::Relaxed), 1);
    assert_eq!(world.tally().published, 1);
}

#[tokio::test]
async fn d6_a_first_send_that_is_lost_is_repeated() {
    let world = World::new(Mode::Silent);
    world.inputs("a", 0..3).await;
    until("all of it is on its way", || world.lane.waiting() == 3).await;
    world.lane.lose();
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..3));
}

#[tokio::test]
async fn d6_whoever_waits_when_kafka_goes_is_spooled_at_once() {
    let world = World::new(Mode::Silent);
    let (spooled, ()) = tokio::join!(world.input("a", "0"), async { world.lane.set(Mode::Away) });
    assert!(spooled.expect("spooled"));
}

#[tokio::test]
async fn d8_a_refusal_for_good_becomes_a_dead_letter_and_the_drain_goes_on() {
    let world = World::new(Mode::Away);
    world.lane.poison(Some("3"));
    world.inputs("a", 0..6).await;
    world.lane.set(Mode::Up);
    world.drained().await;
    let mut expected = numbers(0..6);
    expected.remove(3);
    let mut texts = world.texts();
    texts.sort();
    texts.dedup();
    assert_eq!(texts, expected);
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0]["reason"].as_str()), (1, Some("refused_by_kafka")), "{letters:?}");
    assert_eq!((world.tally().published, world.tally().dead_lettered), (5, 1));
}

#[tokio::test]
async fn a_refusal_while_kafka_is_well_is_the_callers_to_handle() {
    let world = World::new(Mode::Up);
    world.lane.poison(Some("0"));
    assert!(matches!(world.input("a", "0").await, Err(PublishError::Refused { index: 0, .. })));
    assert_eq!(world.entries(), 0);
}

#[tokio::test]
async fn d2_spooled_input_survives_the_process() {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..20).await;
    let world = world.restart(Mode::Away).await;
    assert_eq!(world.entries(), 20);
    assert_eq!((world.tally().accepted, world.tally().spooled), (20, 20));
    world.inputs("a", 20..25).await;
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..25));
    assert_eq!((world.tally().published, world.tally().in_flight()), (25, 0));
    let world = world.restart(Mode::Up).await;
    assert_eq!((world.entries(), world.texts().len()), (0, 0), "nothing of it comes again");
}

#[tokio::test]
async fn d11_what_waits_for_kafka_at_the_end_goes_into_the_spool() {
    let world = World::new(Mode::Silent);
    let (spooled, ()) = tokio::join!(world.input("a", "0"), async { world.service.close() });
    assert!(spooled.expect("spooled"));
    assert!(world.lane.is_usable(), "it waited for Kafka's share of the deadline");
    let begun = Instant::now();
    let world = world.restart(Mode::Up).await;
    assert!(begun.elapsed() < LIMIT, "an end does not wait for Kafka");
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..1));
}

#[tokio::test]
async fn d9_a_copy_whose_sender_was_told_to_try_again_is_counted_as_an_input_of_its_own() {
    let world = World::new(Mode::Away);
    let in_flight = world.counters.accept();
    let safe = world.service.publisher.deliver(vec![world.parcel("a", "0")]).await.expect("spooled");
    drop(safe);
    in_flight.settle(Fate::Returned(Returned::Deadline));
    let tally = world.tally();
    assert_eq!((tally.accepted, tally.returned, tally.spooled, tally.in_flight()), (2, 1, 1, 1));
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!((world.tally().published, world.tally().in_flight()), (1, 0));
}

#[tokio::test]
async fn d1_blobs_that_the_store_did_not_take_are_stored_before_the_record_is_sent() {
    let world = World::new(Mode::Up);
    let store = world.dir.path().join("blobs");
    std::fs::remove_dir_all(&store).expect("was there");
    std::fs::write(&store, b"").expect("a file in its place");
    let mut parcel = world.parcel("a", "0");
    parcel.blobs = vec![blob("first"), blob("second")];
    assert!(world.settle(world.counters.accept(), parcel).await.expect("spooled"), "not past its blobs");
    until("the drain has tried", || world.service.spool.figures().entries.load(Ordering::Relaxed) == 1).await;
    assert!(world.texts().is_empty());
    std::fs::remove_file(&store).expect("was there");
    std::fs::create_dir(&store).expect("a directory again");
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..1));
    for text in ["first", "second"] {
        let kept = blobs(world.dir.path()).get(&blob(text).reference).await.expect("stored");
        assert_eq!(kept, text);
    }
}

#[tokio::test]
async fn many_conversations_at_once_keep_their_own_order() {
    const EACH: usize = 40;
    let world = World::new(Mode::Up);
    let send = async |key: String| {
        for number in 0..EACH {
            world.input(&key, &format!("{key}/{number}")).await.expect("taken");
            tokio::task::yield_now().await;
        }
    };
    let flapping = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(7)).await;
            world.lane.set(Mode::Away);
            tokio::time::sleep(Duration::from_millis(7)).await;
            world.lane.set(Mode::Up);
        }
    };
    let conversations = futures::future::join_all((0..16).map(|n| send(format!("c{n}"))));
    tokio::join!(conversations, flapping);
    world.drained().await;
    for n in 0..16 {
        let prefix = format!("c{n}/");
        let own: Vec<_> =
            world.texts().into_iter().filter_map(|t| t.strip_prefix(&prefix).map(str::to_owned)).collect();
        assert_eq!(own, numbers(0..EACH), "conversation {n}");
    }
    assert_eq!(world.tally().published as usize, 16 * EACH);
}

const SPOOLED: &str = "392e0df1-0f59-894f-bdc3-ce4fce0b5fb0";
const OTHER: &str = "78f0124f-53b2-88f2-8ede-3d3a7b030c9a";

fn ids() -> [SeenId; 2] {
    [SPOOLED, OTHER].map(|id| SeenId::of(&record("a", id)).expect("an id"))
}

fn shared() -> Arc<Seen> {
    Arc::new(Seen::shared(LIMIT, 1000, SeenMetrics::default()))
}

/// What an earlier process answered and Kafka does not have yet is known when it is sent again.
#[tokio::test]
async fn d4_the_index_learns_what_the_spool_holds() {
    let world = World::new(Mode::Away);
    assert!(world.input("a", SPOOLED).await.expect("taken"));
    let world = world.restart(Mode::Away).await;
    let [spooled, other] = ids();
    assert_eq!(world.seen.claim(&[spooled, other]).own(), [other]);
    assert!(!world.seen.is_published(spooled));
}

/// A redelivery went to another replica meanwhile, or the process before did not hear that its send had arrived.
#[tokio::test]
async fn d4_what_is_on_kafka_when_its_turn_comes_is_not_sent_again() {
    for restarted in [false, true] {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let mut world = World::with_index(dir.clone(), Mode::Away, ROOM, shared()).expect("opens");
        for id in [SPOOLED, OTHER] {
            assert!(world.input("a", id).await.expect("taken"));
        }
        if restarted {
            world.service.stop().await;
            world = World::with_index(dir, Mode::Away, ROOM, shared()).expect("opens");
        }
        let [spooled, other] = ids();
        world.seen.learn([spooled], false);
        world.seen.set_filling(Filling::Filled);
        world.lane.set(Mode::Up);
        world.drained().await;
        assert_eq!(world.texts(), [OTHER], "restarted: {restarted}");
        assert_eq!((world.tally().duplicate, world.tally().published), (1, 1));
        assert!(world.seen.is_published(other));
    }
}

/// Nothing goes past an index that does not know what the others have published; it is safe meanwhile, and in order.
#[tokio::test]
async fn d4_the_drain_waits_until_the_index_knows_all() {
    let seen = shared();
    let dir = Arc::new(tempfile::tempdir().expect("a directory"));
    let world = World::with_index(dir, Mode::Up, ROOM, seen.clone()).expect("opens");
    assert!(world.input("a", OTHER).await.expect("taken"), "published though the index is being filled");
    assert!(world.input("a", SPOOLED).await.expect("taken"));
    let entries = || world.service.spool.figures().entries.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..50 {
        tokio::task::yield_now().await;
        assert_eq!((entries(), world.texts().len()), (2, 0));
    }
    seen.learn([ids()[0]], false);
    seen.set_filling(Filling::Filled);
    world.drained().await;
    assert_eq!(world.texts(), [OTHER]);
    assert!(!world.input("a", "next").await.expect("taken"), "spooled though the index knows all");
}
