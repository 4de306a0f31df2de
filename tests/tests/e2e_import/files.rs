//! Every sort of file gives the ids that the mailbox gives; what is no mail costs itself.

use crate::{LIMIT, USER, fill, ids, inlet, is_backfill, mailbox, mails, mbox, open, path, sums, text, told};
use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::corpus::{self, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;

/// The smallest cap that the connector allows; the large mail is above it.
const CAP_BYTES: usize = 64 << 10;
const MAILS: usize = 16;

/// The same mails by IMAP, from an mbox, from a Maildir and from single files: one id each, also of the one that is over
/// the cap and of the one with a line that looks like an mbox separator.
#[test]
fn d3_imported_mails_have_the_ids_of_live_ones() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let mut corpus: Vec<_> = corpus::mails(MAILS, 4).collect();
    corpus.push(corpus::large_mail(Identity { id: MAILS, thread: 77, sequence: 0 }, 2 * CAP_BYTES));
    let mut tricky = corpus::mail(Identity { id: 1000, thread: 78, sequence: 0 }, 1);
    tricky.bytes.extend_from_slice(b"\r\n\r\nFrom here on Mon Jan 12 10:00:00 2026\r\n>From there\r\nend\r\n");
    corpus.push(tricky);
    fill(&dovecot, &corpus)?;
    let kafka = Kafka::shared();
    let instances = mailbox(&dovecot, "support", USER) + &format!("      max_mail_bytes: {CAP_BYTES}\n");
    let config = Config::new(kafka, "same", &instances);
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the live mails", |records| mails(records).len() >= corpus.len())?;
    let live = ids(&committed.records);
    ensure!(live.len() == corpus.len() && live.values().all(|ids| ids.len() == 1), "{live:?}");

    let file = path(&gateway, "old.mbox");
    std::fs::write(&file, mbox(corpus.iter().map(|mail| &mail.bytes[..])))?;
    let (maildir, single) = (path(&gateway, "Maildir"), path(&gateway, "single"));
    for folder in [maildir.join("cur"), maildir.join("new"), single.join("deep")] {
        std::fs::create_dir_all(folder)?;
    }
    for (n, mail) in corpus.iter().enumerate() {
        let (part, flags) = if n % 2 == 0 { ("cur", ":2,S") } else { ("new", "") };
        std::fs::write(maildir.join(part).join(format!("{}.M{n}.host{flags}", 1_600_000_000 + n)), &mail.bytes)?;
        let folder = if n % 3 == 0 { single.join("deep") } else { single.clone() };
        std::fs::write(folder.join(format!("{n:04}.eml")), &mail.bytes)?;
    }
    // The live intake goes on meanwhile.
    for (kind, from) in [("mbox", &file), ("maildir", &maildir), ("eml", &single)] {
        let done = sums(&inlet(&gateway, &["import", kind, text(from), "--as", "support", "--json"])?)?;
        ensure!(done["inputs"] == corpus.len() && done["dead_lettered"] == 0, "{kind}: {done}");
    }
    committed.read_until(LIMIT, "all imports", |records| mails(records).len() >= 4 * corpus.len())?;
    let all = ids(&committed.records);
    ensure!(
        all == live,
        "ids differ: {:?}",
        all.iter().filter(|(id, ids)| live.get(id) != Some(ids)).collect::<Vec<_>>()
    );
    ensure!(committed.records.iter().filter(|record| is_backfill(record)).count() >= 3 * corpus.len());
    ensure!(gateway.stop()?.success());
    Ok(())
}

/// Junk among mails, and lines that are no JSON, are dead letters; what is around them arrives. Wrong calls are told.
#[test]
fn d8_what_is_no_mail_does_not_stop_an_import() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let kafka = Kafka::shared();
    let instances = mailbox(&dovecot, "support", "nobody@example.test")
        + "  shop:\n    connector: webhook\n    options: { secret: shop-s3cret-1 }\n";
    let config = Config::new(kafka, "junk", &instances);
    let gateway = Gateway::prepared(&config.text())?;
    let corpus: Vec<_> = corpus::mails(6, 2).collect();
    let mut parts: Vec<&[u8]> = corpus.iter().map(|mail| &mail.bytes[..]).collect();
    parts.insert(2, b"\x00\x01 no mail at all, only a line\n");
    parts.insert(5, b"\n\n");
    let file = path(&gateway, "junk.mbox");
    std::fs::write(&file, mbox(parts))?;
    let done = sums(&inlet(&gateway, &["import", "mbox", text(&file), "--as", "support", "--json"])?)?;
    ensure!(done["inputs"] == 8 && done["dead_lettered"] == 2 && done["events"] == 6, "{done}");

    let lines = path(&gateway, "old.jsonl");
    std::fs::write(
        &lines,
        "{\"id\":\"a-1\",\"text\":\"first\"}\n\n{\"id\": broken\n{\"id\":\"a-2\",\"text\":\"second\"}",
    )?;
    let done = sums(&inlet(&gateway, &["import", "jsonl", text(&lines), "--as", "shop", "--json"])?)?;
    ensure!(done["inputs"] == 3 && done["dead_lettered"] == 1 && done["events"] == 2, "{done}");

    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "eight events", |records| records.len() >= 8)?;
    ensure!(mails(&committed.records).len() == 6);
    let mut dead = Committed::open(&kafka.bootstrap(), &config.dead_letters(), LIMIT)?;
    let dead = dead.read_until(LIMIT, "three dead letters", |records| records.len() >= 3)?;
    let of_mails = |record: &&inlet_tests::consume::Record| record.text("/reason").as_deref() == Some("not_a_mail");
    ensure!(dead.iter().filter(of_mails).count() == 2, "{dead:?}");
    let place = dead.iter().find(of_mails).and_then(|record| record.text("/position")).context("a place")?;
    ensure!(place.contains("junk.mbox#"), "{place}");

    for (args, code, words) in [
        (&["import", "jsonl", "old.jsonl", "--as", "support"][..], 2, "support (imap) takes mails, not jsonl"),
        (&["import", "mbox", "none.mbox", "--as", "support"], 2, "none.mbox: No such file"),
        (&["import", "mbox", "old.jsonl", "--as", "support"], 2, "no mbox"),
        (
            &["import", "mbox", "junk.mbox", "--as", "sales"],
            2,
            "no instance 'sales' in the configuration; there are shop, support",
        ),
    ] {
        let refused = inlet(&gateway, args)?;
        ensure!(refused.status.code() == Some(code) && told(&refused).contains(words), "{args:?}: {}", told(&refused));
    }
    // Another file under the same name is not taken for the old one.
    std::fs::write(&file, mbox([&corpus[5].bytes[..]]))?;
    let other = inlet(&gateway, &["import", "mbox", text(&file), "--as", "support"])?;
    ensure!(other.status.code() == Some(2) && told(&other).contains("is not the file"), "{}", told(&other));
    let again = sums(&inlet(&gateway, &["import", "mbox", text(&file), "--as", "support", "--again", "--json"])?)?;
    ensure!(again["inputs"] == 1, "{again}");
    Ok(())
}
