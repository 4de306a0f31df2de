//! Five real calls: what the phones saw is what the events must tell.

use crate::{LIMIT, await_state, config, open, summary};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::asterisk::{AMI_SECRET, Asterisk, Options};
use inlet_tests::servers::sip::Behaviour;
use inlet_tests::wait;
use serde_json::Value;
use std::time::Duration;

const RING: Duration = Duration::from_millis(1200);

fn assert_call(event: &Value, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(event["call"][field], **value, "{field} in {event:#}");
    }
}

/// Answered, missed, busy, queued and voicemail; with CDR events and without.
fn five_calls(prefix: &str, cdr_events: bool) -> Result<()> {
    let asterisk = Asterisk::start(&Options { cdr_events, ..Options::default() })?;
    let config = config(prefix, asterisk.ami_port, AMI_SECRET);
    let gateway = Gateway::run(&config.text())?;
    await_state(&gateway, "running")?;
    let first = asterisk.phone("101")?;
    let second = asterisk.phone("102")?;
    let mut committed = open(&config)?;

    first.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110000100", "Ann Smith", "4930900101")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the agent talks", || first.is_talking())?;
    call.hang_up()?;
    let event = summary(&mut committed, "4915110000100")?;
    assert_call(
        &event,
        &[("direction", "inbound"), ("outcome", "answered"), ("answered_by", "101"), ("ended_by", "caller")],
    );
    assert_eq!(event["kind"], "call.ended");
    assert!(event["call"]["to"].to_string().contains("4930900101"), "{event:#}");
    assert!(event["call"]["ring_seconds"].as_u64().is_some_and(|seconds| seconds <= 3), "{event:#}");
    assert!(event["call"]["talk_seconds"].is_u64(), "{event:#}");

    first.behave(Behaviour::Ring);
    let call = asterisk.call_in("4915110000300", "Bob", "4930900101")?;
    assert!(call.wait_ended()? >= 400);
    let event = summary(&mut committed, "4915110000300")?;
    assert_call(&event, &[("direction", "inbound"), ("outcome", "missed"), ("reason", "no_answer")]);
    assert_eq!(event["kind"], "call.missed");

    first.behave(Behaviour::Busy);
    assert_eq!(asterisk.call_in("4915110000500", "Eve", "4930900101")?.wait_ended()?, 486);
    let event = summary(&mut committed, "4915110000500")?;
    assert_call(&event, &[("outcome", "missed"), ("reason", "busy")]);

    first.behave(Behaviour::Ring);
    second.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110001300", "Ann Smith", "4930900200")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the second agent talks", || second.is_talking())?;
    second.hang_up()?;
    call.wait_ended()?;
    let event = summary(&mut committed, "4915110001300")?;
    assert_call(
        &event,
        &[("queue", "support"), ("outcome", "answered"), ("answered_by", "102"), ("ended_by", "agent")],
    );

    let call = asterisk.call_in("4915110001200", "Zoë", "4930900130")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "a recording of two seconds", || asterisk.recording_bytes("101") > 2 * 16_000)?;
    call.hang_up()?;
    let event = summary(&mut committed, "4915110001200")?;
    assert_call(&event, &[("outcome", "voicemail"), ("mailbox", "101@default"), ("ended_by", "caller")]);
    assert_eq!(event["kind"], "call.voicemail");

    // Every fact has an id of its own, and the facts of a call share its key.
    judge::distinct_ids(&committed.records)?;
    let call_id = event["call"]["call_id"].as_str().unwrap_or_default();
    let keys: std::collections::BTreeSet<_> = committed
        .records
        .iter()
        .filter(|record| record.text("/call/call_id").as_deref() == Some(call_id))
        .filter_map(|record| record.key.clone())
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let kinds: Vec<_> = committed.records.iter().filter_map(|record| record.text("/kind")).collect();
    for kind in ["call.ringing", "call.answered"] {
        assert!(kinds.iter().any(|have| have == kind), "no {kind} in {kinds:?}");
    }
    assert!(!format!("{}{}", gateway.stdout(), gateway.stderr()).contains(AMI_SECRET));
    Ok(())
}

#[test]
fn five_calls_with_cdr_events() -> Result<()> {
    five_calls("cdr", true)
}

#[test]
fn five_calls_without_cdr_events() -> Result<()> {
    five_calls("nocdr", false)
}

/// A blind transfer is one call with the one who took it; a caller who gives up is missed for that reason.
#[test]
fn transfers_and_impatient_callers() -> Result<()> {
    let asterisk = Asterisk::start(&Options { ring_limit_s: 20, ..Options::default() })?;
    let config = config("transfer", asterisk.ami_port, AMI_SECRET);
    let gateway = Gateway::run(&config.text())?;
    await_state(&gateway, "running")?;
    let first = asterisk.phone("101")?;
    let third = asterisk.phone("103")?;
    let mut committed = open(&config)?;
    first.behave(Behaviour::Answer { after: RING });
    third.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110000700", "Ann", "4930900101")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the agent talks", || first.is_talking())?;
    first.transfer("103")?;
    wait::until_true(LIMIT, "the third agent talks", || third.is_talking())?;
    call.hang_up()?;
    let event = summary(&mut committed, "4915110000700")?;
    assert_call(&event, &[("outcome", "answered"), ("answered_by", "103"), ("transferred_to", "103")]);

    first.behave(Behaviour::Ring);
    let mut ami = asterisk.ami()?;
    let call = asterisk.call_in("4915110000800", "Ann", "4930900101")?;
    ami.wait_for(LIMIT, "DialBegin", |m| m.name() == "DialBegin" && m.get("CallerIDNum") == Some("4915110000800"))?;
    call.hang_up()?;
    let event = summary(&mut committed, "4915110000800")?;
    assert_call(&event, &[("outcome", "missed"), ("reason", "cancelled_by_caller")]);
    Ok(())
}

/// TLS to the manager interface, verified against the test's authority; a restart of Asterisk makes a gap that is told.
#[test]
fn tls_and_a_restart() -> Result<()> {
    let mut asterisk = Asterisk::start(&Options::default())?;
    let mut config = config("tls", asterisk.ami_tls_port, AMI_SECRET);
    let ca = format!("security: tls\n      ca_file: '{}'", asterisk.certificates.authority.display());
    config =
        config.map_instances(|text| text.replace("security: plain", &ca).replace("host: 127.0.0.1", "host: localhost"));
    let gateway = Gateway::run(&config.text())?;
    await_state(&gateway, "running")?;
    asterisk.restart()?;
    await_state(&gateway, "running")?;
    let mut committed = open(&config)?;
    committed.read_until(LIMIT, "a gap", |records| {
        records.iter().any(|record| record.text("/kind").as_deref() == Some("connector.gap"))
    })?;
    let phone = asterisk.phone("101")?;
    phone.behave(Behaviour::Busy);
    asterisk.call_in("4915110000900", "After", "4930900101")?.wait_ended()?;
    summary(&mut committed, "4915110000900").map(drop)
}
