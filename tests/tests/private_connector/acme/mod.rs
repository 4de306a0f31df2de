//! A private connector, whole: the pager of the Acme company calls us with JSON and a secret header.

use std::sync::Arc;

use connector_sdk::schemas::{Actor, Channel, Conversation, Event, Identity, KeyBasis, Kind, Part};
use connector_sdk::verify::Secrets;
use connector_sdk::{
    Admission, Assets, BuildContext, ConfigError, Connector, ConnectorKind, Draft, EventKey, Intake, Keys, Parse,
    Parsed, RawEvent, Refusal, Shape, SourceClass, Timestamp, Webhook, json,
};
use include_dir::{Dir, include_dir};
use schemars::JsonSchema;
use serde::Deserialize;

const SECRET_HEADER: &str = "x-acme-secret";

pub struct Acme;

/// Options of an instance.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What Acme sends in `X-Acme-Secret`.
    secret: Secrets,
}

impl ConnectorKind for Acme {
    const NAME: &'static str = "acme";
    const SUMMARY: &'static str = "Pages of the Acme company";
    const CHANNEL: Channel = Channel::Chat;
    const SHAPES: &'static [Shape] = &[Shape::Webhook];
    // In a crate of its own: `connector_sdk::assets!()`.
    const ASSETS: Assets = Assets {
        readme: include_str!("README.md"),
        example: include_str!("config.example.yaml"),
        kinds: include_str!("kinds.toml"),
        fixtures: &FIXTURES,
    };
    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        let hook = Arc::new(Hook { secret: config.secret });
        Ok(Connector::new(Arc::new(Pages), vec![Intake::Webhook(hook)], SourceClass::Ephemeral))
    }
}

static FIXTURES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/tests/private_connector/acme/fixtures");

/// Admission: pure, over the raw bytes. The driver reads the body, waits for Kafka and answers.
struct Hook {
    secret: Secrets,
}

impl Webhook for Hook {
    fn admit(&self, request: &RawEvent, _: &Keys, _: Timestamp) -> Admission {
        match request.headers.unique(SECRET_HEADER) {
            Ok(given) if self.secret.any(|secret| secret.matches(given.as_bytes())) => Admission::Accept,
            Ok(_) => Admission::Refuse(Refusal::signature("X-Acme-Secret is wrong")),
            Err(fault) => Admission::Refuse(Refusal::signature(format!("X-Acme-Secret: {fault}"))),
        }
    }

    fn sign(&self, request: &mut RawEvent, _: Timestamp) {
        request.headers.set(SECRET_HEADER, self.secret.current().expose().to_owned());
    }
}

/// Parsing: pure and total. What is not understood is rejected, never dropped.
struct Pages;

impl Parse for Pages {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let body = match json::parse(&raw.body) {
            Ok(document) => document.value,
            Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
        let (Some(id), Some(text)) = (json::id(&body, "/id"), json::text(&body, "/text")) else {
            return Parsed::reject("missing_field", "a page has an id and a text");
        };
        let mut event = Event::new(Kind::MessageCreated, Channel::Chat, Acme::NAME, "pager", raw.received_at);
        event.sender = json::id(&body, "/from").map(|from| Actor::new(vec![Identity::by_provider("acme_id", from)]));
        event.conversation = Conversation::new(KeyBasis::Event, &id);
        event.text = Some(text.to_owned());
        event.content = vec![Part::plain(text)];
        event.provider_data = Some(body.into());
        Parsed::one(Draft::new(EventKey::new(id), event))
    }
}
