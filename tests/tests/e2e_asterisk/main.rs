//! Calls placed over SIP at a real Asterisk → Kafka, and what a real one can't be made to do by a scripted AMI server.

mod real;
mod scripted;

use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn config(prefix: &str, port: u16, secret: &str) -> Config {
    let instances = include_str!("instances.yaml").replace("@PORT@", &port.to_string()).replace("@SECRET@", secret);
    Config::new(Kafka::shared(), prefix, &instances)
}

fn await_state(gateway: &Gateway, state: &str) -> Result<()> {
    wait::until(LIMIT, &format!("the instance to be {state}"), || {
        Ok((gateway.status()?["instances"]["pbx"]["state"] == state).then_some(()))
    })
}

fn open(config: &Config) -> Result<Committed> {
    Committed::open(&Kafka::shared().bootstrap(), &config.events(), LIMIT)
}

/// Summaries of whole calls: they carry the outcome.
fn summaries(records: &[Record]) -> Vec<Value> {
    let events = records.iter().filter_map(|record| record.json().ok());
    events.filter(|event| event.pointer("/call/outcome").is_some()).collect()
}

/// The summary of the call from this number, once it is there.
fn summary(committed: &mut Committed, from: &str) -> Result<Value> {
    let of_caller = |records: &[Record]| {
        summaries(records).into_iter().find(|event| event["call"]["from"].to_string().contains(from))
    };
    committed.read_until(LIMIT, &format!("the summary of the call from {from}"), |r| of_caller(r).is_some())?;
    Ok(of_caller(&committed.records).expect("just found"))
}
