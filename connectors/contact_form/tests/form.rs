//! A form as its visitors meet it: ids, answers, pages, masking. Through the public seam alone.

use std::time::Duration;

use connector_contact_form::ContactForm;
use connector_sdk::body::to_urlencoded;
use connector_sdk::fixture::{self, Case};
use connector_sdk::schemas::Event;
use connector_sdk::stamp::{StampContext, stamp};
use connector_sdk::{
    Admission, BuildContext, Connector, Entry, Intake, Keys, Outcome, RawEvent, RefusalKind, Reply, Timestamp, Webhook,
    Wire,
};
use serde_json::{Value, json};

const ENTRY: Entry = Entry::of::<ContactForm>();
const URL: &str = "https://inlet.example.com/forms/contact";

struct Form(Connector);

impl Form {
    fn new(options: Value) -> Self {
        let mut all = json!({ "secret": "demo-secret" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let cx = BuildContext { instance: "contact".to_owned(), public_url: None };
        Self((ENTRY.build)(&all, &cx).unwrap_or_else(|error| panic!("{error}")))
    }

    fn webhook(&self) -> &dyn Webhook {
        match &self.0.intakes[..] {
            [Intake::Webhook(webhook)] => &**webhook,
            _ => panic!("a form has one webhook"),
        }
    }

    fn admit(&self, raw: &RawEvent) -> Admission {
        self.webhook().admit(raw, &Keys::default(), raw.received_at)
    }

    fn event(&self, raw: &RawEvent) -> Event {
        assert!(matches!(self.admit(raw), Admission::Accept), "{:?}", self.admit(raw));
        self.parse(raw)
    }

    fn parse(&self, raw: &RawEvent) -> Event {
        let mut parsed = self.0.parse.parse(raw);
        assert_eq!((parsed.events.len(), parsed.rejected.len()), (1, 0), "{:?}", parsed.rejected);
        let cx = StampContext { tenant: "t", connector: "contact", received_at: raw.received_at, raw_sha256: "" };
        *stamp(parsed.events.remove(0), &cx)
    }

    fn page(&self, at: Timestamp) -> Reply {
        match self.admit(&request("GET", at)) {
            Admission::Answer(reply) => reply,
            other => panic!("no page: {other:?}"),
        }
    }

    /// What a browser sends when somebody fills in the page that it got at `at`.
    fn filled_in(&self, at: Timestamp, fields: &[(&str, &str)]) -> RawEvent {
        let page = text(&self.page(at));
        let own = ["_token", "_submission_id"].map(|name| (name, hidden(&page, name)));
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        post(at.plus(Duration::from_secs(30)), own.chain(fields.iter().copied()))
    }

    fn reply(&self, raw: &RawEvent, outcome: Outcome) -> Reply {
        self.webhook().reply(raw, &outcome)
    }
}

fn start() -> Timestamp {
    Timestamp::parse("2026-01-15T10:00:00.25Z").unwrap()
}

fn request(method: &str, at: Timestamp) -> RawEvent {
    let mut raw = RawEvent::new(Wire::Http, "", at);
    raw.method = method.to_owned();
    raw.uri = URL.to_owned();
    raw
}

fn post<'a>(at: Timestamp, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> RawEvent {
    let mut raw = request("POST", at);
    raw.headers.push("content-type", "application/x-www-form-urlencoded");
    raw.body = to_urlencoded(fields).into();
    raw
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(have, _)| *have == name).map(|(_, value)| value.as_str())
}

fn hidden(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let at = page.find(&start).unwrap_or_else(|| panic!("the page has no {name}")) + start.len();
    page[at..].split('"').next().unwrap().to_owned()
}

fn case(name: &str) -> Case {
    let cases = fixture::cases(ENTRY.assets.fixtures).unwrap();
    cases.into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
}

const MESSAGE: &[(&str, &str)] = &[("email", "ada@example.com"), ("message", "Hello"), ("office_colour", "")];

#[test]
fn a_page_sends_its_message_once_and_another_page_sends_another() {
    let form = Form::new(json!({}));
    let first = form.filled_in(start(), MESSAGE);
    let event = form.event(&first);
    assert_eq!(event.provenance.spam, None);
    // A second press, a reload of the answer an hour later, a retry after 503.
    let mut again = first.clone();
    again.received_at = first.received_at.plus(Duration::from_secs(3600));
    assert_eq!(form.event(&again).id, event.id);
    // Back, another text, sent again: another message.
    let edited = form.filled_in(start(), &[("email", "ada@example.com"), ("message", "Hello again")]);
    assert_ne!(form.event(&edited).id, event.id);
    // Another visit with the same text, and another visitor in the same instant.
    let visit = form.filled_in(start().plus(Duration::from_secs(60)), MESSAGE);
    assert_ne!(form.event(&visit).id, event.id);
    let page = |agent: &str| {
        let mut get = request("GET", start());
        get.headers.push("user-agent", agent.to_owned());
        let Admission::Answer(reply) = form.admit(&get) else { panic!("no page") };
        hidden(&text(&reply), "_submission_id")
    };
    assert_ne!(page("a"), page("b"));
}

#[test]
fn a_page_kept_elsewhere_does_not_merge_messages_for_ever() {
    let form = Form::new(json!({}));
    let first = form.filled_in(start(), MESSAGE);
    let mut month_later = first.clone();
    month_later.received_at = first.received_at.plus(Duration::from_secs(30 * 86_400));
    let (first, later) = (form.event(&first), form.event(&month_later));
    assert_ne!(first.id, later.id);
    assert_eq!(later.provenance.spam.unwrap().reasons, ["token_expired"]);
}

#[test]
fn without_an_id_equal_messages_of_an_address_are_one_within_the_span() {
    let form = Form::new(json!({ "require_token": false, "dedupe_seconds": 600 }));
    // 10:00:00 begins a span of ten minutes.
    let at = |seconds: u64, ip: &str| {
        let mut raw = post(start().plus(Duration::from_secs(seconds)), MESSAGE.iter().copied());
        raw.peer = Some(ip.parse().unwrap());
        form.event(&raw).id
    };
    assert_eq!(at(0, "192.0.2.1"), at(599, "192.0.2.1"));
    assert_ne!(at(0, "192.0.2.1"), at(600, "192.0.2.1"));
    assert_ne!(at(0, "192.0.2.1"), at(0, "192.0.2.2"));
    let off = Form::new(json!({ "dedupe_seconds": 0 }));
    let id = |millis: u64| off.event(&post(start().plus(Duration::from_millis(millis)), MESSAGE.iter().copied())).id;
    assert_ne!(id(0), id(1));
    assert_eq!(id(1), id(1));
}

#[test]
fn the_redacted_input_gives_the_same_event_without_the_secrets() {
    for name in ["unlisted_fields", "multipart_file", "json_nested", "hostile_values", "every_field"] {
        let case = case(name);
        let connector = Form((ENTRY.build)(&case.options(), &BuildContext::default()).unwrap());
        let mut raw = case.raw.clone();
        raw.headers.push("cookie", "session=abc");
        let redacted = connector.0.parse.redact(&raw);
        assert_eq!(redacted.headers.get("cookie"), Some("***"));
        assert_eq!(connector.parse(&redacted), connector.parse(&raw), "{name}");
    }
    let form = Form::new(json!({}));
    for (content_type, written) in [
        (
            "application/json",
            json!({ "email": "a@b.example", "message": "4111111111111111", "login": { "password": 12345 } })
                .to_string(),
        ),
        (
            "multipart/form-data; boundary=b",
            multipart("b", &[("email", "a@b.example"), ("message", "4111111111111111"), ("password", "12345")]),
        ),
    ] {
        let mut raw = request("POST", start());
        raw.uri.push_str("?password=12345&x=1");
        raw.headers.push("content-type", content_type);
        raw.body = written.into();
        let redacted = form.0.parse.redact(&raw);
        let kept = format!("{} {}", redacted.uri, String::from_utf8_lossy(&redacted.body));
        assert!(kept.contains("a@b.example") && kept.contains("************1111") && kept.contains("x=1"), "{kept}");
        assert!(!kept.contains("12345") && !kept.contains("4111111"), "{kept}");
        let (before, after) = (form.parse(&raw), form.parse(&redacted));
        assert_eq!((before.id, before.text, before.content), (after.id, after.text, after.content));
    }
}

fn multipart(boundary: &str, fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--{boundary}--\r\n", fields.iter().map(part).collect::<String>())
}

#[test]
fn the_address_is_dropped_where_the_form_does_not_keep_it() {
    let mut raw = post(start(), MESSAGE.iter().copied());
    raw.peer = Some("192.0.2.7".parse().unwrap());
    let kept = Form::new(json!({})).event(&raw);
    assert_eq!(kept.provider_data.unwrap().to_value()["ip"], "192.0.2.7");
    let form = Form::new(json!({ "keep_ip": false }));
    assert_eq!(form.event(&raw).provider_data.unwrap().to_value().get("ip"), None);
    assert_eq!(form.0.parse.redact(&raw).peer, None);
}

#[test]
fn signing_makes_any_encoding_trusted() {
    let strict = Form::new(json!({ "spam": "refuse" }));
    for name in ["urlencoded", "multipart_file", "token_expired", "too_fast", "token_forged", "server_post"] {
        let mut raw = case(name).raw;
        let now = raw.received_at;
        strict.webhook().sign(&mut raw, now);
        let event = strict.event(&raw);
        assert_eq!(event.provenance.spam, None, "{name}");
        assert_eq!(event.provenance.verified_by.as_deref(), Some("form-token"), "{name}");
        let length = raw.headers.get("content-length").map(|text| text.parse().unwrap());
        assert_eq!(length, Some(raw.body.len()), "{name}");
    }
}

#[test]
fn what_was_typed_comes_back_when_it_cannot_be_taken_now() {
    let form = Form::new(json!({}));
    let raw = form.filled_in(start(), &[("email", "ada@example.com"), ("message", "A <long> text\r\nof two lines")]);
    let reply = form.reply(&raw, Outcome::NotSafeNow { retry_after: Duration::from_millis(4200) });
    assert_eq!((reply.status, header(&reply, "retry-after")), (503, Some("5")));
    let page = text(&reply);
    assert!(page.contains("A &lt;long&gt; text\r\nof two lines</textarea>") && page.contains("in 5 seconds"), "{page}");
    // Sent again from there it is the same message.
    let again = [("email", "ada@example.com"), ("message", "A <long> text\r\nof two lines")];
    let own = ["_token", "_submission_id"].map(|name| (name, hidden(&page, name)));
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let again = post(raw.received_at.plus(Duration::from_secs(9)), own.chain(again));
    assert_eq!(form.event(&again).id, form.event(&raw).id);

    let files = case("multipart_file").raw;
    let page = text(&form.reply(&files, Outcome::OverRate { retry_after: Duration::from_secs(7) }));
    assert!(page.contains("wait 7 seconds") && page.contains("choose your files again"), "{page}");
    // Over the cap the body is not there; the page only says what to do.
    let mut large = request("POST", start());
    large.headers.push("content-type", "multipart/form-data; boundary=x");
    let reply = form.reply(&large, Outcome::TooLarge { limit_bytes: 32 << 20 });
    assert_eq!(reply.status, 413);
    assert!(text(&reply).contains("larger than 32 MB") && !text(&reply).contains("<form"), "{}", text(&reply));
}

#[test]
fn scripts_get_json_that_the_allowed_site_can_read() {
    let form = Form::new(json!({ "allowed_origins": ["https://www.example.com"], "thanks": "Bye" }));
    let raw = case("json").raw;
    let reply = form.reply(&raw, Outcome::Safe { event_ids: vec!["e1".to_owned()] });
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, said), (200, json!({ "ok": true, "id": "e1", "message": "Bye" })));
    assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://www.example.com"));
    let reply = form.reply(&raw, Outcome::NotSafeNow { retry_after: Duration::from_secs(3) });
    assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://www.example.com"));
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &said["ok"], &said["errors"][0]["code"]), (503, &json!(false), &json!("not_safe")));
    let mut foreign = raw.clone();
    foreign.headers.set("origin", "null");
    let reply = form.reply(&foreign, Outcome::DeadLettered);
    assert_eq!((header(&reply, "access-control-allow-origin"), header(&reply, "vary")), (None, Some("Origin")));
    let sandbox = Form::new(json!({ "allow_null_origin": true }));
    let reply = sandbox.reply(&foreign, Outcome::DeadLettered);
    assert_eq!(header(&reply, "access-control-allow-origin"), Some("null"));
}

#[test]
fn a_browser_is_sent_on_and_only_where_the_configuration_says() {
    let raw = post(start(), [("email", "a@b.example"), ("message", "x"), ("_next", "https://evil.example")]);
    let safe = || Outcome::Safe { event_ids: vec!["e1".to_owned()] };
    let reply = Form::new(json!({})).reply(&raw, safe());
    assert_eq!((reply.status, header(&reply, "location")), (303, Some("./contact/thanks")));
    let mut slash = raw.clone();
    slash.uri.push('/');
    assert_eq!(header(&Form::new(json!({})).reply(&slash, safe()), "location"), Some("thanks"));
    let form = Form::new(json!({ "redirect": "https://www.example.com/danke?x=1" }));
    assert_eq!(header(&form.reply(&raw, safe()), "location"), Some("https://www.example.com/danke?x=1"));
    let page = form.page(start());
    let csp = header(&page, "content-security-policy").unwrap();
    assert!(csp.contains("form-action 'self' https://www.example.com;"), "{csp}");
}

#[test]
fn the_page_runs_and_loads_nothing_but_its_own_style() {
    use sha2::Digest;
    let page = Form::new(json!({ "allowed_origins": ["https://www.example.com"] })).page(start());
    let csp = header(&page, "content-security-policy").unwrap();
    let page = text(&page);
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = connector_sdk::verify::to_base64(&sha2::Sha256::digest(style.as_bytes()));
    assert!(csp.starts_with("default-src 'none';") && csp.contains(&format!("style-src 'sha256-{hash}';")), "{csp}");
    assert!(
        csp.contains("frame-ancestors 'self' https://www.example.com;") && csp.contains("base-uri 'none'"),
        "{csp}"
    );
    for outside in ["<script", "http://", "https://", " style=", "src=", " onload", "javascript:"] {
        assert!(!page.contains(outside), "the page holds {outside}");
    }
}

#[test]
fn hostile_values_are_text_wherever_they_are_shown() {
    const EVIL: &str = "\"'><script>alert(1)</script><textarea></textarea></style>";
    let escaped = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;textarea&gt;&lt;/textarea&gt;&lt;/style&gt;";
    let form = Form::new(json!({
        "title": EVIL, "intro": EVIL, "button": EVIL, "thanks": EVIL, "texts": { "e_required": EVIL, "optional": EVIL },
        "fields": [
            { "key": "name", "label": EVIL, "hint": EVIL, "pattern": "\"><script>.*" },
            { "key": "pick", "label": EVIL, "type": "select", "options": [EVIL, { "value": "v", "label": EVIL }] },
            { "key": "many", "label": EVIL, "type": "checkbox", "options": [EVIL] },
            { "key": "note", "label": EVIL, "type": "textarea" },
            { "key": "must", "label": EVIL, "required": true },
            { "key": "quiet", "type": "hidden", "value": EVIL }
        ]
    }));
    let mut get = request("GET", start());
    get.headers.push("referer", EVIL);
    let Admission::Answer(page) = form.admit(&get) else { panic!("no page") };
    let fields =
        [("name", EVIL), ("pick", EVIL), ("many", EVIL), ("note", EVIL), ("_referrer", EVIL), ("_token", EVIL)];
    let raw = post(start(), fields.into_iter().chain([("_submission_id", EVIL), (EVIL, EVIL)]));
    let Admission::Refuse(refusal) = form.admit(&raw) else { panic!("not refused") };
    assert_eq!(refusal.kind, RefusalKind::Invalid);
    let mut thanks = request("GET", start());
    thanks.uri.push_str("/thanks");
    let Admission::Answer(thanks) = form.admit(&thanks) else { panic!("no thanks") };
    for (what, reply) in [("page", page), ("errors", refusal.reply.unwrap()), ("thanks", thanks)] {
        let page = text(&reply);
        assert!(page.contains(escaped), "{what}");
        assert!(!page.contains("<script") && page.matches("</style>").count() == 1, "{what}: {page}");
    }
    // Within the script the HTML is a literal that cannot end it.
    let mut embed = request("GET", start());
    embed.uri.push_str("/embed.js");
    let Admission::Answer(script) = form.admit(&embed) else { panic!("no script") };
    let line = text(&script).lines().find(|line| line.contains("const FORM")).unwrap().to_owned();
    assert!(!line.contains('<') && line.contains("\\u003cform"), "{line}");
}

#[test]
fn a_form_of_twenty_megabytes_arrives() {
    let form = Form::new(json!({}));
    let file = vec![7u8; 20 << 20];
    let mut raw = request("POST", start());
    raw.headers.push("content-type", "multipart/form-data; boundary=b");
    let head = multipart("b", MESSAGE);
    let head = head.strip_suffix("--b--\r\n").unwrap();
    let mut body =
        format!("{head}--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n").into_bytes();
    body.extend(&file);
    body.extend(b"\r\n--b--\r\n");
    raw.body = body.into();
    assert!(form.webhook().body_max_bytes().unwrap() > raw.body.len());
    assert!(matches!(form.admit(&raw), Admission::Accept));
    let parsed = form.0.parse.parse(&raw);
    assert_eq!(parsed.events[0].blobs[0].bytes.len(), 20 << 20);
    assert_eq!(parsed.events[0].event.attachments[0].size_bytes, Some(20 << 20));
}

#[test]
fn wrong_options_are_named() {
    for (options, path) in [
        (json!({ "fields": [] }), "fields"),
        (json!({ "fields": [{ "key": "_a" }] }), "fields[0].key"),
        (json!({ "fields": [{ "key": "a" }, { "key": "a" }] }), "fields[1].key"),
        (json!({ "fields": [{ "key": "office_colour" }] }), "fields[0].key"),
        (json!({ "fields": [{ "key": "a", "type": "radio" }] }), "fields[0].options"),
        (json!({ "fields": [{ "key": "a", "pattern": "(" }] }), "fields[0].pattern"),
        (json!({ "email_field": "mail" }), "email_field"),
        (json!({ "allowed_origins": ["https://a.example", "https://b.example/"] }), "allowed_origins[1]"),
        (json!({ "allowed_origins": ["*"] }), "allowed_origins[0]"),
        (json!({ "redirect": "javascript:alert(1)" }), "redirect"),
        (json!({ "accent": "red;}" }), "accent"),
        (json!({ "lang": "\"><" }), "lang"),
        (json!({ "min_seconds": 10, "max_seconds": 10 }), "min_seconds"),
        (json!({ "max_seconds": 99_999_999 }), "max_seconds"),
        (json!({ "file_max_bytes": 100, "body_max_bytes": 10 }), "file_max_bytes"),
        (json!({ "texts": { "sned": "x" } }), "texts.sned"),
        (json!({ "secret": [] }), "secret"),
    ] {
        let mut all = json!({ "secret": "demo-secret" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        match (ENTRY.build)(&all, &BuildContext::default()) {
            Err(error) => assert_eq!(error.path, path, "{error}"),
            Ok(_) => panic!("{options} is accepted"),
        }
    }
}

#[test]
fn the_rate_comes_from_the_options() {
    let rate = Form::new(json!({})).webhook().rate().unwrap();
    assert_eq!((rate.burst, rate.every), (30, Duration::from_secs(2)));
    assert_eq!(Form::new(json!({ "rate": { "burst": 0 } })).webhook().rate(), None);
}

#[test]
fn the_public_url_may_have_a_path() {
    let form = Form::new(json!({}));
    let mut raw = request("GET", start());
    raw.uri = "https://www.example.com/inlet/forms/contact/token?x=/forms/y".to_owned();
    let Admission::Answer(reply) = form.admit(&raw) else { panic!("no token") };
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(said["token"].as_str().unwrap().starts_with("1768471200250."), "{said}");
}
