//! From a body to events: items, the mapping over each, and what its outputs become.

mod event;
mod files;

use std::sync::Arc;

use connector_sdk::schemas::Channel;
use connector_sdk::{ConfigError, FetchedMedia, Parse, Parsed, RawEvent, Rejected, Skipped, Wire, body, json, redact};
use serde_json::{Map, Value};

use crate::id;
use crate::jq::Program;
use crate::recipe::{self, EventIdAt, Recipe};
use crate::verify::Verifier;
use crate::wire::Mapped;

/// Most items of one body; a source's own limit is far lower.
const ITEMS_MAX: usize = 20_000;

/// What a recipe and an instance say about events, without secrets.
pub struct Source {
    pub provider: String,
    pub channel: Channel,
    pub account: String,
    pub attachment_hosts: Vec<String>,
    pub verified_by: Option<&'static str>,
    pub parser_version: String,
}

/// Runs a recipe.
pub struct Parser {
    source: Source,
    program: Program,
    event_id: Option<EventIdAt>,
    items: Option<String>,
    /// Query parameter that may hold the secret.
    token_query: Option<String>,
    verifier: Arc<Verifier>,
}

impl Parser {
    pub fn new(
        name: &str,
        recipe: Recipe,
        program: Program,
        account: String,
        attachment_hosts: Vec<String>,
        verifier: &Arc<Verifier>,
    ) -> Result<Self, ConfigError> {
        let bad = |field: &str, message: &str| recipe::located(name, ConfigError::new(field, message));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if recipe.provider.is_empty() || !recipe.provider.bytes().all(plain) {
            return Err(bad("provider", "must be lower-case letters, digits, '_' and '-'"));
        }
        let channel = event::known_channel(&recipe.channel).map_err(|message| bad("channel", &message))?;
        let at = recipe.event_id.as_ref();
        if at.is_some_and(|at| at.header.is_some() == at.pointer.is_some()) {
            return Err(bad("event_id", "needs either `header` or `pointer`"));
        }
        let pointers = [recipe.items.as_deref(), at.and_then(|at| at.pointer.as_deref())];
        if pointers.into_iter().flatten().any(|pointer| !pointer.starts_with('/')) {
            return Err(bad("", "a JSON pointer begins with '/'"));
        }
        let source = Source {
            provider: recipe.provider,
            channel,
            account,
            attachment_hosts,
            verified_by: verifier.name(),
            parser_version: format!("{}/{}+{name}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        };
        let token_query = recipe.handshake.and_then(|handshake| handshake.token_query);
        let (event_id, items) = (recipe.event_id, recipe.items);
        Ok(Self { source, program, event_id, items, token_query, verifier: verifier.clone() })
    }

    fn body(&self, raw: &RawEvent) -> Parsed {
        let document = match json::parse(&raw.body) {
            Ok(document) => document,
            Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
        let query = query(raw, self.token_query.as_deref());
        let delivery = Delivery { raw, sanitized: document.sanitized, headers: self.headers(raw), query };
        let value = match &self.items {
            None => document.value,
            Some(pointer) => match document.value.pointer(pointer) {
                Some(list @ Value::Array(_)) => list.clone(),
                _ => return Parsed::reject("missing_items", format!("there is no list at {pointer}")),
            },
        };
        let Value::Array(items) = value else { return self.item(&delivery, &value, None) };
        if items.is_empty() {
            return Parsed::skip("empty list", "a batch without items says nothing");
        }
        if items.len() > ITEMS_MAX {
            return Parsed::reject("too_many_items", format!("{} items; at most {ITEMS_MAX} in one body", items.len()));
        }
        let mut parsed = Parsed::default();
        for (index, item) in items.iter().enumerate() {
            parsed.merge(self.item(&delivery, item, Some(index)));
        }
        parsed
    }

    /// One item, all or nothing: events of an item that fails half-way would come twice when it is replayed.
    fn item(&self, delivery: &Delivery<'_>, item: &Value, index: Option<usize>) -> Parsed {
        let text = item.to_string();
        let reject = |code: &'static str, detail: String| {
            let rejected = match index {
                Some(_) => Rejected::part(code, detail, text.clone()),
                None => Rejected::whole(code, detail),
            };
            Parsed { rejected: vec![rejected], ..Parsed::default() }
        };
        if !item.is_object() {
            return reject("not_an_object", "an item must be a JSON object".to_owned());
        }
        let outputs = match self.program.run(&text, &delivery.headers, &delivery.query) {
            Ok(outputs) => outputs,
            Err(error) => return reject("mapping_failed", format!("jq: {error}")),
        };
        if outputs.is_empty() {
            return Parsed::skip("item", "the mapping makes nothing of it");
        }
        let several = outputs.len() > 1;
        let mut parsed = Parsed::default();
        for (number, output) in outputs.into_iter().enumerate() {
            let place = id::Place { item: index, output: several.then_some(number) };
            match Mapped::read(output).and_then(|mapped| self.output(delivery, item, &text, mapped, place)) {
                Ok(one) => parsed.merge(one),
                Err(detail) => return reject("mapping_output", detail),
            }
        }
        parsed
    }

    fn output(
        &self,
        delivery: &Delivery<'_>,
        item: &Value,
        text: &str,
        mapped: Mapped,
        place: id::Place,
    ) -> Result<Parsed, String> {
        if let Some(name) = mapped.skip {
            let skipped = Skipped { item: name, reason: "the recipe skips it by name" };
            return Ok(Parsed { skipped: vec![skipped], ..Parsed::default() });
        }
        let delivery_id = self.event_id.as_ref().and_then(|at| match (&at.header, &at.pointer) {
            (Some(name), _) => delivery.raw.headers.get(name).map(str::to_owned),
            (None, Some(pointer)) => json::id(item, pointer),
            (None, None) => None,
        });
        let own = mapped.id.as_deref();
        let revision = mapped.revision.get();
        let key = id::event(own, delivery_id.as_deref(), text.as_bytes(), place, revision);
        let cx = event::Context { source: &self.source, raw: delivery.raw, item, delivery_id: delivery_id.as_deref() };
        let (mut draft, fetches) = cx.draft(key, mapped)?;
        draft.event.provenance.sanitized |= delivery.sanitized;
        Ok(Parsed { events: vec![draft], fetches, ..Parsed::default() })
    }

    /// What a mapping may see of the headers: no secrets.
    fn headers(&self, raw: &RawEvent) -> Value {
        let mut map = Map::new();
        for (name, value) in raw.headers.iter().filter(|(name, _)| !self.verifier.is_secret(name)) {
            map.entry(name).or_insert_with(|| Value::from(String::from_utf8_lossy(value)));
        }
        Value::Object(map)
    }
}

/// One delivery, and what mappings see of it beside the items.
struct Delivery<'a> {
    raw: &'a RawEvent,
    sanitized: bool,
    headers: Value,
    query: Value,
}

/// The query's parameters but those that may hold a secret, as in the redacted input.
fn query(raw: &RawEvent, token: Option<&str>) -> Value {
    let pairs = body::urlencoded(raw.query().unwrap_or_default().as_bytes());
    let pairs = pairs.into_iter().filter(|(name, _)| is_shown(name, token));
    Value::Object(pairs.map(|(name, value)| (name, Value::from(value))).collect())
}

/// Whether a query parameter may be seen by a recipe and stored.
fn is_shown(name: &str, token: Option<&str>) -> bool {
    token != Some(name) && !redact::names_a_secret(name)
}

impl Parse for Parser {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        if raw.wire != Wire::Fetched {
            return self.body(raw);
        }
        match serde_json::from_slice::<FetchedMedia>(&raw.body) {
            Ok(fetched) => files::fetched(fetched, raw, &self.source),
            Err(error) => Parsed::reject("malformed_fetch_result", format!("line {}", error.line())),
        }
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        let id_header = self.event_id.as_ref().and_then(|at| at.header.as_deref()).map(str::to_ascii_lowercase);
        // What the mapping reads by name stays, so that a replay gives what the input gave.
        let read = self.program.literals().iter().map(String::as_str).filter(|name| !redact::names_a_secret(name));
        let shown: Vec<&str> =
            id_header.as_deref().into_iter().chain(read).filter(|name| !self.verifier.is_secret(name)).collect();
        let mut raw = redact::headers(raw, &shown);
        redact::query(&mut raw, |name| is_shown(name, self.token_query.as_deref()));
        raw
    }
}
