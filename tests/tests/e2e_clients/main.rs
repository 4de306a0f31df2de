//! What Inlet writes is read alike by the clients that people use: kcat, the Java console consumer of Apache Kafka, and
//! Python with the CloudEvents SDK; kcat also from the embedded broker of `quickstart`.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::webhooks;
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const MESSAGES: usize = 5;
const SECRET: &str = "slack-s3cret-1";
const INSTANCES: &str = "  slack-a: { connector: slack, options: { signing_secret: slack-s3cret-1 } }\n";

fn send_messages(gateway: &Gateway) -> Result<()> {
    for number in 0..MESSAGES {
        let body = include_str!("slack_message.json").replace("@N@", &number.to_string());
        let answer = webhooks::slack(&gateway.intake("slack-a"), SECRET, body).send()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    Ok(())
}

#[test]
fn three_clients_see_the_same() -> Result<()> {
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "clients", INSTANCES);
    let gateway = Gateway::run(&config.text())?;
    send_messages(&gateway)?;
    let bootstrap = kafka.bootstrap();
    let kcat = consume::kcat_until(&bootstrap, &config.events(), MESSAGES, LIMIT)?;
    let by_id: BTreeMap<_, _> = kcat.iter().filter_map(|record| Some((record.header("ce_id")?, record))).collect();
    assert_eq!(by_id.len(), MESSAGES);

    for line in consume::java_console(&bootstrap, &config.events(), MESSAGES)? {
        let record = by_id.get(line.headers["ce_id"].as_str()).context("an id that kcat saw")?;
        assert_eq!(record.key.as_deref(), Some(line.key.as_str()));
        assert_eq!(record.json()?, serde_json::from_str::<serde_json::Value>(&line.value)?);
        for name in ["ce_type", "ce_source", "ce_specversion", "content-type"] {
            assert_eq!(record.header(name), line.headers.get(name).map(String::as_str), "{name}");
        }
    }

    for event in consume::python_cloudevents(&bootstrap, &config.events(), MESSAGES)? {
        let attributes = &event["attributes"];
        let id = attributes["id"].as_str().context("an id")?;
        let record = by_id.get(id).context("an id that kcat saw")?;
        assert_eq!(attributes["specversion"], "1.0");
        assert_eq!(attributes["datacontenttype"], "application/json");
        assert_eq!(attributes["type"].as_str(), record.header("ce_type"));
        assert_eq!(attributes["source"].as_str(), record.header("ce_source"));
        assert_eq!(attributes["partitionkey"].as_str(), record.key.as_deref());
        // The SDK parses the time: what it could not parse would be an error.
        assert!(attributes["time"].is_string());
        assert_eq!(event["data"], record.json()?, "the SDK gives the event as JSON");
    }
    Ok(())
}
