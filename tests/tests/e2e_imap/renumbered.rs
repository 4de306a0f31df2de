//! D3: a lost cursor. A new UIDVALIDITY reads the folder again: nothing is lost, repeats keep their id and are marked.

use crate::{LIMIT, USER, fill, mailbox, mails, open};
use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::corpus;
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use std::collections::HashMap;

#[test]
fn d3_a_renumbered_folder_repeats_with_the_same_ids() -> Result<()> {
    const BEFORE: usize = 30;
    let mut dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(BEFORE + 1, 5).collect();
    fill(&dovecot, USER, &corpus[..BEFORE])?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "renumbered", &mailbox(&dovecot, "support", USER));
    let _gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the mails", |records| mails(records).len() >= BEFORE)?;
    judge::exactly_once(&mails(&committed.records), corpus[..BEFORE].iter().map(|mail| mail.identity))?;
    let ids: HashMap<_, _> = mails(&committed.records).iter().map(|r| (judge::identity(r), r.text("/id"))).collect();

    dovecot.renumber(USER, "INBOX")?;
    let newest = &corpus[BEFORE];
    fill(&dovecot, USER, std::slice::from_ref(newest))?;
    let has_newest = |records: &[_]| records.iter().any(|record| judge::identity(record) == Some(newest.identity));
    committed.read_until(LIMIT, "the newest mail", has_newest)?;
    for record in &mails(&committed.records)[BEFORE..] {
        if let Some(id) = ids.get(&judge::identity(record)) {
            assert_eq!(&record.text("/id"), id, "a repeat keeps its id");
            assert_eq!(record.json()?.pointer("/provenance/resync"), Some(&true.into()), "a repeat is marked");
        }
    }
    Ok(())
}
