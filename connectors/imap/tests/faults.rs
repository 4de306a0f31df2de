//! What servers do wrong, and that no mail is lost or doubled by it.

mod common;

use std::sync::Arc;

use common::server::{Faults, Server};
use common::{Host, drive, no_io, start, until};
use connector_sdk::{IntakeError, Start};
use serde_json::{Value, json};

fn options(server: &Server) -> Value {
    json!({
        "host": "127.0.0.1", "port": server.port, "security": "plain", "user": "ann",
        "account": "ann@x.example", "auth": { "password": "password-1" }, "poll_seconds": 1,
    })
}

fn mail(uid: u32) -> Vec<u8> {
    format!("Message-ID: <{uid}@x.example>\r\nFrom: bo@y.example\r\nSubject: {uid}\r\n\r\nhello {uid}\r\n").into_bytes()
}

fn mails(uids: impl IntoIterator<Item = u32>) -> Vec<(u32, Vec<u8>)> {
    uids.into_iter().map(|uid| (uid, mail(uid))).collect()
}

/// UIDs of the mails that came whole, and of those that came as unreadable.
fn outcome(host: &Host) -> (Vec<u32>, Vec<u32>) {
    let uids = host.uids("INBOX");
    let unreadable: Vec<bool> = host.taken().iter().map(|raw| raw.headers.get("inlet-unreadable").is_some()).collect();
    let of =
        |wanted: bool| uids.iter().zip(&unreadable).filter(|(_, is)| **is == wanted).map(|(uid, _)| *uid).collect();
    (of(false), of(true))
}

#[tokio::test]
async fn answers_in_any_order_with_foreign_lines_between() {
    let faults = Faults { disordered: true, no_uidnext: true, ..Faults::default() };
    let server = Server::start(faults, mails([3, 5, 9, 4_000_000_000])).await;
    let host = Arc::new(Host::default());
    let session = start(&options(&server), &host, Start::Beginning, no_io());
    until("the mails", || host.count() == 4).await;
    server.add(4_000_000_001, mail(1));
    until("the new mail", || host.count() == 5).await;
    session.stop().await;
    assert_eq!(outcome(&host), (vec![3, 5, 9, 4_000_000_000, 4_000_000_001], vec![]));
    assert_eq!(host.taken()[0].headers.get("inlet-internal-date"), Some("2023-11-14T22:13:20Z"));
}

#[tokio::test]
async fn a_server_without_idle_is_asked_now_and_then() {
    let server = Server::start(Faults { no_idle: true, ..Faults::default() }, mails(1..=2)).await;
    let host = Arc::new(Host::default());
    let session = start(&options(&server), &host, Start::Beginning, no_io());
    until("the mails", || host.count() == 2).await;
    server.add(3, mail(3));
    until("the new mail", || host.count() == 3).await;
    session.stop().await;
    assert_eq!((server.count("IDLE"), server.count("NOOP") > 0), (0, true));
}

#[tokio::test]
async fn idle_is_renewed_and_finds_what_was_not_announced() {
    let server = Server::start(Faults::default(), mails(1..=1)).await;
    let mut options = options(&server);
    options["idle_renew_seconds"] = json!(1);
    let host = Arc::new(Host::default());
    let session = start(&options, &host, Start::Beginning, no_io());
    until("an IDLE", || server.count("IDLE") > 0).await;
    // Nobody says a word about it.
    server.mailbox.lock().unwrap().mails.insert(2, mail(2));
    until("the new mail", || host.count() == 2).await;
    session.stop().await;
    assert!(server.count("IDLE") >= 2);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn removed_mails_cost_only_themselves() {
    let faults = Faults { vanished: vec![2, 3, 121, 122], ..Faults::default() };
    let server = Server::start(faults, mails(1..=122)).await;
    let host = Arc::new(Host::default());
    let session = start(&options(&server), &host, Start::Beginning, no_io());
    until("the mails and an IDLE", || host.count() == 118 && server.count("IDLE") > 0).await;
    session.stop().await;
    assert_eq!(outcome(&host), ((1..=120).filter(|uid| ![2, 3].contains(uid)).collect(), vec![]));
    assert_eq!(server.connections(), 1);
}

/// Nothing that a server lists may be passed by because an answer lacked it: it is asked for again, and is a dead letter at
/// last.
#[tokio::test]
async fn d1_mails_that_are_listed_and_not_given_are_asked_for_again() {
    for withheld_with in [None, Some("NO [SERVERBUG] Internal error occurred".to_owned()), Some("NO sorry".to_owned())]
    {
        let withheld = [(2, 3), (3, 2), (60, usize::MAX)].into();
        let faults = Faults { nil: vec![5], withheld, withheld_with, ..Faults::default() };
        let server = Server::start(faults, mails(1..=70)).await;
        let host = Arc::new(Host::default());
        drive(&options(&server), &host, "the last mail", || host.uids("INBOX").last() == Some(&70)).await;
        let (whole, unreadable) = outcome(&host);
        assert_eq!(unreadable, [5, 60]);
        assert_eq!(whole, (1..=70).filter(|uid| ![5, 60].contains(uid)).collect::<Vec<_>>());
        assert!(host.uids("INBOX").is_sorted(), "in order");
        let rejected = common::parser(&options(&server)).parse(&host.taken()[4]).rejected;
        assert_eq!(rejected[0].code, "unreadable_mail");
    }
}

/// A server that fails at every mail is at fault, not the mails: none is given up, however long it takes.
#[tokio::test]
async fn d1_a_store_that_is_away_costs_no_mail() {
    const MORE_THAN_A_MAILS_ATTEMPTS: usize = 12;
    let server = Server::start(Faults { store_away: true, ..Faults::default() }, mails(1..=3)).await;
    let host = Arc::new(Host::default());
    let options = options(&server);
    let runs = drive(&options, &host, "the mails", || {
        let connections = server.connections();
        server.faults(|faults| faults.store_away = connections < MORE_THAN_A_MAILS_ATTEMPTS);
        host.count() == 3
    });
    assert!(runs.await >= MORE_THAN_A_MAILS_ATTEMPTS);
    assert_eq!(outcome(&host), (vec![1, 2, 3], vec![]));
}

#[tokio::test]
async fn mails_that_break_the_connection_are_found_and_passed() {
    let faults = Faults { garbled: vec![7], fatal: vec![60], ..Faults::default() };
    let server = Server::start(faults, mails(1..=100)).await;
    let host = Arc::new(Host::default());
    let runs = drive(&options(&server), &host, "the last mail", || host.uids("INBOX").last() == Some(&100)).await;
    let (whole, unreadable) = outcome(&host);
    assert_eq!(unreadable, [7, 60]);
    assert_eq!(whole, (1..=100).filter(|uid| ![7, 60].contains(uid)).collect::<Vec<_>>());
    assert!(runs < 20, "{runs} runs");
}

#[tokio::test]
async fn wrong_sizes_are_read_and_endless_answers_are_not() {
    let server = Server::start(Faults { announced_size: Some(1), ..Faults::default() }, mails(1..=3)).await;
    let host = Arc::new(Host::default());
    let session = start(&options(&server), &host, Start::Beginning, no_io());
    until("the mails", || host.count() == 3).await;
    session.stop().await;

    // 200 MiB where one byte was announced.
    let endless =
        Server::start(Faults { announced_size: Some(1), ..Faults::default() }, [(1, vec![b'x'; 200 << 20])]).await;
    let mut options = options(&endless);
    options["max_mail_bytes"] = json!(1 << 20);
    let host = Arc::new(Host::default());
    let error = start(&options, &host, Start::Beginning, no_io()).ended().await.expect_err("too much");
    assert!(error.to_string().contains("more than was asked for"), "{error}");
    assert_eq!(host.count(), 0);
}

#[tokio::test]
async fn a_change_of_uidvalidity_during_idle_is_noticed() {
    let server = Server::start(Faults::default(), mails(1..=3)).await;
    let host = Arc::new(Host::default());
    let options = options(&server);
    let session = start(&options, &host, Start::Beginning, no_io());
    until("an IDLE", || host.count() == 3 && server.count("IDLE") > 0).await;
    server.faults(|faults| faults.uidvalidity = 8);
    server.say("* OK [UIDVALIDITY 8] new ids");
    session.ended().await.expect_err("the folder was renumbered");
    let session = start(&options, &host, Start::Beginning, no_io());
    until("the mails again", || host.count() == 6).await;
    session.stop().await;
    let marked: Vec<bool> = host.taken().iter().map(|raw| raw.headers.get("inlet-resync").is_some()).collect();
    assert_eq!(marked, [false, false, false, true, true, true]);
}

#[tokio::test]
async fn a_restored_backup_is_read_again() {
    let server = Server::start(Faults::default(), mails(1..=5)).await;
    let host = Arc::new(Host::default());
    let options = options(&server);
    let session = start(&options, &host, Start::Beginning, no_io());
    until("the mails", || host.count() == 5).await;
    session.stop().await;
    server.mailbox.lock().unwrap().mails.retain(|uid, _| *uid <= 3);
    let session = start(&options, &host, Start::Beginning, no_io());
    until("the mails again", || host.count() == 8).await;
    // The next mail gets a UID that was used before.
    server.add(4, mail(44));
    until("the new mail", || host.count() == 9).await;
    session.stop().await;
    assert_eq!(host.uids("INBOX"), [1, 2, 3, 4, 5, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_folder_without_uidvalidity_is_not_read() {
    let server = Server::start(Faults::default(), mails(1..=1)).await;
    server.faults(|faults| faults.uidvalidity = 0);
    let error = start(&options(&server), &Arc::new(Host::default()), Start::Beginning, no_io()).ended().await;
    assert!(matches!(error, Err(IntakeError::Broken(text)) if text.contains("UIDVALIDITY")));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = Server::start(Faults::default(), mails(1..=1)).await;
    let options = options(&server);
    let host = Arc::new(Host::default());
    for (refusal, passing) in [
        ("NO [AUTHENTICATIONFAILED] wrong", false),
        ("NO [UNAVAILABLE] database away", true),
        ("NO Too many connections", true),
    ] {
        server.faults(|faults| faults.refuse_login = Some(refusal.to_owned()));
        let error = start(&options, &host, Start::Beginning, no_io()).ended().await.expect_err("refused");
        assert_eq!(matches!(error, IntakeError::Retry { .. }), passing, "{refusal}: {error}");
        assert!(!error.to_string().contains("password-1"), "{error}");
    }
    server.faults(|faults| {
        faults.refuse_login = None;
        faults.throttle = Some("Request is throttled. Suggested Backoff Time: 4000 milliseconds".to_owned());
    });
    let error = start(&options, &host, Start::Beginning, no_io()).ended().await.expect_err("throttled");
    assert!(matches!(error, IntakeError::Retry { after: Some(after), .. } if after.as_millis() == 4000), "{error}");
    assert_eq!(host.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let server = Server::start(Faults { silent: true, ..Faults::default() }, mails(1..=1)).await;
    let session = start(&options(&server), &Arc::new(Host::default()), Start::Beginning, no_io());
    let error = session.ended_whenever().await.expect_err("silence");
    assert!(error.to_string().contains("silent for 60 s"), "{error}");
}
