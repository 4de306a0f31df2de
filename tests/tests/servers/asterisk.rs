use anyhow::Result;
use inlet_tests::servers::ami::AmiMessage;
use inlet_tests::servers::asterisk::{Asterisk, Options};
use inlet_tests::servers::sip::Behaviour;
use inlet_tests::wait;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const RING: Duration = Duration::from_millis(500);

fn hang_up_of(number: &str) -> impl Fn(&AmiMessage) -> bool {
    move |m| {
        m.name() == "Hangup"
            && m.get("Channel").is_some_and(|c| c.starts_with("PJSIP/trunk"))
            && m.get("CallerIDNum") == Some(number)
    }
}

/// The five calls that the suites place, as AMI tells them: answered, missed, busy, queued and voicemail.
#[test]
fn calls_are_seen_on_ami() -> Result<()> {
    let asterisk = Asterisk::start(&Options::default())?;
    let first = asterisk.phone("101")?;
    let second = asterisk.phone("102")?;
    let mut ami = asterisk.ami()?;

    first.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110000100", "Ann Smith", "4930900101")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the agent talks", || first.is_talking())?;
    call.hang_up()?;
    let bridge = ami.wait_for(LIMIT, "BridgeEnter", |m| m.name() == "BridgeEnter")?;
    assert_eq!(bridge.get("CallerIDNum").map(str::is_empty), Some(false));
    assert_eq!(ami.wait_for(LIMIT, "the caller's Hangup", hang_up_of("4915110000100"))?.get("Cause"), Some("16"));
    let cdr = ami.wait_for(LIMIT, "a CDR", |m| m.name() == "Cdr" && m.get("Source") == Some("4915110000100"))?;
    assert_eq!(cdr.get("Disposition"), Some("ANSWERED"));

    first.behave(Behaviour::Ring);
    let call = asterisk.call_in("4915110000300", "Bob", "4930900101")?;
    assert!(call.wait_ended()? >= 400);
    let end =
        ami.wait_for(LIMIT, "DialEnd", |m| m.name() == "DialEnd" && m.get("CallerIDNum") == Some("4915110000300"))?;
    assert_eq!(end.get("DialStatus"), Some("NOANSWER"));

    first.behave(Behaviour::Busy);
    let call = asterisk.call_in("4915110000500", "Eve", "4930900101")?;
    assert_eq!(call.wait_ended()?, 486);

    first.behave(Behaviour::Ring);
    second.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110001300", "Ann Smith", "4930900200")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the second agent talks", || second.is_talking())?;
    second.hang_up()?;
    assert_eq!(call.wait_ended()?, 200);
    let connected = ami.wait_for(LIMIT, "AgentConnect", |m| m.name() == "AgentConnect")?;
    assert_eq!(connected.get("MemberName"), Some("Agent 102"));

    let call = asterisk.call_in("4915110001200", "Zoë", "4930900130")?;
    call.wait_answered()?;
    ami.wait_for(LIMIT, "VoiceMail to record", |m| {
        m.name() == "Newexten" && m.get("Application") == Some("VoiceMail")
    })?;
    wait::until_true(LIMIT, "a recording of two seconds", || asterisk.recording_bytes("101") > 2 * 16_000)?;
    call.hang_up()?;
    ami.wait_for(LIMIT, "MessageWaiting", |m| m.name() == "MessageWaiting" && m.get("Mailbox") == Some("101@default"))?;
    wait::until_true(LIMIT, "one voicemail", || asterisk.voicemails("101") == 1)?;
    Ok(())
}

/// A blind transfer and a caller who gives up; then a restart, after which phones register again.
#[test]
fn transfers_cancels_and_restarts_work() -> Result<()> {
    let mut asterisk = Asterisk::start(&Options { cdr_events: false, ring_limit_s: 20, ..Options::default() })?;
    let first = asterisk.phone("101")?;
    let third = asterisk.phone("103")?;
    let mut ami = asterisk.ami()?;
    first.behave(Behaviour::Answer { after: Duration::ZERO });
    third.behave(Behaviour::Answer { after: RING });
    let call = asterisk.call_in("4915110000700", "Ann", "4930900101")?;
    call.wait_answered()?;
    wait::until_true(LIMIT, "the agent talks", || first.is_talking())?;
    first.transfer("103")?;
    let transfer = ami.wait_for(LIMIT, "BlindTransfer", |m| m.name() == "BlindTransfer")?;
    assert_eq!(transfer.get("Extension"), Some("103"));
    wait::until_true(LIMIT, "the third agent talks", || third.is_talking())?;
    call.hang_up()?;

    first.behave(Behaviour::Ring);
    let call = asterisk.call_in("4915110000800", "Ann", "4930900101")?;
    ami.wait_for(LIMIT, "DialBegin", |m| m.name() == "DialBegin" && m.get("CallerIDNum") == Some("4915110000800"))?;
    call.hang_up()?;
    assert_eq!(call.wait_ended()?, 487);

    asterisk.restart()?;
    asterisk.phone("101")?;
    Ok(())
}
