//! The session against a scripted manager interface.

mod bench;

use std::sync::atomic::Ordering;
use std::time::Duration;

use connector_sdk::Parse;
use connector_sdk::schemas::{CallOutcome, Kind};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::Auth;
use crate::parse::Parser;
use bench::{Bench, Host, LIMIT, Nothing, Server};

const ANSWERED: &[u8] = include_bytes!("../../fixtures/summary_answered/input.frames");
const MERGED: &[u8] = include_bytes!("../../fixtures/summary_merged/input.frames");
const VOICEMAIL: &[u8] = include_bytes!("../../fixtures/summary_voicemail/input.frames");
const JOINED_LATE: &[u8] = include_bytes!("../../fixtures/summary_joined_late/input.frames");
const USER_EVENT: &[u8] = include_bytes!("../../fixtures/user_event/input.frames");

#[tokio::test]
async fn a_refused_login_is_about_the_credentials() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::accept(&bench.listener).await;
    let login = server.answer("Login", "Response: Error\r\nMessage: Authentication failed").await;
    assert_eq!((login.get("Username"), login.get("Secret")), (Some("inlet"), Some("amp111")));
    assert_eq!(login.get("Events"), Some("call,agent,cdr,dialplan"));
    let error = Bench::end(running).await.1.unwrap_err();
    assert!(matches!(&error, IntakeError::Unauthorised(text) if text.contains("manager.conf")), "{error}");
    assert!(!error.to_string().contains("amp111"));
    assert_eq!(bench.host.connected.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_full_pbx_is_tried_again() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::accept(&bench.listener).await;
    server.answer("Login", "Response: Error\r\nMessage: Session Limit reached").await;
    assert!(matches!(Bench::end(running).await.1, Err(IntakeError::Retry { .. })));
}

#[tokio::test]
async fn an_md5_login_sends_no_secret() {
    let mut bench = Bench::new().await;
    bench.options.auth = Auth::Md5;
    let running = bench.run(bench.session());
    let mut server = Server::accept(&bench.listener).await;
    server.answer("Challenge", "Response: Success\r\nChallenge: 123456").await;
    let login = server.answer("Login", "Response: Success").await;
    assert_eq!(login.get("Key"), Some("64aa902e677c8e6e5c27783f33a85972"));
    assert_eq!(login.get("Secret"), None);
    server.answer("CoreShowChannels", "Response: Success").await;
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
    assert_eq!(bench.host.connected.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn another_server_is_recognised() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let (mut stream, _) = bench.listener.accept().await.unwrap();
    stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    assert!(matches!(Bench::end(running).await.1, Err(IntakeError::Broken(_))));
}

#[tokio::test]
async fn facts_and_a_summary_however_the_bytes_arrive() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    for part in ANSWERED.chunks(7) {
        server.send(part).await;
    }
    let summary = bench.host.summary().await;
    let call = bench.call(&summary).call.unwrap();
    assert_eq!((call.outcome, call.answered_by.as_deref()), (Some(CallOutcome::Answered), Some("101")));
    assert_eq!((call.ended_by.as_deref(), call.talk_seconds), (Some("caller"), Some(3)));
    let expected = [
        "Newchannel",
        "Newchannel",
        "Newstate",
        "DialState",
        "Newstate",
        "DialEnd",
        "Newstate",
        "Hangup",
        "Hangup",
        "Cdr",
        "call",
    ];
    assert_eq!(bench.host.events(), expected);
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn the_same_frames_twice_are_the_same_events() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    server.send(USER_EVENT).await;
    server.send(USER_EVENT).await;
    let two = |taken: &[RawEvent]| (taken.len() == 2).then(|| taken.to_vec());
    let raws = bench.host.until("both events", two).await;
    let parser = Parser::new(Arc::new(bench.options.clone()));
    let keys: Vec<_> = raws.iter().map(|raw| parser.parse(raw).events.remove(0).key).collect();
    assert_eq!(keys[0], keys[1]);
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn a_call_goes_on_over_a_reconnect() {
    let bench = Bench::new().await;
    let hangup = find(JOINED_LATE, "Hangup");
    let listed = &JOINED_LATE[..find(JOINED_LATE, "HangupRequest")];
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, listed).await;
    // Something of this connection must have been taken before it breaks.
    server.send(USER_EVENT).await;
    bench.host.until("the first event", |taken| (!taken.is_empty()).then_some(())).await;
    drop(server);
    let (session, result) = Bench::end(running).await;
    assert!(matches!(result, Err(IntakeError::Retry { .. })), "{result:?}");
    let running = bench.run(session);
    let mut server = Server::logged_in(&bench.listener, listed).await;
    server.send(&JOINED_LATE[hangup..]).await;
    let event = bench.call(&bench.host.summary().await);
    let call = event.call.unwrap();
    assert_eq!((call.outcome, call.answered_by.as_deref()), (Some(CallOutcome::Answered), Some("101")));
    assert_eq!(bench.host.connected.load(Ordering::SeqCst), 2);
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn a_call_that_ended_while_the_connection_was_away_is_lost() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    server.send(&ANSWERED[..find(ANSWERED, "HangupRequest")]).await;
    bench.host.until("the answer", |taken| (taken.len() == 7).then_some(())).await;
    drop(server);
    let (session, _) = Bench::end(running).await;
    let running = bench.run(session);
    let _server = Server::logged_in(&bench.listener, b"").await;
    let event = bench.call(&bench.host.summary().await);
    assert_eq!(event.kind, Kind::CallEnded);
    let call = event.call.unwrap();
    assert_eq!((call.outcome, call.answered_by.as_deref()), (Some(CallOutcome::Lost), Some("101")));
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn a_call_that_ended_just_before_the_connection_did_is_told() {
    let mut bench = Bench::new().await;
    bench.options.timing.settle = Duration::from_millis(200);
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    server.send(VOICEMAIL).await;
    bench.host.until("the hang-up", |taken| taken.iter().any(is_last_hangup).then_some(())).await;
    drop(server);
    let (session, _) = Bench::end(running).await;
    let running = bench.run(session);
    let _server = Server::logged_in(&bench.listener, b"").await;
    let call = bench.call(&bench.host.summary().await).call.unwrap();
    assert_eq!((call.outcome, call.mailbox.as_deref()), (Some(CallOutcome::Voicemail), Some("101@default")));
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn merged_calls_have_one_summary() {
    let bench = Bench::new().await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    server.send(MERGED).await;
    // The next call's summary is behind every summary of this one.
    server.send(ANSWERED).await;
    let two = |taken: &[RawEvent]| {
        let summaries: Vec<_> = taken.iter().filter(|raw| raw.headers.get(wire::ITEM).is_some()).cloned().collect();
        summaries.iter().any(|raw| raw.headers.get(wire::CALL_ID) == Some("1795315315.0")).then_some(summaries)
    };
    let summaries = bench.host.until("both summaries", two).await;
    assert_eq!(summaries.len(), 2);
    let merged = summaries.iter().find(|raw| raw.headers.get(wire::CALL_ID) == Some("1795563181.21")).unwrap();
    let call = bench.call(merged).call.unwrap();
    assert_eq!((call.answered_by.as_deref(), call.transferred_to.as_deref()), (Some("102"), Some("102")));
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

/// More than the kernel's buffers hold, less than the session's.
const FLOOD_FRAMES: usize = 12_000;

fn flood(frames: usize) -> Vec<u8> {
    (0..frames)
        .flat_map(|n| format!("Event: UserEvent\r\nNumber: {n}\r\nPad: {:1200}\r\n\r\n", "").into_bytes())
        .collect()
}

#[tokio::test]
async fn a_slow_consumer_does_not_stop_the_reading() {
    let bench = Bench::with(Host::with_permits(0)).await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    // Nothing is taken, and yet all of it can be written.
    tokio::time::timeout(LIMIT, server.send(&flood(FLOOD_FRAMES))).await.expect("the session stopped reading");
    assert_eq!(bench.host.taken.lock().unwrap().len(), 0);
    bench.host.permits.add_permits(FLOOD_FRAMES);
    let numbers = |taken: &[RawEvent]| -> Option<Vec<u64>> {
        (taken.len() == FLOOD_FRAMES)
            .then(|| taken.iter().filter_map(|raw| Frame::read(&raw.body).number("Number")).collect())
    };
    let numbers = bench.host.until("all events", numbers).await;
    assert!(numbers.iter().copied().eq(0..FLOOD_FRAMES as u64), "every event once, in order");
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn a_full_buffer_gives_the_connection_up_and_loses_nothing_that_was_read() {
    let bench = Bench::with(Host::with_permits(0)).await;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    let frames = crate::login::BUFFER_FRAMES + FLOOD_FRAMES;
    // The session hangs up in the midst of it.
    let written = tokio::time::timeout(LIMIT, server.stream.write_all(&flood(frames))).await;
    assert!(written.expect("the connection stayed open").is_err());
    bench.host.permits.add_permits(frames);
    let error = Bench::end(running).await.1.unwrap_err();
    assert!(matches!(&error, IntakeError::Retry { source, .. } if source.to_string().contains("faster")), "{error}");
    let taken = bench.host.taken.lock().unwrap().len();
    assert!(taken > FLOOD_FRAMES && taken < frames, "{taken}");
}

#[tokio::test]
async fn a_silent_pbx_is_pinged_and_given_up() {
    let mut bench = Bench::new().await;
    bench.options.timing.ping = Duration::from_millis(30);
    bench.options.timing.pong = Duration::from_millis(200);
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    for _ in 0..3 {
        server.answer("Ping", "Response: Success\r\nPing: Pong").await;
    }
    // The fourth one is not answered.
    assert_eq!(server.action().await.unwrap().get("Action"), Some("Ping"));
    let error = Bench::end(running).await.1.unwrap_err();
    assert!(matches!(&error, IntakeError::Retry { source, .. } if source.to_string().contains("ping")), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_told_and_the_session_goes_on() {
    let mut bench = Bench::new().await;
    bench.options.filters = vec!["!Event: RTCP.*".into()];
    let running = bench.run(bench.session());
    let mut server = Server::accept(&bench.listener).await;
    server.answer("Login", "Response: Success").await;
    let filter = server.answer("Filter", "Response: Error\r\nMessage: Permission denied").await;
    assert_eq!((filter.get("Operation"), filter.get("Filter")), (Some("Add"), Some("!Event: RTCP.*")));
    server.answer("CoreShowChannels", "Response: Error\r\nMessage: Permission denied").await;
    server.send(ANSWERED).await;
    bench.host.summary().await;
    let health = bench.host.health.lock().unwrap().clone();
    assert_eq!(health.len(), 2, "{health:?}");
    assert!(health[0].contains("eventfilter") && health[1].contains("write = reporting"), "{health:?}");
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
}

#[tokio::test]
async fn stopping_tells_calls_that_have_ended_at_once() {
    let mut bench = Bench::new().await;
    bench.options.timing.settle = LIMIT;
    let running = bench.run(bench.session());
    let mut server = Server::logged_in(&bench.listener, b"").await;
    server.send(ANSWERED).await;
    bench.host.until("the call's record", |taken| (taken.len() == 10).then_some(())).await;
    bench.stopping.cancel();
    assert!(Bench::end(running).await.1.is_ok());
    assert_eq!(bench.host.events().last().map(String::as_str), Some("call"));
    assert_eq!(
        server.action().await.and_then(|action| action.get("Action").map(str::to_owned)).as_deref(),
        Some("Logoff")
    );
}

#[tokio::test]
async fn the_probe_counts_and_leaves() {
    let bench = Bench::new().await;
    let probe = LoginProbe::new(Arc::new(bench.options.clone()));
    let probing = tokio::spawn(async move {
        let io = Io { http: Arc::new(Nothing), state: Arc::new(Nothing) };
        probe.probe(&io).await
    });
    let listed = &JOINED_LATE[..find(JOINED_LATE, "HangupRequest")];
    let mut server = Server::logged_in(&bench.listener, listed).await;
    let report = tokio::time::timeout(LIMIT, probing).await.unwrap().unwrap().unwrap();
    assert_eq!(report.lines, ["Asterisk Call Manager/11.0.0: logged in as inlet", "2 channels are running"]);
    assert_eq!(server.action().await.unwrap().get("Action"), Some("Logoff"));
}

/// Where the first frame of an event begins in a transcript.
fn find(transcript: &[u8], event: &str) -> usize {
    let line = format!("Event: {event}\r\n");
    transcript.windows(line.len()).position(|window| window == line.as_bytes()).unwrap()
}

fn is_last_hangup(raw: &RawEvent) -> bool {
    let frame = Frame::read(&raw.body);
    frame.event() == Some("Hangup") && frame.get("Uniqueid") == frame.get("Linkedid")
}
