//! Mails of every sort: huge, poisonous, in several folders, before the start.

use crate::{LIMIT, USER, mailbox, mails, open};
use anyhow::{Context, Result};
use inlet_tests::blobs;
use inlet_tests::config::Config;
use inlet_tests::consume;
use inlet_tests::corpus::{self, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;

/// In base64 that is a mail of 50 MB.
const LARGE_ATTACHMENT_BYTES: usize = 37 << 20;

/// A mail of 50 MB arrives: its attachment is a blob with the right sum, its event fits into a record, memory stays
/// bounded, and the mails around it arrive too.
#[test]
fn a_mail_of_fifty_megabytes_arrives() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let identity = |id| Identity { id, thread: id, sequence: 0 };
    let large = corpus::large_mail(identity(1), LARGE_ATTACHMENT_BYTES);
    assert!(large.bytes.len() > 50_000_000);
    let around = [corpus::mail(identity(0), 1), corpus::mail(identity(2), 1)];
    dovecot.fill(USER, "INBOX", [&around[0].bytes[..], &large.bytes, &around[1].bytes])?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "large", &mailbox(&dovecot, "support", USER));
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "three mails", |records| mails(records).len() >= 3)?;
    let records = mails(&committed.records);
    judge::exactly_once(&records, (0..3).map(identity))?;
    let record = records.iter().find(|r| judge::identity(r) == Some(large.identity)).context("the large mail")?;
    let event = blobs::whole_event(record)?;
    assert_eq!(event["attachments"][0]["fetch_state"], "stored");
    let stored = blobs::read(record, &event["attachments"][0]["blob"])?;
    assert!(stored.len() == LARGE_ATTACHMENT_BYTES && stored.iter().all(|byte| *byte == b'x'));
    let peak = peak_memory_bytes(gateway.process()?.id())?;
    assert!(peak < 1 << 30, "the gateway took {} MB", peak >> 20);
    Ok(())
}

fn peak_memory_bytes(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// D8: what cannot be understood stops nobody; it is an event or a dead letter, and the mails behind it arrive.
#[test]
fn d8_poisonous_mails_stop_nobody() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let good = |id| corpus::mail(Identity { id, thread: id, sequence: 0 }, 1);
    let nested = {
        let depth = 500;
        let open: String =
            (0..depth).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
        format!("From: deep@poison.test\r\nMIME-Version: 1.0\r\n{open}\r\nbottom\r\n").into_bytes()
    };
    let poison: [Vec<u8>; 5] = [
        b"\r\n".to_vec(),
        (0..=255).cycle().take(20_000).collect(),
        b"From: nobody\r\nSubject: =?utf-8?B?////?=\r\nContent-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe\r\n"
            .to_vec(),
        nested,
        [b"Subject: ".to_vec(), vec![b'A'; 2_000_000], b"\r\n\r\nlong\r\n".to_vec()].concat(),
    ];
    let (before, after) = (good(0), good(1));
    let all = [&before.bytes].into_iter().chain(&poison).chain([&after.bytes]).map(Vec::as_slice);
    dovecot.fill(USER, "INBOX", all)?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "poison", &mailbox(&dovecot, "support", USER));
    let _gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    let has_last = |records: &[_]| records.iter().any(|record| judge::identity(record) == Some(after.identity));
    let events = committed.read_until(LIMIT, "the mail behind the poison", has_last)?.len();
    let dead = consume::kcat(&kafka.bootstrap(), &config.dead_letters())?.len();
    assert_eq!(events + dead, poison.len() + 2, "{events} events and {dead} dead letters");
    Ok(())
}

/// Several folders are streams of one instance; `start: now` leaves what was there alone.
#[test]
fn folders_and_the_start_are_respected() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let mail = |id| corpus::mail(Identity { id, thread: id, sequence: 0 }, 1);
    dovecot.fill(USER, "INBOX", [&mail(0).bytes[..]])?;
    dovecot.fill(USER, "Verkauf/Größe", [&mail(1).bytes[..]])?;
    let instances = mailbox(&dovecot, "support", USER).replace("start: beginning", "start: now")
        + "      folders: [INBOX, 'Verkauf/Größe']\n";
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "folders", &instances);
    let gateway = Gateway::run(&config.text())?;
    crate::await_running(&gateway, "support")?;
    let mut committed = open(kafka, &config)?;
    // New mail counts from when both folders have been looked at: ask until the first has come.
    let mut next = 10;
    while mails(committed.drain()?).is_empty() {
        dovecot.fill(USER, "INBOX", [&mail(next).bytes[..]])?;
        next += 1;
        let _ = committed.read_until(std::time::Duration::from_secs(3), "a mail", |records| !mails(records).is_empty());
        assert!(next < 40, "no mail arrives");
    }
    let other = mail(1000);
    dovecot.fill(USER, "Verkauf/Größe", [&other.bytes[..]])?;
    let has_other = |records: &[_]| records.iter().any(|record| judge::identity(record) == Some(other.identity));
    let records = committed.read_until(LIMIT, "mail of the second folder", has_other)?;
    assert!(records.iter().filter_map(judge::identity).all(|identity| identity.id >= 10), "history was published");
    Ok(())
}
