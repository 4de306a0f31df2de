//! What a well-signed webhook becomes.

use crate::{LIMIT, SLACK_SECRET, assert_no_secret_leaks, config, slack};
use anyhow::Result;
use inlet_tests::consume::{self, Committed};
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{fixtures, webhooks};

const TWILIO_FORM: &[(&str, &str)] = &[
    ("MessageSid", "SM00000000000000000000000000000001"),
    ("SmsMessageSid", "SM00000000000000000000000000000001"),
    ("AccountSid", "AC00000000000000000000000000000001"),
    ("From", "+4915110000100"),
    ("To", "+4930900101"),
    ("Body", "Wo ist meine Bestellung? ✓"),
    ("NumMedia", "0"),
    ("NumSegments", "1"),
    ("SmsStatus", "received"),
    ("ApiVersion", "2010-04-01"),
];

/// One of each provider: the answer is 200, and kcat reads a CloudEvent under the conversation's key.
#[test]
fn each_provider_becomes_a_cloud_event() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "each");
    let gateway = Gateway::run(&config.text())?;
    let telegram = fixtures::body("telegram", "text")?;
    let shop = br#"{"order": 7, "text": "webhook body"}"#.to_vec();
    let twilio_url = gateway.intake("twilio-a");
    let requests = [
        ("slack", slack(&gateway, "C01", 1, "hello from slack")),
        ("telegram", webhooks::telegram(&gateway.intake("telegram-a"), "telegram-s3cret-1", telegram)),
        ("twilio", webhooks::twilio(&twilio_url, &twilio_url, "twilio-s3cret-1", TWILIO_FORM)),
        ("shop", webhooks::standard(&gateway.intake("shop"), b"shop-s3cret-1", "msg_1", shop)),
    ];
    for (name, request) in &requests {
        let answer = request.send()?;
        assert!((200..300).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
    }
    let records = consume::kcat_until(&kafka.bootstrap(), &config.events(), requests.len(), LIMIT)?;
    assert_eq!(records.len(), requests.len());
    for record in &records {
        let event = record.json()?;
        let text = |pointer: &str| event.pointer(pointer).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        assert_eq!(record.key.as_deref(), Some(text("/conversation/key").as_str()));
        assert_eq!(record.header("ce_specversion"), Some("1.0"));
        assert_eq!(record.header("ce_id"), Some(text("/id").as_str()));
        assert_eq!(record.header("content-type"), Some("application/json"));
        assert!(record.header("ce_type").is_some_and(|t| t.ends_with(&text("/kind"))), "{:?}", record.headers);
        assert!(record.header("ce_source").is_some_and(|source| !source.is_empty()));
        assert!(record.header("ce_time").is_some_and(|time| time.ends_with('Z')));
    }
    let providers: std::collections::BTreeSet<_> = records.iter().filter_map(|r| r.text("/connector")).collect();
    assert_eq!(providers.len(), 4, "{providers:?}");
    assert!(records.iter().any(|r| r.text("/text").as_deref() == Some("Wo ist meine Bestellung? ✓")));
    assert_no_secret_leaks(&gateway)
}

/// D5: messages of one conversation, each sent after the answer to the one before, stay in order.
#[test]
fn a_conversation_stays_in_order() -> Result<()> {
    const COUNT: usize = 200;
    let kafka = Kafka::shared();
    let config = config(kafka, "order");
    let gateway = Gateway::run(&config.text())?;
    for number in 0..COUNT {
        let answer = slack(&gateway, "C02", number, &format!("message {number}")).send()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let records = committed.read_until(LIMIT, "all messages", |records| records.len() >= COUNT)?;
    let mut sorted: Vec<_> = records.iter().collect();
    sorted.sort_by_key(|record| (record.partition, record.offset));
    let texts: Vec<_> = sorted.iter().filter_map(|record| record.text("/text")).collect();
    let expected: Vec<_> = (0..COUNT).map(|number| format!("message {number}")).collect();
    assert_eq!(texts, expected);
    Ok(())
}

/// D4: the same input again has the same event id.
#[test]
fn a_redelivery_has_the_same_id() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "again");
    let gateway = Gateway::run(&config.text())?;
    let body = crate::slack_body("C03", 1, "twice");
    for retry in ["0", "1"] {
        let request = webhooks::slack(&gateway.intake("slack-a"), SLACK_SECRET, body.clone());
        let request = if retry == "0" { request } else { request.header("x-slack-retry-num", retry) };
        assert_eq!(request.send()?.status, 200);
    }
    assert_eq!(slack(&gateway, "C03", 2, "the end").send()?.status, 200);
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let has_end = |records: &[consume::Record]| records.iter().any(|r| r.text("/text").as_deref() == Some("the end"));
    let records = committed.read_until(LIMIT, "the last message", has_end)?;
    let twice: Vec<_> = records.iter().filter(|r| r.text("/text").as_deref() == Some("twice")).collect();
    assert!(!twice.is_empty());
    assert!(twice.iter().all(|r| r.header("ce_id") == twice[0].header("ce_id")), "{twice:?}");
    Ok(())
}
