//! Signed webhooks → a real Kafka: what arrives, what is refused, what becomes a dead letter, and what an outage does.

mod bad_input;
mod crash;
mod events;
mod outage;
mod overload;

use anyhow::Result;
use inlet_tests::http_client::Request;
use inlet_tests::{config::Config, gateway::Gateway, webhooks};
use std::time::Duration;

/// For anything that is not expected to take long.
const LIMIT: Duration = Duration::from_secs(60);
const SLACK_SECRET: &str = "slack-s3cret-1";
const SECRETS: [&str; 4] = [SLACK_SECRET, "telegram-s3cret-1", "twilio-s3cret-1", "shop-s3cret-1"];
const INSTANCES: &str = include_str!("instances.yaml");

/// One message of a Slack thread, as its body.
fn slack_body(channel: &str, number: usize, text: &str) -> String {
    include_str!("slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{channel}{number:06}"))
        .replace("@CHANNEL@", channel)
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", text)
}

/// The same, signed for the instance `slack-a`.
fn slack(gateway: &Gateway, channel: &str, number: usize, text: &str) -> Request {
    webhooks::slack(&gateway.intake("slack-a"), SLACK_SECRET, slack_body(channel, number, text))
}

/// No secret of the instances in anything that the gateway printed or shows.
fn assert_no_secret_leaks(gateway: &Gateway) -> Result<()> {
    let shown = [
        gateway.stdout(),
        gateway.stderr(),
        gateway.get_admin("/metrics")?.text(),
        gateway.get_admin("/api/status")?.text(),
    ];
    for secret in SECRETS {
        for text in &shown {
            assert!(!text.contains(secret), "the secret {secret} is in:\n{text}");
        }
    }
    Ok(())
}

fn config(kafka: &inlet_tests::servers::kafka::Kafka, prefix: &str) -> Config {
    Config::new(kafka, prefix, INSTANCES).with_ingress("limits: { body: 64KiB, body_decompressed: 256KiB }")
}
