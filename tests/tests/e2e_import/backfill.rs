//! What a mailbox has kept from before, fetched beside its live intake.

use crate::{LIMIT, USER, fill, ids, inlet, is_backfill, mailbox, mails, open, sums, told};
use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::corpus;
use inlet_tests::gateway::{self, Gateway};
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;
use std::process::Command;

const OLD: usize = 600;
const NEW: usize = 10;

/// Live intake reads what is new; a backfill, killed once, fetches the rest. Mails that both read have one id: whoever
/// dedupes by it sees each once.
#[test]
fn d3_a_backfill_brings_old_mail_with_the_ids_of_live_intake() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(OLD + NEW, 20).collect();
    fill(&dovecot, &corpus[..OLD])?;
    let kafka = Kafka::shared();
    let instances = mailbox(&dovecot, "support", USER).replace("start: beginning", "start: now");
    let config = Config::new(kafka, "backfill", &instances);
    let gateway = Gateway::run(&config.text())?;
    wait::until(LIMIT, "the live intake", || {
        Ok((gateway.status()?["instances"]["support"]["state"] == "running").then_some(()))
    })?;
    fill(&dovecot, &corpus[OLD..])?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the new mails", |records| mails(records).len() >= NEW)?;
    ensure!(mails(&committed.records).iter().all(|record| !is_backfill(record)), "live mail is marked as history");
    let live = ids(&committed.records);
    ensure!(live.keys().copied().eq(OLD..OLD + NEW), "{live:?}");

    let none =
        sums(&inlet(&gateway, &["backfill", "support", "--since", "2000-01-01", "--until", "2000-02-01", "--json"])?)?;
    ensure!(none["inputs"] == 0, "{none}");
    let args = ["backfill", "support", "--since", "2000-01-01", "--json"];
    let mut command = Command::new(gateway::binary()?);
    command.args(args).args(["--rate", "200", "-c", "inlet.yaml"]).current_dir(gateway.dir().path());
    let mut killed = gateway.dir().spawn("backfill", &mut command)?;
    committed.read_until(LIMIT, "a part of the old mails", |records| mails(records).len() >= NEW + OLD / 5)?;
    killed.kill();
    ensure!(mails(committed.drain()?).len() < NEW + OLD, "the kill came too late to prove anything");
    let rest = sums(&inlet(&gateway, &args)?)?;
    ensure!(rest["inputs"].as_u64().is_some_and(|inputs| inputs > 0 && inputs < (OLD + NEW) as u64), "{rest}");

    let records = committed.read_until(LIMIT, "everything", |records| mails(records).len() >= OLD + 2 * NEW)?;
    let records = mails(records);
    ensure!(records.len() == OLD + 2 * NEW, "{} records: the kill doubled or lost some", records.len());
    let all = ids(&records);
    ensure!(all.len() == OLD + NEW && all.values().all(|ids| ids.len() == 1), "a mail has two ids");
    ensure!(live.iter().all(|(id, ids)| all.get(id) == Some(ids)), "other ids than live intake gave");
    ensure!(records.iter().filter(|record| is_backfill(record)).count() == OLD + NEW, "history is not marked");

    let unable = inlet(&gateway, &["backfill", "support", "--since", "yesterday"])?;
    ensure!(unable.status.code() == Some(2) && told(&unable).contains("is no date like"), "{}", told(&unable));
    Ok(())
}
