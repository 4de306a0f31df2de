use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inlet_tests::mail::Imap;
use inlet_tests::servers::dovecot::{Dovecot, PASSWORD};
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use std::process::Command;
use std::time::{Duration, Instant};

const USER: &str = "support@example.test";
const LIMIT: Duration = Duration::from_secs(30);

fn mail(number: usize) -> Vec<u8> {
    format!(
        "From: a@example.test\r\nSubject: mail {number}\r\nX-Number: {number}\r\n\r\nHello {number}\r\n.\r\nend\r\n"
    )
    .into_bytes()
}

/// The three ways in: Maildir files, APPEND and LMTP, all seen by IMAP in that order.
#[test]
fn mail_comes_in_by_three_ways() -> Result<()> {
    let dovecot = Dovecot::start()?;
    dovecot.fill(USER, "INBOX", [mail(1).as_slice()])?;
    let mut imap = dovecot.connect(USER)?;
    imap.command("SELECT INBOX")?;
    imap.append("INBOX", &mail(2))?;
    dovecot.deliver(USER, &mail(3))?;
    imap.command("NOOP")?;
    let uids = imap.search("ALL")?;
    assert_eq!(uids, [1, 2, 3], "{}", dovecot.log());
    assert_eq!(imap.fetch(1)?, mail(1));
    assert_eq!(imap.fetch(2)?, mail(2));
    assert!(String::from_utf8(imap.fetch(3)?)?.ends_with("Hello 3\r\n.\r\nend\r\n"));
    Ok(())
}

#[test]
fn a_wrong_password_is_refused() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let error = Imap::login(dovecot.imap_port, USER, "wrong").expect_err("refused");
    assert!(format!("{error:#}").contains("AUTHENTICATIONFAILED"), "{error:#}");
    Ok(())
}

/// Ten thousand mails are there in seconds, in the order of filling, in two folders; a restart keeps the UIDs, and
/// renumbering changes UIDVALIDITY.
#[test]
fn a_large_mailbox_is_filled_quickly() -> Result<()> {
    let mut dovecot = Dovecot::start()?;
    let mails: Vec<_> = (1..=10_000).map(mail).collect();
    let started = Instant::now();
    dovecot.fill(USER, "INBOX", mails.iter().map(Vec::as_slice))?;
    dovecot.fill(USER, "Archive/2026", [mail(1).as_slice()])?;
    let mut imap = dovecot.connect(USER)?;
    imap.command("SELECT INBOX")?;
    assert_eq!(imap.search("ALL")?.len(), 10_000);
    assert!(started.elapsed() < LIMIT, "took {:?}", started.elapsed());
    assert_eq!(imap.fetch(9_999)?, mail(9_999));
    imap.command("SELECT Archive/2026")?;
    assert_eq!(imap.search("ALL")?, [1]);

    dovecot.restart()?;
    let before = uid_validity(&dovecot)?;
    dovecot.renumber(USER, "INBOX")?;
    assert_ne!(before, uid_validity(&dovecot)?);
    Ok(())
}

fn uid_validity(dovecot: &Dovecot) -> Result<String> {
    let mut imap = dovecot.connect(USER)?;
    let answers = imap.command("STATUS INBOX (UIDVALIDITY MESSAGES)")?;
    let line = answers.into_iter().map(|a| a.line).find(|line| line.contains("STATUS")).unwrap_or_default();
    assert!(line.contains("MESSAGES 10000"), "{line}");
    Ok(line)
}

/// TLS from the first byte and STARTTLS, both verified against the test's authority.
#[test]
fn both_kinds_of_tls_are_served() -> Result<()> {
    let dovecot = Dovecot::start()?;
    for (port, starttls) in [(dovecot.imaps_port, false), (dovecot.imap_port, true)] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-verify_return_error", "-CAfile"]);
        command.arg(&dovecot.certificates.authority).args(["-verify_ip", "127.0.0.1", "-brief"]);
        if starttls {
            command.args(["-starttls", "imap"]);
        }
        inlet_tests::process::run(&mut command)?;
    }
    Ok(())
}

/// A token is asked for at the endpoint of the test; good ones let in, others don't.
#[test]
fn xoauth2_asks_the_token_endpoint() -> Result<()> {
    let tokens = ScriptedHttp::start(|request| match request.parameter("access_token").as_deref() {
        Some("good") => Reply::json(&serde_json::json!({"email": USER, "active": "true"})),
        _ => Reply::status(401),
    })?;
    let dovecot = Dovecot::with_tokens(&tokens.url("/tokeninfo?access_token="))?;
    dovecot.fill(USER, "INBOX", [mail(1).as_slice()])?;
    let response = |token: &str| STANDARD.encode(format!("user={USER}\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let mut imap = Imap::connect(dovecot.imap_port)?;
    assert!(imap.command(&format!("AUTHENTICATE XOAUTH2 {}", response("bad"))).is_err());
    let mut imap = Imap::connect(dovecot.imap_port)?;
    imap.command(&format!("AUTHENTICATE XOAUTH2 {}", response("good")))?;
    imap.command("SELECT INBOX")?;
    assert_eq!(imap.search("ALL")?, [1]);
    Ok(())
}

/// `PASSWORD` is what the documentation of the harness promises for any user.
#[test]
fn any_user_is_let_in() -> Result<()> {
    let dovecot = Dovecot::start()?;
    Imap::login(dovecot.imap_port, "somebody.else@example.test", PASSWORD).map(drop)
}
