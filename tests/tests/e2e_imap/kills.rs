//! D2 and D3: kill -9 in the middle of a large mailbox loses nothing and doubles nothing.

use crate::{LIMIT, USER, await_running, fill, mailbox, mails, open};
use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::corpus::{self, CorpusMail, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const MAILS: usize = 10_000;
const THREADS: usize = 500;
/// The gateway is killed when this share of the mails is committed, in percent.
const KILLS: [usize; 3] = [20, 50, 80];
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
/// IDLE tells of a new mail at once; a poll would take an hour here.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// Ten thousand mails, three kills: ten thousand events, each thread in order, each text readable. Then IDLE.
#[test]
fn d3_ten_thousand_mails_survive_three_kills() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(MAILS, THREADS).collect();
    fill(&dovecot, USER, &corpus)?;
    let kafka = Kafka::one()?;
    let config = Config::new(&kafka, "bar", &mailbox(&dovecot, "support", USER));
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(&kafka, &config)?;
    let started = Instant::now();
    for share in KILLS {
        // Events and cursors are committed together: so many events are so many cursors.
        committed.read_until(DRAIN_LIMIT, &format!("{share} % of the mails"), |records| {
            records.len() >= MAILS * share / 100
        })?;
        println!("{share} % after {:?}", started.elapsed());
        gateway.kill();
        assert!(mails(committed.drain()?).len() < MAILS, "the kill at {share} % came too late to prove anything");
        gateway.start()?;
        println!("started again after {:?}", started.elapsed());
    }
    committed.read_until(DRAIN_LIMIT, "every mail", |records| records.len() >= MAILS)?;
    println!("{MAILS} mails with {} kills in {:?}", KILLS.len(), started.elapsed());

    // Mail that comes later is told by IDLE; it is behind everything that could still have been doubled.
    await_running(&gateway, "support")?;
    let late = corpus::mail(Identity { id: MAILS, thread: MAILS, sequence: 0 }, THREADS);
    dovecot.deliver(USER, &late.bytes)?;
    let has_late = |records: &[_]| records.iter().any(|record| judge::identity(record) == Some(late.identity));
    committed.read_until(IDLE_LIMIT, "the late mail", has_late)?;

    let records = mails(&committed.records);
    let expected: HashMap<_, _> = corpus.iter().chain([&late]).map(|mail| (mail.identity, mail)).collect();
    judge::exactly_once(&records, expected.keys().copied())?;
    for record in &records {
        assert_readable(record, &expected)?;
    }
    assert_untouched(&dovecot)
}

fn assert_readable(record: &inlet_tests::consume::Record, expected: &HashMap<Identity, &CorpusMail>) -> Result<()> {
    let mail = expected[&judge::identity(record).expect("a mail")];
    let event = record.json()?;
    let text = event["text"].as_str().unwrap_or("");
    assert!(text.contains(mail.phrase), "'{}' is not in '{text}' of {:?}", mail.phrase, mail.identity);
    let attachments = event["attachments"].as_array().map_or(0, Vec::len);
    assert!(attachments >= mail.attachments, "{:?} has {attachments} attachments", mail.identity);
    Ok(())
}

/// Reading leaves no trace in the mailbox: no flag is set.
fn assert_untouched(dovecot: &Dovecot) -> Result<()> {
    let mut imap = dovecot.connect(USER)?;
    imap.command("EXAMINE INBOX")?;
    assert_eq!(imap.search("SEEN")?, [0_u32; 0]);
    assert_eq!(imap.search("ALL")?.len(), MAILS + 1);
    Ok(())
}

/// The mail server restarts under a running gateway: it reconnects by itself.
#[test]
fn a_restart_of_the_mail_server_is_waited_out() -> Result<()> {
    let mut dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(20, 4).collect();
    fill(&dovecot, USER, &corpus[..10])?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "restart", &mailbox(&dovecot, "support", USER));
    let _gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the first ten", |records| mails(records).len() >= 10)?;
    dovecot.stop()?;
    fill(&dovecot, USER, &corpus[10..])?;
    dovecot.restart()?;
    committed.read_until(LIMIT, "all twenty", |records| mails(records).len() >= 20)?;
    judge::exactly_once(&mails(&committed.records), corpus.iter().map(|mail| mail.identity))
}
