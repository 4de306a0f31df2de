//! What strangers and broken providers send.

use crate::{LIMIT, SLACK_SECRET, assert_no_secret_leaks, config, slack, slack_body};
use anyhow::Result;
use inlet_tests::consume::{self, Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::webhooks;

/// Everything on the topic up to a last good message, which is sent now: what was refused would lie before it.
fn up_to_a_good_one(gateway: &Gateway, kafka: &Kafka, topic: &str) -> Result<Vec<Record>> {
    assert_eq!(slack(gateway, "C99", 999_999, "the good one").send()?.status, 200);
    let mut committed = Committed::open(&kafka.bootstrap(), topic, LIMIT)?;
    let good = |records: &[Record]| records.iter().any(|r| r.text("/text").as_deref() == Some("the good one"));
    Ok(committed.read_until(LIMIT, "the good one", good)?.to_vec())
}

/// Wrong, missing and stale signatures get 401, and nothing of them is on Kafka.
#[test]
fn unsigned_input_is_refused() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "unsigned");
    let gateway = Gateway::run(&config.text())?;
    let url = gateway.intake("slack-a");
    let body = || slack_body("C01", 1, "forged");
    let hour_ago = webhooks::unix_now() - 3600;
    let refused = [
        ("a wrong secret", webhooks::slack(&url, "guess", body())),
        ("no signature", Request::post(&url, body()).header("content-type", "application/json")),
        ("a stale clock", webhooks::slack_at(&url, SLACK_SECRET, body(), hour_ago)),
        ("a future clock", webhooks::slack_at(&url, SLACK_SECRET, body(), webhooks::unix_now() + 3600)),
        ("a changed body", {
            let mut request = webhooks::slack(&url, SLACK_SECRET, body());
            request.body = slack_body("C01", 1, "changed").into();
            request
        }),
        ("a wrong token", webhooks::telegram(&gateway.intake("telegram-a"), "guess", "{}")),
    ];
    for (what, request) in refused {
        let answer = request.send()?;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    }
    let records = up_to_a_good_one(&gateway, kafka, &config.events())?;
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(consume::kcat(&kafka.bootstrap(), &config.dead_letters())?.is_empty());
    assert_no_secret_leaks(&gateway)
}

/// Over the cap 413, as sent and as unpacked; unknown names 404; other methods 405.
#[test]
fn input_out_of_bounds_is_refused() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "bounds");
    let gateway = Gateway::run(&config.text())?;
    let url = gateway.intake("slack-a");
    let large = slack_body("C01", 1, &"x".repeat(70_000));
    assert_eq!(webhooks::slack(&url, SLACK_SECRET, large).send()?.status, 413);
    let bomb = gzip(&vec![b' '; 2_000_000]);
    assert!(bomb.len() < 60_000, "{} bytes", bomb.len());
    let request = webhooks::slack(&url, SLACK_SECRET, bomb).header("content-encoding", "gzip");
    assert_eq!(request.send()?.status, 413);
    assert_eq!(webhooks::slack(&gateway.intake("nobody"), SLACK_SECRET, "{}").send()?.status, 404);
    assert_eq!(Request::get(format!("{}/", gateway.ingress)).send()?.status, 404);
    let answer = Request::get(&url).send()?;
    assert_eq!((answer.status, answer.header("allow").is_some()), (405, true));
    assert_eq!(up_to_a_good_one(&gateway, kafka, &config.events())?.len(), 1);
    Ok(())
}

/// Well signed but no JSON: accepted, and on the dead letters' topic with its redacted bytes and the reason.
#[test]
fn d8_unreadable_input_becomes_a_dead_letter() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "unreadable");
    let gateway = Gateway::run(&config.text())?;
    let body = r#"{"type":"event_callback","token":"legacy-token","event":{"text":"cut off"#;
    let request = webhooks::slack(&gateway.intake("slack-a"), SLACK_SECRET, body);
    let signature = request.headers.iter().find(|(n, _)| n == "x-slack-signature").expect("signed").1.clone();
    let answer = request.header("authorization", "Bearer caller-token").send()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let records = consume::kcat_until(&kafka.bootstrap(), &config.dead_letters(), 1, LIMIT)?;
    assert_eq!(records.len(), 1);
    let text = String::from_utf8_lossy(&records[0].value).into_owned();
    let whole = format!("{text}{:?}", records[0].headers);
    let letter = records[0].json()?;
    assert!(whole.contains("slack-a"), "{whole}");
    assert!(dead_body(&letter).is_some_and(|raw| raw.contains("cut off")), "{text}");
    for secret in [signature.as_str(), "caller-token", SLACK_SECRET] {
        assert!(!whole.contains(secret), "{secret} is in {whole}");
    }
    assert_eq!(up_to_a_good_one(&gateway, kafka, &config.events())?.len(), 1);
    Ok(())
}

/// The raw body within a dead letter: in base64 or as text, wherever it is.
fn dead_body(value: &serde_json::Value) -> Option<String> {
    use base64::Engine;
    match value {
        serde_json::Value::String(text) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            [text.clone(), decoded].into_iter().find(|candidate| candidate.contains("event_callback"))
        }
        serde_json::Value::Array(items) => items.iter().find_map(dead_body),
        serde_json::Value::Object(fields) => fields.values().find_map(dead_body),
        _ => None,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
