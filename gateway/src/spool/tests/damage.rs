//! Torn tails are cut; damage elsewhere is kept aside, reported, and the rest goes on.

use std::path::PathBuf;

use super::*;
use crate::spool::wal::{self, Wal};

/// A spool with `count` inputs, each committed by itself, as a crash leaves it: its files copied while it is open.
async fn crashed(count: usize) -> Arc<TempDir> {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..count).await;
    let copy = Arc::new(tempfile::tempdir().expect("a directory"));
    let (from, to) = (world.dir.path().join("spool"), copy.path().join("spool"));
    std::fs::create_dir(&to).expect("made");
    for name in ["spool.db", "spool.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).expect("copied");
    }
    copy
}

fn log_of(dir: &TempDir) -> PathBuf {
    dir.path().join("spool/spool.db-wal")
}

fn quarantined(dir: &TempDir) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir.path().join("spool")).expect("reads").map(|entry| entry.expect("reads").path());
    all.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("quarantine-"))).collect()
}

fn change(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("reads");
    bytes[at] ^= 0xff;
    std::fs::write(path, bytes).expect("writes");
}

#[tokio::test]
async fn d2_a_crash_leaves_everything_that_was_answered() {
    let dir = crashed(10).await;
    assert_eq!(wal::inspect(&log_of(&dir)).expect("reads"), Wal::Whole);
    let world = World::within(dir, Mode::Up, ROOM);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..10));
}

#[tokio::test]
async fn d7_a_torn_tail_is_truncated_and_the_rest_goes_on() {
    let dir = crashed(10).await;
    let log = std::fs::read(log_of(&dir)).expect("reads");
    std::fs::write(log_of(&dir), &log[..log.len() - 100]).expect("writes");
    let world = World::within(dir.clone(), Mode::Up, ROOM);
    world.drained().await;
    // The last one is as if its commit had never ended.
    assert_eq!(world.texts(), numbers(0..9));
    assert!(quarantined(&dir).is_empty());
    assert_eq!(world.service.spool.figures().quarantined.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn d7_damage_in_the_middle_of_the_log_is_reported_and_its_bytes_are_kept() {
    let dir = crashed(10).await;
    let log = std::fs::read(log_of(&dir)).expect("reads");
    let middle = log.len() / 2;
    change(&log_of(&dir), middle);
    assert!(matches!(wal::inspect(&log_of(&dir)).expect("reads"), Wal::Damaged { .. }));
    let world = World::within(dir.clone(), Mode::Up, ROOM);
    assert_eq!(world.service.spool.figures().quarantined.load(Ordering::Relaxed), 1);
    let kept = std::fs::read(quarantined(&dir)[0].join("spool.db-wal")).expect("kept");
    assert_eq!(kept.len(), log.len());
    world.drained().await;
    let texts = world.texts();
    assert!(!texts.is_empty() && texts.len() < 10, "{texts:?}");
    assert_eq!(texts, numbers(0..texts.len()), "what stands before the damage goes on");
}

#[tokio::test]
async fn d7_a_database_that_is_none_is_moved_aside_and_a_new_one_begins() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory"));
    std::fs::create_dir(dir.path().join("spool")).expect("made");
    std::fs::write(dir.path().join("spool/spool.db"), vec![b'?'; 20_000]).expect("writes");
    let world = World::within(dir.clone(), Mode::Away, ROOM);
    assert_eq!(world.service.spool.figures().quarantined.load(Ordering::Relaxed), 1);
    assert_eq!(std::fs::read(quarantined(&dir)[0].join("spool.db")).expect("kept"), vec![b'?'; 20_000]);
    world.inputs("a", 0..3).await;
    world.lane.set(Mode::Up);
    world.drained().await;
    assert_eq!(world.texts(), numbers(0..3));
}

/// Pages of the database are overwritten one after the other: what can be read is drained, and any loss is reported.
#[tokio::test]
async fn d7_damaged_pages_cost_what_is_on_them_and_never_in_silence() {
    const COUNT: usize = 60;
    let world = World::new(Mode::Away);
    for number in 0..COUNT {
        world.input("a", &format!("{number}:{}", "x".repeat(700))).await.expect("spooled");
    }
    let dir = world.dir.clone();
    world.service.stop().await;
    let whole = std::fs::read(dir.path().join("spool/spool.db")).expect("reads");
    let pages = whole.len() / 4096;
    assert!(pages > 10, "{pages}");
    for page in 1..pages {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir(dir.path().join("spool")).expect("made");
        std::fs::write(dir.path().join("spool/spool.db"), bytes).expect("writes");
        let world = World::within(dir.clone(), Mode::Up, ROOM);
        world.drained().await;
        let arrived = world.texts().len();
        let figures = world.service.spool.figures();
        let reported = figures.quarantined.load(Ordering::Relaxed) + figures.damaged.load(Ordering::Relaxed);
        assert!(arrived == COUNT || reported > 0, "page {page}: {arrived} arrived and nothing was said");
        assert!(world.texts().iter().all(|text| text.ends_with("xxx")), "page {page}: something else arrived");
        world.service.stop().await;
    }
}

#[tokio::test]
async fn d7_a_damaged_entry_is_kept_and_told_and_the_rest_goes_on() {
    let world = World::new(Mode::Away);
    world.inputs("a", 0..5).await;
    let dir = world.dir.clone();
    world.service.stop().await;
    let database = rusqlite::Connection::open(dir.path().join("spool/spool.db")).expect("opens");
    assert_eq!(database.execute("UPDATE entries SET payload = x'5a' WHERE id = 3", []).expect("written"), 1);
    drop(database);
    let world = World::within(dir.clone(), Mode::Up, ROOM);
    world.drained().await;
    assert_eq!(world.texts(), ["0", "1", "3", "4"]);
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0]["reason"].as_str()), (1, Some("spool_damaged")), "{letters:?}");
    assert_eq!((world.tally().published, world.tally().dead_lettered, world.tally().in_flight()), (4, 1, 0));
    world.service.stop().await;
    let database = rusqlite::Connection::open(dir.path().join("spool/spool.db")).expect("opens");
    let kept: String = database.query_row("SELECT reason FROM damaged", [], |row| row.get(0)).expect("kept");
    assert!(kept.contains("checksum"), "{kept}");
}
