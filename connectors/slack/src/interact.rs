//! Forms: buttons, menus, dialogs and shortcuts (`payload`), and slash commands. None has an event id of Slack's: the
//! `trigger_id` names the use.
//!
//! Source: docs.slack.dev `reference/interaction-payloads` and `interactivity/implementing-slash-commands`.

use connector_sdk::schemas::{
    Actor, Channel, Conversation, Event as Unified, FormField, Identity, KeyBasis, Kind, Part, Target, scheme,
};
use connector_sdk::{Draft, EventKey, Parsed, RawEvent, Timestamp, body, json, text as hygiene};
use serde_json::{Map, Value};

use crate::message::USER_ID;
use crate::parse::{PROVIDER, content_key, stamp_input};
use crate::{events, id, message, redact, skipped, webhook};

/// A signed form.
pub(crate) fn form(raw: &RawEvent) -> Parsed {
    let fields = body::urlencoded(&raw.body);
    let field = |name: &str| fields.iter().find(|(have, _)| have == name).map(|(_, value)| &**value);
    if let Some(payload) = field("payload") {
        return match json::parse(payload.as_bytes()) {
            Ok(document) => interaction(raw, document),
            Err(rejected) => Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
    }
    if field("command").is_some() {
        return command(raw, &fields);
    }
    Parsed::reject("unexpected_shape", "form with neither `payload` nor `command`")
}

fn interaction(raw: &RawEvent, document: json::Document) -> Parsed {
    let mut payload = document.value;
    redact::mask(&mut payload);
    let Some(kind) = json::text(&payload, "/type").map(str::to_owned) else {
        return Parsed::reject("missing_field", "interaction without `type`");
    };
    let account = ["/team/id", "/user/team_id", "/enterprise/id"].iter().find_map(|at| json::text(&payload, at));
    let Some(account) = account.map(str::to_owned) else {
        return Parsed::reject("missing_field", "interaction names no team");
    };
    let content = match &*kind {
        "block_actions" => actions(&payload, block_action),
        "interactive_message" => actions(&payload, legacy_action),
        "shortcut" | "message_action" => vec![interactive("menu", json::text(&payload, "/callback_id"), None, None)],
        "view_submission" => view(&payload),
        "dialog_submission" => dialog(&payload),
        other => {
            return match skipped::reason(other) {
                Some(reason) => Parsed::skip(kind, reason),
                None => unknown(raw, account, kind, payload),
            };
        }
    };
    let mut event = Unified::new(Kind::Postback, Channel::Chat, PROVIDER, account, happened(raw, &payload));
    stamp_input(&mut event, raw, document.sanitized);
    event.provenance.provider_type = Some(kind);
    event.sender = user(json::text(&payload, "/user/id"), json::text(&payload, "/user/username"));
    event.text = summary(&content);
    event.content = content;
    place(&mut event, &payload);
    finish(raw, event, json::text(&payload, "/trigger_id").map(str::to_owned), payload)
}

/// When it was used: the action's own clock, else the request's.
fn happened(raw: &RawEvent, payload: &Value) -> Timestamp {
    ["/actions/0/action_ts", "/action_ts"]
        .iter()
        .find_map(|at| Timestamp::from_unix_decimal(json::text(payload, at)?))
        .or_else(|| webhook::seconds(raw.headers.get(webhook::TIMESTAMP)?))
        .unwrap_or(raw.received_at)
}

fn user(id: Option<&str>, name: Option<&str>) -> Option<Actor> {
    let mut identities = vec![Identity::by_provider(USER_ID, id?)];
    identities.extend(name.map(|name| Identity::by_provider(scheme::USERNAME, name)));
    Some(Actor::new(identities))
}

/// The name of a channel; conversations without one come with a stand-in.
fn channel_name(name: &str) -> Option<String> {
    (!matches!(name, "directmessage" | "privategroup")).then(|| hygiene::one_line(name))
}

/// Conversation, and the message that the button or menu belongs to.
fn place(event: &mut Unified, payload: &Value) {
    let first = |places: [&str; 2]| places.into_iter().find_map(|at| json::text(payload, at));
    let channel = first(["/channel/id", "/container/channel_id"]);
    let ts = first(["/container/message_ts", "/message/ts"]).or_else(|| json::text(payload, "/message_ts"));
    let thread = first(["/message/thread_ts", "/container/thread_ts"]);
    event.conversation = match (channel, ts) {
        (Some(channel), Some(ts)) => {
            event.target = Some(Target::message(id::message(channel, ts)));
            message::conversation(channel, ts, thread, None)
        }
        (Some(channel), None) => events::in_channel(channel, None),
        // A dialog belongs to nothing but the person who filled it in.
        (None, _) => Conversation::new(KeyBasis::Sender, json::text(payload, "/user/id").unwrap_or_default()),
    };
    event.conversation.title = json::text(payload, "/channel/name").and_then(channel_name);
}

fn finish(raw: &RawEvent, mut event: Unified, trigger: Option<String>, payload: Value) -> Parsed {
    let key = EventKey::new(trigger.clone().unwrap_or_else(|| content_key(raw)));
    event.provenance.provider_event_id = trigger;
    event.provider_data = Some(Value::Object(Map::from_iter([("payload".to_owned(), payload)])).into());
    Parsed::one(Draft::new(key, event))
}

fn unknown(raw: &RawEvent, account: String, kind: String, payload: Value) -> Parsed {
    let trigger = json::text(&payload, "/trigger_id").map(str::to_owned);
    let key = EventKey::new(trigger.clone().unwrap_or_else(|| content_key(raw)));
    let at = happened(raw, &payload);
    let mut draft = Draft::unsupported(key, Channel::Chat, PROVIDER, account, at, kind.clone(), payload);
    stamp_input(&mut draft.event, raw, false);
    draft.event.provenance.provider_type = Some(kind);
    draft.event.provenance.provider_event_id = trigger;
    Parsed::one(draft)
}

fn command(raw: &RawEvent, fields: &[(String, String)]) -> Parsed {
    let field =
        |name: &str| fields.iter().find(|(have, _)| have == name).map(|(_, value)| &**value).filter(|v| !v.is_empty());
    let (Some(command), Some(account)) = (field("command"), field("team_id").or_else(|| field("enterprise_id"))) else {
        return Parsed::reject("missing_field", "slash command without `command` or `team_id`");
    };
    let mut data: Map<String, Value> =
        fields.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    data.remove("ssl_check");
    let mut data = Value::Object(data);
    redact::mask(&mut data);
    let mut event = Unified::new(Kind::Postback, Channel::Chat, PROVIDER, account, happened(raw, &Value::Null));
    stamp_input(&mut event, raw, false);
    event.provenance.provider_type = Some("slash_command".to_owned());
    event.sender = user(field("user_id"), field("user_name"));
    let words = field("text").map(|text| crate::text::plain(text).text.into_owned());
    event.text = Some(words.as_ref().map_or_else(|| command.to_owned(), |words| format!("{command} {words}")));
    event.content.push(interactive("command", Some(command), None, words));
    if let Some(channel) = field("channel_id") {
        event.conversation = events::in_channel(channel, None);
        event.conversation.title = field("channel_name").and_then(channel_name);
    }
    finish(raw, event, field("trigger_id").map(str::to_owned), data)
}

fn interactive(action: &str, id: Option<&str>, title: Option<&str>, payload: Option<String>) -> Part {
    Part::Interactive {
        action: action.to_owned(),
        id: id.map(str::to_owned),
        title: title.map(hygiene::one_line),
        payload,
    }
}

fn actions(payload: &Value, part: impl Fn(&Value, &Value) -> Part) -> Vec<Part> {
    let actions = payload.get("actions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    actions.iter().map(|action| part(payload, action)).collect()
}

fn block_action(_payload: &Value, action: &Value) -> Part {
    let sort = if json::text(action, "/type") == Some("button") { "button" } else { "list" };
    let title = json::text(action, "/selected_option/text/text").or_else(|| json::text(action, "/text/text"));
    let chosen = chosen(action);
    interactive(sort, json::text(action, "/action_id"), title, (!chosen.is_empty()).then(|| chosen.join("\n")))
}

fn legacy_action(_payload: &Value, action: &Value) -> Part {
    let sort = if json::text(action, "/type") == Some("button") { "button" } else { "list" };
    let value = json::text(action, "/selected_options/0/value").or_else(|| json::text(action, "/value"));
    interactive(sort, json::text(action, "/name"), None, value.map(str::to_owned))
}

/// A dialog that was sent off: which one, and what was filled in.
fn view(payload: &Value) -> Vec<Part> {
    let callback = json::text(payload, "/view/callback_id").or_else(|| json::text(payload, "/view/id"));
    let title = json::text(payload, "/view/title/text");
    let blocks = payload.pointer("/view/blocks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let label = |block_id: &str| {
        let block = blocks.iter().find(|block| json::text(block, "/block_id") == Some(block_id))?;
        json::text(block, "/label/text").map(hygiene::one_line)
    };
    let mut fields = Vec::new();
    for (block_id, inputs) in payload.pointer("/view/state/values").and_then(Value::as_object).into_iter().flatten() {
        for (action_id, input) in inputs.as_object().into_iter().flatten() {
            fields.push(FormField {
                key: format!("{block_id}.{action_id}"),
                label: label(block_id),
                field_type: json::text(input, "/type").map(str::to_owned),
                values: chosen(input),
            });
        }
    }
    sent_off(callback, title, fields)
}

/// A dialog of the old kind.
fn dialog(payload: &Value) -> Vec<Part> {
    let values = payload.get("submission").and_then(Value::as_object).into_iter().flatten();
    let fields = values
        .map(|(name, value)| FormField {
            key: name.clone(),
            label: None,
            field_type: None,
            values: value.as_str().map(str::to_owned).into_iter().collect(),
        })
        .collect();
    sent_off(json::text(payload, "/callback_id"), None, fields)
}

fn sent_off(form: Option<&str>, title: Option<&str>, fields: Vec<FormField>) -> Vec<Part> {
    let form_id = form.unwrap_or_default().to_owned();
    let form_name = title.map(hygiene::one_line);
    vec![interactive("view", form, title, None), Part::Form { form_id, form_name, fields, page_url: None }]
}

/// What an input holds: typed text, chosen options, dates, people, channels.
fn chosen(input: &Value) -> Vec<String> {
    let value = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(option) => option.get("value").or_else(|| option.get("id"))?.as_str().map(str::to_owned),
        _ => None,
    };
    let mut values = Vec::new();
    for (name, held) in input.as_object().into_iter().flatten() {
        match held {
            _ if name == "rich_text_value" => {
                values.push(crate::text::of_blocks(&Value::Array(vec![held.clone()])).text.into_owned());
            }
            Value::Array(list) if name.starts_with("selected_") || name == "files" => {
                values.extend(list.iter().filter_map(value));
            }
            _ if name.starts_with("selected_") || name == "value" => values.extend(value(held)),
            _ => {}
        }
    }
    values
}

/// Plain text of what was chosen or filled in.
fn summary(content: &[Part]) -> Option<String> {
    let mut lines = Vec::new();
    for part in content {
        match part {
            Part::Interactive { id, title, payload, .. } => {
                lines.extend(title.as_ref().or(payload.as_ref()).or(id.as_ref()).cloned());
            }
            Part::Form { fields, .. } => {
                lines.extend(fields.iter().filter(|field| !field.values.is_empty()).map(|field| {
                    format!("{}: {}", field.label.as_ref().unwrap_or(&field.key), field.values.join(", "))
                }));
            }
            _ => {}
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
