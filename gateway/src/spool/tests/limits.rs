//! Full, locked, failing: said aloud, and nothing dropped.

use super::*;
use crate::spool::{Spool, summary};

#[tokio::test]
async fn d7_a_full_spool_refuses_and_keeps_what_it_has() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory"));
    let world = World::within(dir, Mode::Away, 20_000);
    let mut spooled = 0;
    let error = loop {
        match world.input("a", &format!("{spooled}{}", "x".repeat(1000))).await {
            Ok(_) => spooled += 1,
            Err(error) => break error,
        }
        assert!(spooled < 20, "more than fits was taken");
    };
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("full")), "{error}");
    assert!(spooled > 5, "{spooled}");
    let figures = world.service.spool.figures();
    assert_eq!(figures.refused_full.load(Ordering::Relaxed), 1);
    assert_eq!((world.tally().spooled, world.tally().returned), (spooled, 1));
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts().len() as u64, spooled);
    assert!(world.input("a", "room again").await.is_ok());
}

#[tokio::test]
async fn d14_a_spool_that_takes_nothing_is_not_writable() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory"));
    let world = World::within(dir, Mode::Away, 4000);
    let figures = world.service.spool.figures();
    assert!(world.input("a", &"x".repeat(5000)).await.is_err());
    assert!(figures.is_writable(), "one that never fits does not make it full");
    assert!(world.input("a", &"x".repeat(1000)).await.is_ok());
    assert!(figures.is_writable());
    assert!(world.input("a", &"x".repeat(1000)).await.is_err());
    assert!(figures.is_full() && !figures.is_writable());
    world.lane.set(Mode::Up);
    world.drained().await;
    assert!(figures.is_writable());
}

#[tokio::test]
async fn a_spool_has_one_process() {
    let world = World::new(Mode::Up);
    let error = World::try_within(world.dir.clone(), Mode::Up, ROOM).err().expect("refused");
    assert!(matches!(error, SpoolError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    let dir = world.dir.clone();
    world.service.stop().await;
    World::try_within(dir, Mode::Up, ROOM).expect("free again");
}

#[tokio::test]
async fn a_spool_of_a_newer_version_is_left_alone() {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..3).await;
    let dir = world.dir.clone();
    world.service.stop().await;
    let database = dir.path().join("spool/spool.db");
    let connection = rusqlite::Connection::open(&database).expect("opens");
    connection.pragma_update(None, "user_version", 99).expect("writes");
    drop(connection);
    let error = World::try_within(dir, Mode::Up, ROOM).err().expect("refused");
    assert!(matches!(error, SpoolError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn it_can_be_looked_at_while_it_is_in_use() {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..3).await;
    let summary = summary(&world.dir.path().join("spool")).expect("reads");
    assert_eq!(summary.entries, 3);
    assert_eq!(summary.instances, [("i".to_owned(), 3)]);
    assert!(summary.oldest_ms.is_some());
}

#[tokio::test]
async fn d7_a_disk_that_fails_is_told_and_tried_again() {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..2).await;
    let database = world.dir.path().join("spool/spool.db");
    let other = rusqlite::Connection::open(&database).expect("opens");
    // A trigger stands for a disk that takes nothing.
    other
        .execute_batch("CREATE TRIGGER broken BEFORE INSERT ON entries BEGIN SELECT raise(FAIL, 'no disk'); END")
        .expect("made");
    let error = world.input("a", "2").await.unwrap_err();
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("no disk")), "{error}");
    let figures = world.service.spool.figures();
    assert!(!figures.is_writable() && figures.errors.load(Ordering::Relaxed) > 0);
    other.execute_batch("DROP TRIGGER broken").expect("gone");
    until("the disk is found to work", || figures.is_writable()).await;
    world.inputs("a", 2..4).await;
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..4));
}

#[tokio::test]
async fn old_entries_raise_an_alert_and_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = SpoolSettings { dir: dir.path().to_owned(), max_bytes: ROOM, max_age: Duration::from_millis(20) };
    let spool = Spool::open(settings).expect("opens");
    let packed = crate::spool::packed::Packed::records(&[record("a", "0")], crate::clock::now());
    spool.append(vec![packed], Vec::new()).await.expect("written").claim();
    until("it is too old", || spool.figures().is_over_age(crate::clock::now())).await;
    assert_eq!(spool.figures().entries.load(Ordering::Relaxed), 1);
    spool.close().await;
}
