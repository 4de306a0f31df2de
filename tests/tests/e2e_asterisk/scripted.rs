//! A PBX that misbehaves on cue.

use crate::{LIMIT, await_state, config, open, summary};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::scripted_ami::ScriptedAmi;
use inlet_tests::wait;

/// One whole call of a real Asterisk, as AMI told it.
const ANSWERED: &[u8] = include_bytes!("answered.ami");

/// What the transcript's caller was.
const CALLER: &str = "4915110000100";

/// The line is cut in the middle of a call: it is opened again by itself, the gap is told, nothing is invented.
#[test]
fn d10_a_cut_line_is_a_gap() -> Result<()> {
    let pbx = ScriptedAmi::start("good-secret")?;
    let config = config("cut", pbx.port(), "good-secret");
    let gateway = Gateway::run(&config.text())?;
    pbx.wait_logins(1, LIMIT)?;
    await_state(&gateway, "running")?;
    pbx.cut();
    pbx.wait_logins(2, LIMIT)?;
    await_state(&gateway, "running")?;
    let mut committed = open(&config)?;
    committed.read_until(LIMIT, "the gap", |records| {
        records.iter().any(|record| record.text("/kind").as_deref() == Some("connector.gap"))
    })?;
    pbx.say(ANSWERED);
    let event = summary(&mut committed, CALLER)?;
    assert_eq!(event["call"]["outcome"], "answered");
    assert_eq!(event["call"]["answered_by"], "101");
    Ok(())
}

/// Frames with rubbish between them do not stop the line.
#[test]
fn rubbish_between_frames_is_survived() -> Result<()> {
    let pbx = ScriptedAmi::start("good-secret")?;
    let config = config("rubbish", pbx.port(), "good-secret");
    let gateway = Gateway::run(&config.text())?;
    pbx.wait_logins(1, LIMIT)?;
    await_state(&gateway, "running")?;
    pbx.say(b"\r\n\r\nEvent\r\n\r\n: \r\n\r\nEvent: NeverHeardOf\r\nA: \xff\xfe\r\nB\r\n\r\n");
    pbx.say(&[&b"Event: UserEvent\r\nText: "[..], &[b'x'; 100_000], b"\r\n\r\n"].concat());
    pbx.say(ANSWERED);
    let mut committed = open(&config)?;
    assert_eq!(summary(&mut committed, CALLER)?["call"]["outcome"], "answered");
    Ok(())
}

/// A refused login stops the instance with what to do; a good secret is not shown.
#[test]
fn a_refused_login_is_told() -> Result<()> {
    let pbx = ScriptedAmi::start("other-secret")?;
    let config = config("refused", pbx.port(), "good-secret");
    let gateway = Gateway::run(&config.text())?;
    await_state(&gateway, "stopped")?;
    let status = gateway.status()?;
    assert!(status["instances"]["pbx"]["action"].as_str().is_some_and(|action| !action.is_empty()), "{status:#}");
    wait::until(LIMIT, "a login that was tried", || Ok((!pbx.actions().is_empty()).then_some(())))?;
    assert!(!format!("{status}{}{}", gateway.stdout(), gateway.stderr()).contains("good-secret"));
    Ok(())
}
