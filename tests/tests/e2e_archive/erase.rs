//! `inlet erase`.

use crate::{LIMIT, MENDED, accepted, config, inlet, left, message, records, send, wait};
use anyhow::{Context, Result};
use inlet_tests::consume::Record;
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use std::path::PathBuf;

/// A form with a file, as a browser sends it.
fn submit(gateway: &Gateway, name: &str) -> Result<()> {
    let mut body = String::new();
    let email = format!("{name}@example.test");
    for (field, value) in [("name", name), ("email", email.as_str()), ("message", "see the file")] {
        body += &format!("--frontier\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
    }
    body += "--frontier\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n";
    body += "content-type: text/plain\r\n\r\nthe same bytes in both\r\n--frontier--\r\n";
    let request = Request::post(format!("{}/forms/contact", gateway.ingress), body);
    accepted(&request.header("content-type", "multipart/form-data; boundary=frontier"))
}

fn event_of<'a>(events: &'a [Record], sender: &str) -> Result<&'a Record> {
    let own = events.iter().find(|event| {
        event.text("/kind").as_deref() == Some("form.submitted")
            && String::from_utf8_lossy(&event.value).contains(&format!("{sender}@example.test"))
    });
    own.with_context(|| format!("no event of {sender}"))
}

fn blob(event: &Record) -> Result<PathBuf> {
    let base = event.header("inlet-blob-base").context("inlet-blob-base")?.trim_start_matches("file://").to_owned();
    let path = event.text("/attachments/0/blob/path").context("a blob")?;
    Ok(PathBuf::from(base).join(path))
}

/// Two people sent the same file: it goes with the second of them. Their raw inputs go with each; consumers are told.
#[test]
fn a_shared_blob_stays_until_the_second_event_is_erased() -> Result<()> {
    let config = config("erase", MENDED);
    let gateway = Gateway::run(&config.text())?;
    submit(&gateway, "jane")?;
    submit(&gateway, "joe")?;
    send(&gateway, &message(1))?;
    let events = records(&config.events(), 3)?;
    let (jane, joe) = (event_of(&events, "jane")?, event_of(&events, "joe")?);
    let (file, jane_id) = (blob(jane)?, jane.header("ce_id").context("an id")?);
    assert_eq!((&file, file.exists()), (&blob(joe)?, true));
    assert_eq!(left(&config.topic("raw"))?.len(), 3);

    let told = inlet(&gateway, &["erase", "--event", jane_id, "--dry-run"])?;
    assert!(told.contains("1 raw inputs would be erased") && told.contains("1 blobs stay"), "{told}");
    assert_eq!((left(&config.topic("raw"))?.len(), records(&config.events(), 3)?.len()), (3, 3));

    let told = inlet(&gateway, &["erase", "--event", jane_id])?;
    assert!(told.contains("1 raw inputs erased") && told.contains("1 blobs stay"), "{told}");
    assert!(file.exists(), "joe's event needs it");
    assert_eq!(left(&config.topic("raw"))?.len(), 2);
    let told = request(&config.events(), 4, jane_id)?;
    assert_eq!(told.key, jane.key, "it follows the event in its partition");
    assert_eq!((told.header("ce_type"), told.text("/erasure/identity")), (Some("inlet.erasure.requested"), None));

    let told = inlet(&gateway, &["erase", "--sender", "JOE@example.test"])?;
    assert!(told.contains("1 raw inputs erased") && told.contains("1 blobs removed"), "{told}");
    assert!(!file.exists(), "nobody needs it any more");
    assert_eq!(left(&config.topic("raw"))?.len(), 1, "the third is nobody's");
    let told = request(&config.events(), 5, joe.header("ce_id").context("an id")?)?;
    assert_eq!(told.text("/erasure/identity").as_deref(), Some("JOE@example.test"));
    let told = inlet(&gateway, &["replay", "--from", "raw", "--connector", "contact"])?;
    assert!(told.starts_with("0 raw inputs"), "{told}");
    Ok(())
}

/// The `erasure.requested` that names an event.
fn request(topic: &str, count: usize, id: &str) -> Result<Record> {
    let all = records(topic, count)?;
    let names = |record: &&Record| record.text("/erasure/event_ids/0").as_deref() == Some(id);
    all.iter().find(names).cloned().with_context(|| format!("no erasure.requested names {id}"))
}

/// A dead letter that names the person goes too, though nobody could read it.
#[test]
fn dead_letters_that_name_the_sender_are_erased() -> Result<()> {
    let config = config("eraseletter", MENDED);
    let gateway = Gateway::run(&config.text())?;
    send(&gateway, "{\"id\":\"1\",\"from\":\"jane@example.test\"")?;
    send(&gateway, "{\"id\":\"2\",\"from\":\"joe@example.test\"")?;
    wait::until_true(LIMIT, "two letters", || left(&config.dead_letters()).is_ok_and(|left| left.len() == 2))?;
    let told = inlet(&gateway, &["erase", "--sender", "jane@example.test"])?;
    assert!(told.contains("1 dead letters erased"), "{told}");
    let left = left(&config.dead_letters())?;
    let letters = records(&config.dead_letters(), 3)?;
    let stays =
        letters.iter().find(|letter| !letter.value.is_empty() && left.contains(letter.key.as_deref().unwrap_or("")));
    assert_eq!(left.len(), 1);
    assert!(stays.context("one")?.json()?["detail"].is_string());
    Ok(())
}
