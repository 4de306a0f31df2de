//! D2 and D3: an import that is killed goes on where it was.

use crate::{LIMIT, inlet, is_backfill, mailbox, mails, mbox, open, path, sums, text};
use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::corpus;
use inlet_tests::gateway::{self, Gateway};
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use std::process::Command;

const MAILS: usize = 3_000;
const THREADS: usize = 100;
/// Share of the mails that are committed when the import is killed, in percent.
const KILLS: [usize; 2] = [25, 60];

/// Two kills, then to the end: each mail exactly once, in order, marked as history. A further run finds nothing to do,
/// and mail that was added to the file since is all that the last run imports.
#[test]
fn d3_an_import_survives_kills() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(MAILS + 1, THREADS).collect();
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "killed", &mailbox(&dovecot, "support", "nobody@example.test"));
    let gateway = Gateway::prepared(&config.text())?;
    let file = path(&gateway, "old.mbox");
    std::fs::write(&file, mbox(corpus[..MAILS].iter().map(|mail| &mail.bytes[..])))?;
    let args = ["import", "mbox", text(&file), "--as", "support", "--rate", "1500", "--json", "-c", "inlet.yaml"];
    let mut committed = None;
    for share in KILLS {
        let mut command = Command::new(gateway::binary()?);
        command.args(args).current_dir(gateway.dir().path());
        let mut import = gateway.dir().spawn(&format!("import{share}"), &mut command)?;
        let committed = match &mut committed {
            Some(committed) => committed,
            none => none.insert(open(kafka, &config)?),
        };
        let enough = |records: &[_]| records.len() >= MAILS * share / 100;
        committed.read_until(LIMIT, &format!("{share} % of the mails"), enough)?;
        import.kill();
        ensure!(committed.drain()?.len() < MAILS, "the kill at {share} % came too late to prove anything");
    }
    let mut committed = committed.expect("opened");
    let rest = sums(&inlet(&gateway, &args[..args.len() - 2])?)?;
    ensure!(rest["inputs"].as_u64().is_some_and(|inputs| inputs > 0 && inputs < MAILS as u64), "{rest}");
    let nothing = sums(&inlet(&gateway, &args[..args.len() - 2])?)?;
    ensure!(nothing["inputs"] == 0, "{nothing}");

    std::fs::write(&file, mbox(corpus.iter().map(|mail| &mail.bytes[..])))?;
    let one = sums(&inlet(&gateway, &args[..args.len() - 2])?)?;
    ensure!(one["inputs"] == 1, "{one}");
    committed.read_until(LIMIT, "all mails", |records| mails(records).len() > MAILS)?;
    judge::exactly_once(&mails(committed.drain()?), corpus.iter().map(|mail| mail.identity))?;
    ensure!(committed.records.iter().all(is_backfill), "an imported mail is not marked");
    Ok(())
}
