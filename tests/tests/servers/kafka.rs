use anyhow::Result;
use inlet_tests::consume::{self, Committed};
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::proxy::Weather;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const HEADERS: &[(&str, &str)] = &[
    ("ce_specversion", "1.0"),
    ("ce_id", "id-1"),
    ("ce_type", "message.created"),
    ("ce_source", "/test"),
    ("ce_time", "2026-01-02T03:04:05Z"),
    ("content-type", "application/json"),
];

/// What one client writes, four others read alike: kcat, Java, Python with the CloudEvents SDK, librdkafka.
#[test]
fn every_client_reads_what_kcat_wrote() -> Result<()> {
    let kafka = Kafka::shared();
    let bootstrap = kafka.bootstrap();
    kafka.create_topic("clients", 3)?;
    consume::kcat_produce(&bootstrap, "clients", "key-1", HEADERS, r#"{"text":"Grüße"}"#.as_bytes())?;

    let seen = consume::kcat_until(&bootstrap, "clients", 1, LIMIT)?;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].key.as_deref(), Some("key-1"));
    assert_eq!(seen[0].header("ce_type"), Some("message.created"));
    assert_eq!(seen[0].text("/text").as_deref(), Some("Grüße"));

    let java = consume::java_console(&bootstrap, "clients", 1)?;
    assert_eq!((java[0].key.as_str(), java[0].value.as_str()), ("key-1", r#"{"text":"Grüße"}"#));
    assert_eq!(java[0].headers["ce_id"], "id-1");

    let python = consume::python_cloudevents(&bootstrap, "clients", 1)?;
    assert_eq!(python[0]["attributes"]["type"], "message.created");
    assert_eq!(python[0]["data"]["text"], "Grüße");

    let mut committed = Committed::open(&bootstrap, "clients", LIMIT)?;
    committed.read_until(LIMIT, "one record", |records| records.len() == 1)?;
    assert_eq!(committed.records, seen);
    Ok(())
}

#[test]
fn the_java_tools_see_the_topic() -> Result<()> {
    let kafka = Kafka::shared();
    kafka.create_topic("described", 2)?;
    let text = kafka.tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", "described"])?;
    assert!(text.contains("PartitionCount: 2"), "{text}");
    Ok(())
}

/// Three brokers go on with two, and a record survives the death of its leader.
#[test]
fn three_brokers_survive_one() -> Result<()> {
    let mut kafka = Kafka::three()?;
    kafka.create_topic("replicated", 1)?;
    consume::kcat_produce(&kafka.bootstrap(), "replicated", "a", &[], b"1")?;
    kafka.kill(0);
    consume::kcat_produce(&kafka.bootstrap(), "replicated", "b", &[], b"2")?;
    kafka.start(0)?;
    kafka.pause(1);
    consume::kcat_produce(&kafka.bootstrap(), "replicated", "c", &[], b"3")?;
    kafka.resume(1);
    kafka.stop(2)?;
    let records = consume::kcat_until(&kafka.bootstrap(), "replicated", 3, LIMIT)?;
    let values: Vec<_> = records.iter().map(|r| String::from_utf8_lossy(&r.value)).collect();
    assert_eq!(values, ["1", "2", "3"]);
    Ok(())
}

/// Each client's way to the brokers can be cut without the others noticing, whatever broker it talks to.
#[test]
fn one_client_can_be_cut_off_alone() -> Result<()> {
    const SOON: Duration = Duration::from_secs(3);
    let kafka = Kafka::three_with_sides(2)?;
    kafka.create_topic("sides", 3)?;
    for side in 0..2 {
        consume::kcat_produce(&kafka.side_bootstrap(side), "sides", "a", &[], b"1")?;
    }
    kafka.side(0).iter().for_each(|proxy| proxy.set(Weather::Cut));
    assert!(Committed::open(&kafka.side_bootstrap(0), "sides", SOON).is_err(), "a way around the proxies");
    consume::kcat_produce(&kafka.side_bootstrap(1), "sides", "a", &[], b"2")?;
    kafka.side(0).iter().for_each(|proxy| proxy.set(Weather::Fair));
    let mut committed = Committed::open(&kafka.side_bootstrap(0), "sides", LIMIT)?;
    committed.read_until(LIMIT, "three records", |records| records.len() == 3)?;
    Ok(())
}

/// A broker that comes late is found by a client that was there first.
#[test]
fn a_prepared_broker_starts_later() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    assert!(Committed::open(&kafka.bootstrap(), "late", Duration::from_secs(1)).is_err());
    kafka.start_all()?;
    kafka.create_topic("late", 1)?;
    Committed::open(&kafka.bootstrap(), "late", LIMIT)?;
    Ok(())
}
