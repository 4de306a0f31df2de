//! D13 over everything: at log level trace, with good, forged and unreadable input to every connector that takes any, no
//! secret is on a topic, in a log, a metric or a status. Real Kafka and Dovecot.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inlet_tests::config::Config;
use inlet_tests::consume::{self, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{corpus, wait, webhooks};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
/// In every configured secret but the mailbox's, which is Dovecot's.
const MARK: &str = "s3cret-";
/// In what callers send that nobody may keep.
const CALLERS: [&str; 5] = ["c00kie-value", "b3arer-value", "qu3ry-value", "f0rged-value", "legacy-t0ken"];
/// Headers whose values are proofs.
const PROOFS: [&str; 5] = [
    "x-slack-signature",
    "x-telegram-bot-api-secret-token",
    "x-twilio-signature",
    "webhook-signature",
    "x-gateway-token",
];

/// Good, unreadable and forged requests to each webhook, all with a cookie, a bearer token and a token in the query.
fn requests(gateway: &Gateway) -> Vec<Request> {
    let url = |name: &str| format!("{}?token=qu3ry-value", gateway.intake(name));
    let slack = |secret: &str, body: String| webhooks::slack(&url("chat"), secret, body);
    let message = include_str!("../e2e_webhooks/slack_message.json")
        .replace("@EVENT_ID@", "Ev0000001")
        .replace("@CHANNEL@", "C01")
        .replace("@TS@", "1766458031.000001")
        .replace("@TEXT@", "hello");
    let unreadable = r#"{"type":"event_callback","token":"legacy-t0ken","event":{"text":"cut off"#;
    let update =
        r#"{"update_id":1,"message":{"message_id":1,"date":1766458031,"chat":{"id":5,"type":"private"},"text":"hi"}}"#;
    let form =
        [("MessageSid", "SM1"), ("From", "+15550001"), ("To", "+15550002"), ("Body", "hi"), ("AccountSid", "AC1")];
    let sms = |secret: &str| webhooks::twilio(&url("sms"), &url("sms"), secret, &form);
    let shop = |secret: &str, body: &str| webhooks::standard(&url("shop"), secret.as_bytes(), "m-1", body.to_owned());
    let own = |token: &str, body: &str| {
        Request::post(url("own"), body.to_owned())
            .header("content-type", "application/json")
            .header("x-gateway-token", token)
    };
    let mut all = vec![
        slack("s3cret-slack-signing", message.clone()),
        slack("s3cret-slack-signing", unreadable.to_owned()),
        slack("f0rged-value", message),
        webhooks::telegram(&url("bot"), "s3cret-telegram-token", update),
        webhooks::telegram(&url("bot"), "s3cret-telegram-token", "no json"),
        webhooks::telegram(&url("bot"), "f0rged-value", update),
        sms("s3cret-twilio-auth"),
        sms("f0rged-value"),
        shop("s3cret-shop-key", r#"{"id":"1","text":"hi","sender":{"id":"u"}}"#),
        shop("s3cret-shop-key", r#"{"id":"1","kind":"no kind"}"#),
        shop("f0rged-value", "{}"),
        own("s3cret-own-token", r#"{"msg":"hi","from":"u"}"#),
        own("s3cret-own-token", r#"["not","what","is","mapped"]"#),
        own("f0rged-value", "{}"),
        Request::post(
            format!("{}/forms/contact?token=qu3ry-value", gateway.ingress),
            "name=Ann&password=b3arer-value&message=hi",
        )
        .header("content-type", "application/x-www-form-urlencoded"),
    ];
    for request in &mut all {
        request.headers.push(("cookie".to_owned(), "session=c00kie-value".to_owned()));
        request.headers.push(("authorization".to_owned(), "Bearer b3arer-value".to_owned()));
    }
    all
}

#[test]
fn d13_no_secret_is_seen_anywhere() -> Result<()> {
    let dovecot = Dovecot::start()?;
    dovecot.fill(
        "support@example.test",
        "INBOX",
        corpus::mails(2, 1).collect::<Vec<_>>().iter().map(|m| m.bytes.as_slice()),
    )?;
    let kafka = Kafka::shared();
    let instances = include_str!("instances.yaml")
        .replace("@PORT@", &dovecot.imaps_port.to_string())
        .replace("@CA@", &dovecot.certificates.authority.display().to_string());
    let config = Config::new(kafka, "secrets", &instances);
    let mut gateway = Gateway::prepared(&config.text())?.env("RUST_LOG", "trace");
    gateway.start()?;
    let probe =
        || webhooks::standard(&gateway.intake("shop"), b"s3cret-shop-key", "m-0", r#"{"id":"0","text":"first"}"#);
    wait::until(LIMIT, "Kafka takes input", || Ok((probe().send()?.status < 300).then_some(())))?;
    let requests = requests(&gateway);
    let mut statuses = BTreeSet::new();
    let mut shown = String::new();
    for request in &requests {
        let answer = request.send()?;
        statuses.insert(answer.status);
        shown += &format!("{:?} {}\n", answer.headers, answer.text());
    }
    assert!(statuses.contains(&200) && statuses.contains(&401), "{statuses:?}");
    wait::until(LIMIT, "a stopped mailbox beside a running one", || {
        let instances = gateway.status()?["instances"].clone();
        Ok((instances["lost"]["state"] == "stopped" && instances["mail"]["state"] == "running").then_some(()))
    })?;
    // Slack's, Telegram's and the two recipes' unreadable ones.
    let letters = consume::kcat_until(&kafka.bootstrap(), &config.dead_letters(), 3, LIMIT)?;
    shown += &everything(&letters);
    let events = consume::kcat(&kafka.bootstrap(), &config.events())?;
    assert!(events.len() >= 5, "{} events", events.len());
    for role in ["events", "fetches", "cursors"] {
        shown += &everything(&consume::kcat(&kafka.bootstrap(), &config.topic(role))?);
    }
    for path in ["/metrics", "/api/status", "/readyz"] {
        shown += &gateway.get_admin(path)?.text();
    }
    let log = format!("{}{}", gateway.stdout(), gateway.stderr());
    assert!(log.contains("TRACE"), "the log is not at its most talkative");
    assert!(gateway.stop()?.success());
    shown += &log;
    let mut secrets: Vec<String> = CALLERS.map(str::to_owned).into();
    secrets.extend([MARK.to_owned(), "pass-Kx7".to_owned()]);
    for request in &requests {
        let proofs = request.headers.iter().filter(|(name, _)| PROOFS.contains(&name.as_str()));
        secrets.extend(proofs.map(|(_, value)| value.clone()));
    }
    for secret in secrets {
        if let Some(at) = shown.find(&secret) {
            let from = shown[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
            panic!("{secret} is seen: …{}", shown[from..].chars().take(400).collect::<String>());
        }
    }
    Ok(())
}

/// Keys, headers, values, and what stands in base64 within those.
fn everything(records: &[Record]) -> String {
    let mut out = String::new();
    for record in records {
        out += &format!("{:?} {:?} {}\n", record.key, record.headers, String::from_utf8_lossy(&record.value));
        if let Ok(value) = record.json() {
            decode(&value, &mut out);
        }
    }
    out
}

fn decode(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            if let Ok(bytes) = STANDARD.decode(text) {
                *out += &String::from_utf8_lossy(&bytes);
                out.push('\n');
            }
        }
        Value::Array(items) => items.iter().for_each(|item| decode(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| decode(field, out)),
        _ => {}
    }
}
