//! `inlet replay`.

use crate::{BROKEN, LIMIT, MENDED, config, ids, inlet, left, message, records, send};
use anyhow::{Context, Result};
use inlet_tests::consume;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use std::collections::BTreeSet;

const COUNT: usize = 5;

/// The parser is mended: its dead letters become the events that live input would have become, and are gone; what still
/// cannot be read stays.
#[test]
fn dead_letters_are_replayed_to_the_ids_of_live_input() -> Result<()> {
    let broken = config("letters", BROKEN);
    let gateway = Gateway::run(&broken.text())?;
    for number in 0..COUNT {
        send(&gateway, &message(number))?;
    }
    send(&gateway, "{\"id\":\"cut o")?;
    let letters = records(&broken.dead_letters(), COUNT + 1)?;
    let letter = letters[0].json()?;
    assert_eq!((letter["instance"].as_str(), letter["connector"].as_str()), (Some("shop"), Some("webhook")));
    assert!(letter["parser_version"].as_str().is_some_and(|version| version.starts_with("webhook/")), "{letter}");
    drop(gateway);

    let mended = Gateway::run(&config("letters", MENDED).text())?;
    let told = inlet(&mended, &["replay", "--from", "deadletter", "--dry-run"])?;
    assert!(
        told.starts_with(&format!("{} dead letters: {COUNT} would be replayed ({COUNT} events)", COUNT + 1)),
        "{told}"
    );
    assert_eq!(left(&broken.dead_letters())?.len(), COUNT + 1, "a dry run changes nothing");
    assert!(consume::kcat(&Kafka::shared().bootstrap(), &broken.events())?.is_empty());

    let told = inlet(&mended, &["replay", "--from", "deadletter", "--reason", "no_such_reason"])?;
    assert!(told.starts_with("0 dead letters"), "{told}");
    let told = inlet(&mended, &["replay", "--from", "deadletter", "--connector", "shop", "--since", "1h"])?;
    assert!(told.starts_with(&format!("{} dead letters: {COUNT} replayed ({COUNT} events)", COUNT + 1)), "{told}");
    let replayed = records(&broken.events(), COUNT)?;
    assert_eq!(left(&broken.dead_letters())?.len(), 1, "what cannot be read stays");
    let again = inlet(&mended, &["replay", "--from", "deadletter"])?;
    assert!(again.starts_with("1 dead letters: 0 replayed (0 events)"), "{again}");
    assert_eq!(records(&broken.events(), COUNT)?.len(), COUNT);

    let live = config("letterslive", MENDED);
    let gateway = Gateway::run(&live.text())?;
    for number in 0..COUNT {
        send(&gateway, &message(number))?;
    }
    assert_eq!(ids(&replayed), ids(&records(&live.events(), COUNT)?));
    Ok(())
}

/// Raw inputs are kept with the ids of their events, redacted; a replay of them publishes the same ids.
#[test]
fn raw_inputs_are_replayed_to_the_same_ids() -> Result<()> {
    let config = config("rawagain", MENDED);
    let gateway = Gateway::run(&config.text())?;
    for number in 0..COUNT {
        send(&gateway, &message(number))?;
    }
    let first = records(&config.events(), COUNT)?;
    let kept = records(&config.topic("raw"), COUNT)?;
    let mut of_kept = BTreeSet::new();
    for record in &kept {
        let raw = record.json()?;
        let events = raw["event_ids"].as_array().context("event_ids")?;
        of_kept.extend(events.iter().filter_map(|id| id.as_str()).map(str::to_owned));
        let text = String::from_utf8_lossy(&record.value);
        assert!(!text.contains("shop-s3cret-1") && !text.contains("sha256="), "{text}");
        let of_event = first.iter().find(|event| event.header("ce_id") == raw["event_ids"][0].as_str());
        assert_eq!(of_event.and_then(|event| event.text("/provenance/raw_ref")), record.key);
    }
    assert_eq!(of_kept, ids(&first));
    let told = inlet(&gateway, &["replay", "--from", "raw"])?;
    assert!(told.starts_with(&format!("{COUNT} raw inputs: {COUNT} replayed ({COUNT} events)")), "{told}");
    let all = records(&config.events(), 2 * COUNT)?;
    assert_eq!((all.len(), ids(&all)), (2 * COUNT, ids(&first)));
    let same = |record: &consume::Record| record.text("/provenance/raw_sha256");
    for record in &all {
        let original = first.iter().find(|one| one.header("ce_id") == record.header("ce_id")).context("is there")?;
        assert_eq!(same(record), same(original));
    }
    assert_eq!(records(&config.topic("raw"), COUNT)?.len(), COUNT, "nothing is kept twice");
    Ok(())
}

/// With `raw: off` nothing is kept; an instance may have its own way.
#[test]
fn raw_can_be_off() -> Result<()> {
    let config = config("rawoff", MENDED).with("raw: off").map_instances(|instances| {
        instances.replace("    connector: contact_form", "    connector: contact_form\n    raw: on")
    });
    let gateway = Gateway::run(&config.text())?;
    send(&gateway, &message(1))?;
    let url = format!("{}/forms/contact", gateway.ingress);
    let body = "name=Ann&email=ann%40example.test&message=hello";
    let request = inlet_tests::http_client::Request::post(&url, body);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send()?;
    assert!(answer.status < 400, "{}", answer.text());
    let events = records(&config.events(), 2)?;
    assert_eq!(events.len(), 2);
    let kept = consume::kcat_until(&Kafka::shared().bootstrap(), &config.topic("raw"), 1, LIMIT)?;
    assert_eq!(kept.iter().filter_map(|record| record.header("inlet-instance")).collect::<Vec<_>>(), ["contact"]);
    Ok(())
}
