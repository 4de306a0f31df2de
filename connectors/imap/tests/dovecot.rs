//! Against a real Dovecot: what is read, in which order, and what the mailbox looks like afterwards.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Instant;

use common::{Host, LIMIT, drive, no_io, start, until};
use connector_sdk::{IntakeError, Start, Timestamp};
use inlet_tests::servers::dovecot::{Dovecot, PASSWORD};
use serde_json::{Value, json};

const USER: &str = "ann";

fn dovecot() -> Dovecot {
    Dovecot::start().expect("Dovecot (see tests/setup)")
}

fn options(dovecot: &Dovecot) -> Value {
    json!({
        "host": "127.0.0.1", "port": dovecot.imap_port, "security": "plain", "user": USER,
        "account": "ann@x.example", "auth": { "password": PASSWORD }, "poll_seconds": 1,
    })
}

fn mail(number: usize) -> Vec<u8> {
    let (subject, body): (String, Vec<u8>) = match number % 4 {
        0 => ("=?utf-8?B?0J/RgNC40LLQtdGC?=".into(), "Привет".into()),
        1 => ("=?koi8-r?B?8NLJ18XU?=".into(), b"\xf0\xd2\xc9\xd7\xc5\xd4".to_vec()),
        2 => ("=?windows-1251?B?z/Do4uXy?=".into(), b"\xcf\xf0\xe8\xe2\xe5\xf2".to_vec()),
        _ => ("=?ISO-2022-JP?B?GyRCRnwbKEI=?=".into(), b"\x1b$BF|\x1b(B".to_vec()),
    };
    let charset = ["utf-8", "koi8-r", "windows-1251", "iso-2022-jp"][number % 4];
    let mut mail = format!(
        "Message-ID: <{number}@x.example>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: bo@y.example\r\n\
         To: ann@x.example\r\nSubject: {subject}\r\nX-Number: {number}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    .into_bytes();
    mail.extend(body);
    mail.extend(b"\r\n");
    mail
}

fn fill(dovecot: &Dovecot, folder: &str, numbers: std::ops::Range<usize>) {
    let mails: Vec<Vec<u8>> = numbers.map(mail).collect();
    dovecot.fill(USER, folder, mails.iter().map(Vec::as_slice)).expect("fill");
}

/// Numbers of the mails in the order in which they were handed on.
fn numbers(host: &Host) -> Vec<usize> {
    let number = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().find_map(|line| line.strip_prefix("X-Number: ")).expect("a number").to_owned();
        line.parse::<usize>().expect("a number")
    };
    host.taken().iter().map(|raw| number(&raw.body)).collect()
}

/// Files that the server cannot read for a while (a disk fault, a restore under way): it breaks the connection at each. No mail
/// is passed by or given up, however long it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn d1_mails_that_the_server_cannot_read_for_a_while_come_later() {
    const MORE_THAN_A_MAILS_ATTEMPTS: usize = 12;
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..5);
    let readable = |is: bool| {
        for file in dovecot.files(USER, "INBOX").expect("files") {
            let mode = if is { 0o600 } else { 0 };
            std::fs::set_permissions(file, Permissions::from_mode(mode)).expect("its owner is asked");
        }
    };
    readable(false);
    let host = Arc::new(Host::default());
    let options = options(&dovecot);
    let failed = || dovecot.log().matches("FETCH failed").count();
    drive(&options, &host, "the mails", || {
        if failed() > MORE_THAN_A_MAILS_ATTEMPTS {
            readable(true);
        }
        host.count() == 5
    })
    .await;
    assert_eq!(numbers(&host), (0..5).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_read_in_order_then_followed_and_left_as_it_was() {
    const COUNT: usize = 3_000;
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..COUNT);
    let host = Arc::new(Host::default());
    let began = Instant::now();
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    until("all mails", || host.count() >= COUNT).await;
    eprintln!("{COUNT} mails in {:?}", began.elapsed());
    assert_eq!(numbers(&host), (0..COUNT).collect::<Vec<_>>());
    assert!(host.taken().iter().all(|raw| raw.headers.get("inlet-backfill") == Some("true")));

    dovecot.deliver(USER, &mail(COUNT)).expect("delivery");
    until("the new mail", || host.count() > COUNT).await;
    let newest = host.taken().pop().expect("a mail");
    assert_eq!(newest.headers.get("inlet-backfill"), None);
    session.stop().await;

    let cursor = host.cursor_of("INBOX").expect("a cursor");
    assert_eq!((cursor["v"].as_u64(), cursor["uid"].as_u64()), (Some(1), Some(COUNT as u64 + 1)));
    assert!(cursor.get("history").is_none(), "{cursor}");
    let mut imap = dovecot.connect(USER).expect("login");
    imap.command("SELECT INBOX").expect("select");
    assert!(imap.search("SEEN").expect("search").is_empty());
    assert_eq!(imap.search("ALL").expect("search").len(), COUNT + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_from_the_cursor() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..20);
    let host = Arc::new(Host::default());
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    until("all mails", || host.count() == 20).await;
    session.stop().await;
    fill(&dovecot, "INBOX", 20..25);
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    until("the rest", || host.count() == 25).await;
    session.stop().await;
    assert_eq!(numbers(&host), (0..25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_begins_where_it_is_told() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..5);
    let host = Arc::new(Host::default());
    let session = start(&options(&dovecot), &host, Start::Now, no_io());
    until("a first cursor", || host.cursor_of("INBOX").is_some()).await;
    fill(&dovecot, "INBOX", 5..6);
    until("the new mail", || host.count() == 1).await;
    session.stop().await;
    assert_eq!(numbers(&host), [5]);

    // Maildir gives mails the time of their file as INTERNALDATE: that is today, after the first moment and before the second.
    let today = Arc::new(Host::default());
    let session = start(&options(&dovecot), &today, Start::Since(Timestamp::UNIX_EPOCH), no_io());
    until("all mails", || today.count() == 6).await;
    session.stop().await;
    let far = Timestamp::parse("2100-01-01T00:00:00Z").expect("a time");
    let none = Arc::new(Host::default());
    let session = start(&options(&dovecot), &none, Start::Since(far), no_io());
    until("a first cursor", || none.cursor_of("INBOX").is_some()).await;
    fill(&dovecot, "INBOX", 6..7);
    until("the new mail", || none.count() == 1).await;
    session.stop().await;
    assert_eq!(numbers(&none), [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_uids_mean_reading_again_with_a_mark() {
    let mut dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..8);
    let host = Arc::new(Host::default());
    let options = options(&dovecot);
    let session = start(&options, &host, Start::Beginning, no_io());
    until("all mails", || host.count() == 8).await;
    let before = host.cursor_of("INBOX").expect("a cursor");
    dovecot.renumber(USER, "INBOX").expect("renumber");
    // A single folder's lost connection is the driver's to mend.
    session.ended().await.expect_err("the server went away");
    let session = start(&options, &host, Start::Beginning, no_io());
    until("all mails again", || host.count() == 16).await;
    fill(&dovecot, "INBOX", 8..9);
    until("the new mail", || host.count() == 17).await;
    session.stop().await;
    assert_ne!(host.cursor_of("INBOX").expect("a cursor")["uidvalidity"], before["uidvalidity"]);
    let taken = host.taken();
    let marked: Vec<bool> = taken.iter().map(|raw| raw.headers.get("inlet-resync") == Some("true")).collect();
    assert_eq!(marked, [vec![false; 8], vec![true; 8], vec![false]].concat());
    let told = host.health_of("INBOX");
    assert!(told[0].contains("UIDVALIDITY changed") && told.last().is_some_and(String::is_empty), "{told:?}");

    let parser = common::parser(&options);
    let keys = |raw| parser.parse(raw).events.into_iter().map(|draft| draft.key).collect::<Vec<_>>();
    for number in 0..8 {
        assert_eq!(keys(&taken[number]), keys(&taken[number + 8]), "mail {number} keeps its key");
    }
    assert!(parser.parse(&taken[8]).events[0].event.provenance.resync);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_does_not_stop_the_others() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..3);
    fill(&dovecot, "Kunden", 3..5);
    let mut options = options(&dovecot);
    options["folders"] = json!(["INBOX", "Kunden", "Später"]);
    let host = Arc::new(Host::default());
    let session = start(&options, &host, Start::Beginning, no_io());
    until("both folders and the report", || host.count() == 5 && !host.health_of("Später").is_empty()).await;
    let told = host.health_of("Später");
    assert!(told[0].contains("cannot be opened") && told[0].contains("Kunden"), "{told:?}");
    assert_eq!((host.uids("INBOX"), host.uids("Kunden")), (vec![1, 2, 3], vec![1, 2]));

    let mut imap = dovecot.connect(USER).expect("login");
    imap.command("CREATE \"Sp&AOQ-ter\"").expect("create");
    imap.append("Sp&AOQ-ter", &mail(7)).expect("append");
    until("the mail of the new folder", || host.count() == 6).await;
    until("the report is taken back", || host.health_of("Später").last().is_some_and(String::is_empty)).await;
    session.stop().await;
    assert_eq!(host.uids("Später"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protection_and_a_wrong_password() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..2);
    for (security, port) in [("tls", dovecot.imaps_port), ("starttls", dovecot.imap_port)] {
        let mut options = options(&dovecot);
        options["security"] = json!(security);
        options["port"] = json!(port);
        options["host"] = json!("localhost");
        options["ca_file"] = json!(dovecot.certificates.authority);
        let host = Arc::new(Host::default());
        let session = start(&options, &host, Start::Beginning, no_io());
        until("the mails", || host.count() == 2).await;
        session.stop().await;

        options.as_object_mut().expect("options").remove("ca_file");
        let error = start(&options, &host, Start::Now, no_io()).ended().await.expect_err("an unknown authority");
        assert!(error.to_string().contains("TLS"), "{error}");
    }
    let mut options = options(&dovecot);
    options["auth"] = json!({ "password": "wrong" });
    let error = start(&options, &Arc::new(Host::default()), Start::Now, no_io()).ended().await.expect_err("refused");
    assert!(matches!(&error, IntakeError::Unauthorised(text) if text.contains("AUTHENTICATIONFAILED")), "{error}");
    assert!(!error.to_string().contains("wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_over_the_cap_come_with_their_headers_only() {
    let dovecot = dovecot();
    let mut large = mail(1);
    large.extend(vec![b'x'; 200_000]);
    let mails = [mail(0), large.clone(), mail(2)];
    dovecot.fill(USER, "INBOX", mails.iter().map(Vec::as_slice)).expect("fill");
    let mut options = options(&dovecot);
    options["max_mail_bytes"] = json!(65536);
    let host = Arc::new(Host::default());
    let session = start(&options, &host, Start::Beginning, no_io());
    until("the mails", || host.count() == 3).await;
    session.stop().await;
    assert_eq!(numbers(&host), [0, 1, 2]);
    let taken = host.taken();
    let parsed = common::parser(&options).parse(&taken[1]);
    let event = &parsed.events[0].event;
    assert!(taken[1].body.len() < 1000);
    assert_eq!(event.attachments[0].fetch_state.as_str(), "too_large");
    let size: u64 = taken[1].headers.get("inlet-only-headers-of").and_then(|size| size.parse().ok()).expect("a size");
    assert!(size >= large.len() as u64);
    assert_eq!(event.provenance.truncations[0].original_bytes, size);
    assert_eq!(event.conversation.subject.as_deref(), Some("Привет"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_comes_again_from_the_cursor() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..120);
    let host = Arc::new(Host::default());
    *host.refuse_from.lock().expect("lock") = Some(70);
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    let error = session.ended().await.expect_err("an input was not taken");
    assert!(matches!(error, IntakeError::Retry { .. }), "{error}");
    *host.refuse_from.lock().expect("lock") = None;
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    until("all mails", || host.count() >= 120).await;
    session.stop().await;
    assert_eq!(numbers(&host), (0..120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_costs_nothing_and_doubles_nothing() {
    let mut dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..5);
    fill(&dovecot, "Kunden", 5..10);
    let mut options = options(&dovecot);
    options["folders"] = json!(["INBOX", "Kunden"]);
    let host = Arc::new(Host::default());
    let mut session = start(&options, &host, Start::Beginning, no_io());
    until("all mails", || host.count() == 10).await;
    dovecot.restart().expect("restart");
    fill(&dovecot, "INBOX", 10..12);
    // Where all connections went at once the session ends, and the driver opens it again.
    let wait = async { until("the new mails", || host.count() == 12).await };
    tokio::pin!(wait);
    let deadline = tokio::time::Instant::now() + LIMIT;
    while tokio::time::timeout(std::time::Duration::from_millis(300), &mut wait).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no new mails after a restart");
        if session.has_ended() {
            session = start(&options, &host, Start::Beginning, no_io());
        }
    }
    session.stop().await;
    let mut found = numbers(&host);
    found.sort_unstable();
    assert_eq!(found, (0..12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_are_removed_while_they_are_fetched_are_no_matter() {
    const COUNT: usize = 2_000;
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..COUNT);
    let host = Arc::new(Host::default());
    let session = start(&options(&dovecot), &host, Start::Beginning, no_io());
    until("the first mails", || host.count() > 50).await;
    let mut imap = dovecot.connect(USER).expect("login");
    imap.command("SELECT INBOX").expect("select");
    imap.command(&format!("UID STORE {}:{COUNT} +FLAGS.SILENT (\\Deleted)", COUNT - 300)).expect("store");
    imap.command("EXPUNGE").expect("expunge");
    imap.append("INBOX", &mail(COUNT)).expect("append");
    until("the last mail", || numbers(&host).last() == Some(&COUNT)).await;
    session.stop().await;
    let found = numbers(&host);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(found.len() >= COUNT - 300, "{} mails", found.len());
    assert!(host.taken().iter().all(|raw| raw.headers.get("inlet-unreadable").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_looks_and_changes_nothing() {
    let dovecot = dovecot();
    fill(&dovecot, "INBOX", 0..4);
    let mut options = options(&dovecot);
    let probe = common::build(&options).probe.expect("a probe");
    let report = probe.probe(&no_io()).await.expect("a report");
    let text = report.lines.join("\n");
    assert!(text.contains("INBOX: 4 mails, UIDVALIDITY") && text.contains("IDLE"), "{text}");
    options["folders"] = json!(["Nowhere"]);
    let probe = common::build(&options).probe.expect("a probe");
    let error = probe.probe(&no_io()).await.expect_err("no such folder");
    assert!(error.to_string().contains("INBOX"), "{error}");
    let mut imap = dovecot.connect(USER).expect("login");
    imap.command("SELECT INBOX").expect("select");
    assert_eq!(imap.search("UNSEEN").expect("search").len(), 4);
}
