//! From a request to events: which of Slack's forms it is, and who acted.

use connector_sdk::schemas::{Direction, Event as Unified, Kind, Timestamp};
use connector_sdk::{Draft, EventKey, Parse, Parsed, RawEvent, Wire, json, key};
use serde_json::Value;

use crate::rest::{Kept, Rest};
use crate::wire::{Envelope, Event, Text};
use crate::{Slack, events, files, interact, redact, webhook};

pub(crate) const PROVIDER: &str = "slack";
const PARSER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const RETRY_NUMBER: &str = "x-slack-retry-num";

impl Parse for Slack {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        match raw.wire {
            Wire::Http if webhook::is_form(&raw.headers) => interact::form(raw),
            Wire::Http | Wire::Json => self.events_api(raw),
            Wire::Fetched => files::fetched(raw),
            Wire::Mail | Wire::Frames => Parsed::reject("unexpected_wire", "Slack speaks JSON and forms"),
        }
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        redact::input(raw)
    }
}

impl Slack {
    /// Straight into the typed form; only a body with illegal bytes or escapes goes the long way.
    fn events_api(&self, raw: &RawEvent) -> Parsed {
        // As text: looked through for illegal bytes once, not string by string.
        let text = std::str::from_utf8(&raw.body).ok();
        if let Some(envelope) = text.and_then(|text| serde_json::from_str::<Envelope<'_>>(text).ok()) {
            return self.envelope(envelope, raw, false);
        }
        match json::parse(&raw.body) {
            Err(rejected) => Parsed { rejected: vec![rejected], ..Parsed::default() },
            Ok(document) => match serde_json::from_str(&document.value.to_string()) {
                Ok(envelope) => self.envelope(envelope, raw, document.sanitized),
                Err(_) => Parsed::reject("unexpected_shape", "body is no object with an `event` object in it"),
            },
        }
    }

    fn envelope(&self, mut envelope: Envelope<'_>, raw: &RawEvent, sanitized: bool) -> Parsed {
        let Some(kind) = envelope.kind.take() else {
            return Parsed::reject("missing_field", "body has no `type`");
        };
        if kind == "url_verification" {
            return Parsed::skip("url_verification", "a handshake, answered when it came");
        }
        let Some(account) = account(&envelope) else {
            return Parsed::reject("missing_field", "body names no `team_id`");
        };
        let event_time = envelope.rest.read("event_time");
        let cx = Cx {
            raw,
            account: &account,
            event_id: envelope.event_id.as_deref(),
            happened: event_time.and_then(Timestamp::from_unix_seconds).unwrap_or(raw.received_at),
            envelope: envelope.rest,
            sanitized,
        };
        match (&*kind, envelope.event) {
            ("event_callback", Some(event)) => events::event(self, cx, event),
            ("event_callback", None) => Parsed::reject("missing_field", "event_callback has no `event`"),
            ("app_rate_limited", _) => events::rate_limited(cx),
            (other, _) => unsupported(cx, other, ""),
        }
    }

    /// Whether the business itself acted: the app (by the envelope's word) or a configured id.
    pub(crate) fn is_own(&self, envelope: &Rest<'_>, actor: &Event<'_>) -> bool {
        let profile: Option<Value> = actor.app_id.is_none().then(|| actor.rest.value("bot_profile")).flatten();
        let app = actor.app_id.as_deref().or_else(|| profile.as_ref()?.get("app_id")?.as_str());
        let listed = |id: Option<&str>| id.is_some_and(|id| self.own_ids.iter().any(|own| own == id));
        if listed(app) || listed(actor.user.as_deref()) || listed(actor.bot_id.as_deref()) {
            return true;
        }
        if app.is_some() && app == envelope.text("api_app_id").as_deref() {
            return true;
        }
        let Some(user) = actor.user.as_deref() else { return false };
        // Who is not named there is not there: most messages are spared the look.
        if !envelope.raw("authorizations").is_some_and(|raw| raw.get().contains(user)) {
            return false;
        }
        let installs: Option<Vec<Value>> = envelope.read("authorizations");
        installs.unwrap_or_default().iter().any(|install| {
            install.get("is_bot") == Some(&Value::Bool(true))
                && install.get("user_id").and_then(Value::as_str) == Some(user)
        })
    }
}

/// The workspace; for installs on a whole organisation the organisation, where no workspace is named.
fn account<'a>(envelope: &Envelope<'a>) -> Option<Text<'a>> {
    let named = |name: &str| envelope.rest.text(name).map(|text| Text::Owned(text.into_owned()));
    let team = envelope.team_id.clone();
    let team = team.or_else(|| named("context_team_id")).or_else(|| named("enterprise_id"));
    team.filter(|id| !id.is_empty())
}

/// What every event of one input shares.
pub(crate) struct Cx<'a> {
    pub raw: &'a RawEvent,
    pub account: &'a str,
    pub event_id: Option<&'a str>,
    /// By the envelope's clock, in whole seconds.
    pub happened: Timestamp,
    /// The envelope's further fields.
    pub envelope: Rest<'a>,
    pub sanitized: bool,
}

impl Cx<'_> {
    /// An event with the envelope's share of it.
    pub fn event(&self, kind: Kind, at: Option<&str>, provider_type: impl Into<String>) -> Box<Unified> {
        let at = at.and_then(Timestamp::from_unix_decimal).unwrap_or(self.happened);
        let channel = connector_sdk::schemas::Channel::Chat;
        let mut event = Box::new(Unified::new(kind, channel, PROVIDER, self.account, at));
        event.provenance.provider_event_id = self.event_id.map(str::to_owned);
        event.provenance.provider_type = Some(provider_type.into());
        stamp_input(&mut event, self.raw, self.sanitized);
        event
    }

    /// Slack's id of the event; where it gave none, one of the bytes.
    pub fn key(&self) -> EventKey {
        EventKey::new(self.event_id.map_or_else(|| content_key(self.raw), str::to_owned))
    }

    /// Ends an event: what has no field of its own is kept beside it.
    pub fn draft(self, key: EventKey, mut event: Box<Unified>, rest: Rest<'_>) -> Draft {
        let mut data = Rest::default();
        if !rest.is_empty() {
            data.insert(Text::Borrowed("event"), Kept::Rest(rest));
        }
        if !self.envelope.is_empty() {
            data.insert(Text::Borrowed("envelope"), Kept::Rest(self.envelope));
        }
        event.provider_data = Some(data.to_json());
        Draft::new(key, event)
    }
}

/// A key of the bytes without their secrets: the input as it is kept gives the same one when it is replayed.
pub(crate) fn content_key(raw: &RawEvent) -> String {
    key::content_key(&[&redact::input(raw).body])
}

/// How the input came.
pub(crate) fn stamp_input(event: &mut Unified, raw: &RawEvent, sanitized: bool) {
    event.provenance.parser_version = Some(PARSER.to_owned());
    event.provenance.sanitized = sanitized;
    if raw.wire == Wire::Http {
        event.provenance.verified_by = Some("hmac-sha256".to_owned());
        event.provenance.redelivery = raw.headers.get(RETRY_NUMBER).and_then(|number| number.trim().parse().ok());
    }
}

/// Direction of what this actor did.
pub(crate) fn direction(slack: &Slack, envelope: &Rest<'_>, actor: &Event<'_>) -> Direction {
    match actor.user.as_deref() {
        _ if slack.is_own(envelope, actor) => Direction::OutboundEcho,
        // Slack itself.
        Some("USLACK" | "USLACKBOT") => Direction::Internal,
        _ => Direction::Inbound,
    }
}

/// A type that is not modelled, whole: the `event`, or the body where the outer type is the unknown one.
pub(crate) fn unsupported(cx: Cx<'_>, kind: &str, subtype: &str) -> Parsed {
    let mut raw = json::parse(&cx.raw.body).map(|document| document.value).unwrap_or(Value::Null);
    redact::mask(&mut raw);
    let event = if cx.event_id.is_some() { raw.get_mut("event").map(Value::take) } else { None };
    let name = if subtype.is_empty() { kind.to_owned() } else { format!("{kind}/{subtype}") };
    let mut draft = Draft::unsupported(
        cx.key(),
        connector_sdk::schemas::Channel::Chat,
        PROVIDER,
        cx.account,
        cx.happened,
        name.clone(),
        event.unwrap_or(raw),
    );
    draft.event.provenance = cx.event(Kind::Unsupported, None, name).provenance;
    Parsed::one(cx.draft(draft.key, draft.event, Rest::default()))
}
