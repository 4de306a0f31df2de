//! A small connector that obeys every law, and copies of it that break one each: the suite must tell them apart.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::include_dir::{self, Dir, include_dir};
use connector_sdk::schemas::{Attachment, Conversation, Direction, FetchState, KeyBasis, Kind, Part, Target};
use connector_sdk::verify::{Secrets, hex_matches, hmac_sha256, within};
use connector_sdk::{
    Admission, Assets, BuildContext, ConfigError, Connector, ConnectorKind, Draft, EventKey, Intake, Keys, Outcome,
    Parse, Parsed, RawEvent, Refusal, Rejected, Reply, Shape, SourceClass, Timestamp, Webhook, json, redact,
};
use inlet_schemas::{Channel, Event};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

static FIXTURES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/tests/sample/fixtures");
const WINDOW: Duration = Duration::from_secs(300);
const TIME: &str = "x-sample-time";
const SIGNATURE: &str = "x-sample-signature";

/// What a copy does wrong, by number, and the law that must notice.
pub const DEFECTS: &[(u8, &str)] = &[
    (1, "golden"),
    (2, "total"),
    (3, "nothing_vanishes"),
    (4, "deterministic"),
    (5, "admit"),
    (6, "rotation"),
    (7, "secrets"),
    (8, "config::refused_by_name"),
    (9, "reply"),
    (10, "distinct_ids"),
    (11, "admit"),
    (12, "admit"),
    (13, "kinds"),
    (14, "covers"),
    (15, "total"),
    (16, "secrets"),
];

pub struct Sample<const DEFECT: u8>;

/// Options.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Secret that signs requests.
    secret: Secrets,
    /// What to do with bots.
    #[serde(default)]
    bots: Bots,
    /// Folders | to follow.
    #[serde(default)]
    #[allow(dead_code, reason = "shows a list of objects")]
    folders: Vec<FolderOption>,
}

#[derive(Deserialize, JsonSchema, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Bots {
    #[default]
    Take,
    Skip,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "shows a list of objects")]
struct FolderOption {
    /// Its name.
    name: String,
}

impl<const DEFECT: u8> ConnectorKind for Sample<DEFECT> {
    const NAME: &'static str = "sample";
    const SUMMARY: &'static str = "for tests";
    const CHANNEL: Channel = Channel::Chat;
    const SHAPES: &'static [Shape] = &[Shape::Webhook];
    const ASSETS: Assets = Assets {
        readme: include_str!("README.md"),
        example: include_str!("config.example.yaml"),
        kinds: include_str!("kinds.toml"),
        fixtures: &FIXTURES,
    };
    type Config = Config;

    fn build(config: Config, cx: &BuildContext) -> Result<Connector, ConfigError> {
        if config.folders.iter().any(|folder| folder.name == "forbidden") {
            return Err(ConfigError::new("folders", "a folder must not be called 'forbidden'"));
        }
        let parse = SampleParse::<DEFECT> { instance: cx.instance.clone(), skip_bots: config.bots == Bots::Skip };
        let hook = SampleWebhook::<DEFECT> { secrets: config.secret };
        let source = SourceClass::Redeliver { horizon: WINDOW };
        Ok(Connector::new(Arc::new(parse), vec![Intake::Webhook(Arc::new(hook))], source))
    }
}

/// The list entry, its `build` made lax for the defect that is about that.
pub fn entry<const DEFECT: u8>() -> connector_sdk::Entry {
    let mut entry = connector_sdk::Entry::of::<Sample<DEFECT>>();
    if DEFECT == 8 {
        entry.build = |options, cx| {
            let known = serde_json::json!({ "secret": options["secret"] });
            (connector_sdk::Entry::of::<Sample<0>>().build)(&known, cx)
        };
    }
    entry
}

struct SampleParse<const DEFECT: u8> {
    instance: String,
    skip_bots: bool,
}

impl<const DEFECT: u8> Parse for SampleParse<DEFECT> {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let document = match json::parse(&raw.body) {
            Ok(document) => document.value,
            Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
        let account = json::text(&document, "/team").unwrap_or("unknown");
        let Some(items) = document["items"].as_array() else {
            return Parsed::reject("missing_field", "/items is no array");
        };
        let mut parsed = Parsed::default();
        for item in items {
            parsed.merge(self.item(account, item, raw));
        }
        if parsed.is_empty() && DEFECT != 3 {
            return Parsed::skip("batch", "an empty batch");
        }
        parsed
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        let mut redacted = redact::headers(raw, if DEFECT == 16 { &[SIGNATURE] } else { &[TIME] });
        if DEFECT != 7 {
            redact::json_body(&mut redacted, &["/token"]);
        }
        redacted
    }
}

impl<const DEFECT: u8> SampleParse<DEFECT> {
    fn item(&self, account: &str, item: &Value, raw: &RawEvent) -> Parsed {
        if DEFECT == 2 && item["text"].is_number() {
            return Parsed::reject("never", item["text"].as_str().expect("a text"));
        }
        let (Some(id), Some(kind)) = (json::id(item, "/id"), json::text(item, "/type")) else {
            if DEFECT == 3 {
                return Parsed::default();
            }
            let detail = "an item without /id or /type";
            return Parsed {
                rejected: vec![Rejected::part("missing_field", detail, item.to_string())],
                ..Parsed::default()
            };
        };
        if kind == "typing" {
            return Parsed::skip("typing", "lasts seconds");
        }
        if self.skip_bots && item["bot"] == true {
            return Parsed::skip("bot", "configured");
        }
        Parsed::one(self.event(account, &id, kind, item, raw))
    }

    fn event(&self, account: &str, id: &str, kind: &str, item: &Value, raw: &RawEvent) -> Draft {
        let at = json::text(item, "/at").and_then(Timestamp::parse).unwrap_or(Timestamp::UNIX_EPOCH);
        let key = match DEFECT {
            4 => EventKey::new(format!("{id}/{}", self.instance)),
            10 => EventKey::new("always the same"),
            _ => EventKey::revised(id, json::text(item, "/revision").unwrap_or_default()),
        };
        let kind = match kind {
            "message" if DEFECT == 13 => Kind::Postback,
            "message" => Kind::MessageCreated,
            "edit" => Kind::MessageEdited,
            "delete" => Kind::MessageDeleted,
            other => return Draft::unsupported(key, Channel::Chat, "sample", account, at, other, item.clone()),
        };
        let mut event = Event::new(kind.clone(), Channel::Chat, "sample", account, at);
        event.conversation = Conversation::new(KeyBasis::Channel, json::text(item, "/room").unwrap_or("lobby"));
        event.conversation.thread_id = json::text(item, "/thread").map(str::to_owned);
        if kind != Kind::MessageCreated {
            event.target = Some(Target::message(id));
        }
        if item["own"] == true && DEFECT != 14 {
            event.direction = Direction::OutboundEcho;
        }
        if let Some(text) = json::text(item, "/text") {
            let text = text.repeat(if DEFECT == 15 { 1 + 400_000 / text.len() } else { 1 });
            event.content.push(Part::plain(text.clone()));
            event.text = Some(text);
        }
        if DEFECT == 1 {
            event.text = Some(format!("{} bytes", raw.body.len()));
        }
        if let Some(url) = json::text(item, "/file") {
            let mut file = Attachment::new("1", FetchState::External);
            file.provider_url = Some(url.to_owned());
            event.attachments.push(file);
        }
        Draft::new(key, event)
    }
}

struct SampleWebhook<const DEFECT: u8> {
    secrets: Secrets,
}

impl<const DEFECT: u8> SampleWebhook<DEFECT> {
    fn mac(secret: &str, time: &str, body: &[u8]) -> [u8; 32] {
        let body = if DEFECT == 5 { &body[..body.len().min(10)] } else { body };
        hmac_sha256(secret.as_bytes(), &[time.as_bytes(), b".", body])
    }
}

impl<const DEFECT: u8> Webhook for SampleWebhook<DEFECT> {
    fn admit(&self, request: &RawEvent, _: &Keys, now: Timestamp) -> Admission {
        let one = |name| {
            if DEFECT == 11 {
                request.headers.get(name).ok_or(())
            } else {
                request.headers.unique(name).map_err(|_| ())
            }
        };
        let (Ok(time), Ok(signature)) = (one(TIME), one(SIGNATURE)) else {
            return Admission::Refuse(Refusal::signature("signature headers must be there once"));
        };
        let passes =
            |secret: &connector_sdk::Secret| hex_matches(&Self::mac(secret.expose(), time, &request.body), signature);
        let genuine = if DEFECT == 6 { passes(self.secrets.current()) } else { self.secrets.any(passes) };
        let fresh = Timestamp::from_unix_decimal(time).is_some_and(|at| within(at, now, WINDOW));
        if !genuine || !(fresh || DEFECT == 12) {
            return Admission::Refuse(Refusal::signature("signature does not match, or is old"));
        }
        match json::parse(&request.body).ok().and_then(|doc| json::text(&doc.value, "/challenge").map(str::to_owned)) {
            Some(challenge) => Admission::Answer(Reply::text(200, challenge)),
            None => Admission::Accept,
        }
    }

    fn reply(&self, _: &RawEvent, outcome: &Outcome) -> Reply {
        match outcome {
            Outcome::NotSafeNow { .. } if DEFECT == 9 => Reply::status(200),
            _ => Reply::default_for(outcome),
        }
    }

    fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        let time = now.unix_seconds().to_string();
        let mac = Self::mac(self.secrets.current().expose(), &time, &request.body);
        request.headers.set(SIGNATURE, hex(&mac));
        request.headers.set(TIME, time);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
