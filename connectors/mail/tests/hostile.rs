//! Mails that are made to break a parser: each must end in bounded time, on the stack of a runtime's worker, with an
//! outcome.

use std::time::{Duration, Instant};

use connector_mail::{MailInput, parse};
use connector_sdk::{Bytes, Parsed, Timestamp};

/// Stack of a runtime's worker.
const STACK_BYTES: usize = 2 << 20;
/// A debug build on a busy machine; a loop that grows with the square of its input takes minutes.
const LIMIT: Duration = Duration::from_secs(30);

fn outcome(mail: impl Into<Vec<u8>>) -> Parsed {
    let mail = Bytes::from(mail.into());
    let work = move || {
        let input = MailInput {
            account: "support@shop.example",
            own_addresses: &[],
            internal_date: None,
            received_at: Timestamp::UNIX_EPOCH,
            source: serde_json::Value::Null,
            only_headers_of_bytes: None,
            resync: false,
            backfill: false,
            verified_by: "test",
            parser_version: "test",
        };
        let began = Instant::now();
        let parsed = parse(&mail, &input);
        (parsed, began.elapsed())
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
    let (parsed, took) = thread.join().expect("no panic");
    assert!(took < LIMIT, "took {took:?}");
    assert!(!parsed.is_empty());
    parsed
}

fn html(body: &str) -> Vec<u8> {
    format!("Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{body}").into_bytes()
}

#[test]
fn deep_markup() {
    for element in ["div", "blockquote", "table><tr><td", "ul><li", "b"] {
        let open = format!("<{element}>");
        for depth in [1_000, 100_000] {
            let body = format!("{}deep{}", open.repeat(depth), "</div>".repeat(10));
            let event = &outcome(html(&body)).events[0].event;
            assert!(event.text.as_deref().is_some_and(|text| text.contains("deep")), "{element} {depth}");
        }
    }
}

#[test]
fn much_markup() {
    outcome(html(&"<a href=\"https://x.example/\">x</a>".repeat(20_000)));
    outcome(html(&"<".repeat(200_000)));
    outcome(html(&"<p>&nbsp;</p>\n".repeat(20_000)));
    outcome(html(&"<!--".repeat(100_000)));
    outcome(html(&"x".repeat(3 << 20)));
}

#[test]
fn deep_and_wide_structures() {
    let nested_multiparts: String =
        (0..5_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    outcome(format!("Subject: x\r\n{nested_multiparts}Content-Type: text/plain\r\n\r\nhi"));
    let same_boundary = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".repeat(20_000);
    outcome(same_boundary);
    let messages = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{}hi",
        "Content-Type: message/rfc822\r\n\r\n".repeat(100_000)
    );
    let event = &outcome(messages).events[0].event;
    assert_eq!(event.attachments[0].id, "mail", "kept whole");
    let parts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--", "--b\r\n\r\nx\r\n".repeat(100_000));
    outcome(parts);
    let files = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--",
        "--b\r\nContent-Disposition: attachment; filename=a\r\n\r\nx\r\n".repeat(20_000)
    );
    let event = &outcome(files).events[0].event;
    assert!(event.attachments.len() <= 201 && event.provenance.truncations[0].field == "/attachments");
}

#[test]
fn headers_without_end() {
    outcome(format!("Subject: {}\r\n\r\nx", "=?utf-8?B?0J/R?= ".repeat(100_000)));
    outcome(format!("Subject: {}\r\n\r\nx", "=?utf-8?Q?".repeat(100_000)));
    outcome(format!("Subject: {}?=\r\n\r\nx", "=?utf-8?Q?a?=41".repeat(100_000)));
    outcome(format!("To: {}\r\n\r\nx", "\"a, <(".repeat(100_000)));
    outcome(format!("To: {}\r\n\r\nx", "a, ".repeat(100_000)));
    outcome(format!("To: {}\r\n\r\nx", "(".repeat(300_000)));
    outcome(format!("To: {}\r\n\r\nx", "a:".repeat(300_000)));
    outcome(format!("References: {}\r\n\r\nx", "<a@b> ".repeat(100_000)));
    outcome(format!("References: {}\r\n\r\nx", "<".repeat(300_000)));
    outcome(format!("Authentication-Results: {}\r\n\r\nx", "a;spf=pass (".repeat(100_000)));
    outcome(format!("Content-Type: text/plain{}\r\n\r\nx", "; a*0*=b".repeat(100_000)));
    outcome(format!("Content-Type: text/plain; {}\r\n\r\nx", "a ".repeat(100_000)));
    outcome(format!("{}\r\nx", "X-A: b\r\n".repeat(200_000)));
    outcome(format!("X-A: b\r\n{}\r\nx", "no header line\r\n".repeat(200_000)));
    outcome(format!("Date: {}\r\n\r\nx", "(".repeat(200_000)));
    outcome(format!("Date: {}\r\n\r\nx", "1".repeat(200_000)));
}

#[test]
fn texts_without_end() {
    for line in ["> ", "On 1 wrote:\n", "From: a\n", "-- \n", "[#1", "[", "ref:", "=\n", "a \n", "\0", "\u{feff}", "x"]
    {
        outcome(format!("Content-Type: text/plain; format=flowed\r\n\r\n{}", line.repeat(1_000_000 / line.len())));
    }
    outcome([b"Content-Type: text/plain\r\n\r\n".to_vec(), vec![0xff; 1 << 20]].concat());
    outcome([b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n".to_vec(), vec![0x1b; 1 << 20]].concat());
}

#[test]
fn every_cut_of_a_mail_has_an_outcome() {
    let mail = b"Subject: =?utf-8?B?0J/R?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n0J/RgNC4\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n";
    for end in 0..mail.len() {
        outcome(&mail[..end]);
    }
}

#[test]
fn a_large_attachment_arrives_whole() {
    const LINES: usize = 900_000;
    let line = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";
    let mail = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee file\r\n--b\r\n\
         Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--b--\r\n",
        line.repeat(LINES)
    );
    let draft = &outcome(mail).events[0];
    assert_eq!(draft.event.text.as_deref(), Some("see file"));
    assert_eq!(draft.blobs[0].bytes.len(), LINES * 57);
}
