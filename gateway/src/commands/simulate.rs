//! `inlet simulate`: sends a fixture, freshly signed, to a running gateway.

use clap::Args;
use connector_sdk::fixture::{Case, Expect, cases};
use connector_sdk::{BuildContext, Entry, Http, HttpRequest, Intake, Mount, Secret, Wire};
use serde_json::Value;

use super::{Failure, block_on, find, output};
use crate::io::http::Client;

/// What is shown of an answer's body.
const ANSWER_MAX_BYTES: usize = 200;

#[derive(Args)]
pub struct Options {
    /// Connector whose fixture is sent
    name: String,
    /// Fixture; left out: they are listed
    case: Option<String>,
    /// The gateway's public listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    to: String,
    /// Instance to send to; default: the connector's name, for forms 'contact'
    #[arg(long)]
    instance: Option<String>,
    /// Secret of the instance
    #[arg(long, default_value = "demo-secret", env = "INLET_SIMULATE_SECRET", hide_env_values = true)]
    secret: String,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let entry = find(entries, &options.name)?;
    let all = cases(entry.assets.fixtures).map_err(Failure::failed)?;
    let sendable: Vec<_> =
        all.into_iter().filter(|case| case.raw.wire == Wire::Http && case.file.admit == Expect::Accept).collect();
    if sendable.is_empty() {
        return Err(Failure::wrong_use(format!(
            "'{}' has no webhook to send to; it asks its source itself",
            entry.name
        )));
    }
    let Some(name) = &options.case else {
        let rows: Vec<_> = sendable.iter().map(|case| vec![case.name.clone(), case.file.summary.clone()]).collect();
        return output::print(&output::table(&["CASE", "WHAT"], &rows));
    };
    let case = sendable.iter().find(|case| case.name == *name).ok_or_else(|| {
        let near = crate::config::suggest::nearest(name, sendable.iter().map(|case| case.name.as_str()));
        let hint = near
            .map_or_else(|| format!("`inlet simulate {}` lists them", entry.name), |n| format!("did you mean '{n}'?"));
        Failure::wrong_use(format!("no case '{name}'; {hint}"))
    })?;
    block_on(send(options, entry, case))
}

async fn send(options: &Options, entry: &'static Entry, case: &Case) -> Result<(), Failure> {
    let mut config = case.options();
    use_secret(&mut config, &(entry.schema)(), &options.secret);
    let cx = BuildContext { instance: entry.name.to_owned(), public_url: Some(options.to.clone()) };
    let connector = (entry.build)(&config, &cx).map_err(|e| Failure::failed(format!("fixture's options: {e}")))?;
    let webhook = connector
        .intakes
        .iter()
        .find_map(|intake| match intake {
            Intake::Webhook(webhook) => Some(webhook.clone()),
            _ => None,
        })
        .ok_or_else(|| Failure::wrong_use(format!("'{}' has no webhook", entry.name)))?;
    let (mount, default) = match webhook.mount() {
        Mount::In => ("in", entry.name),
        Mount::Forms => ("forms", "contact"),
    };
    let instance = options.instance.as_deref().unwrap_or(default);
    let mut raw = case.raw.clone();
    let query = raw.query().map(|query| format!("?{query}")).unwrap_or_default();
    raw.uri = format!("{}/{mount}/{instance}{query}", options.to.trim_end_matches('/'));
    let now = crate::clock::now();
    raw.received_at = now;
    webhook.sign(&mut raw, now);
    let mut request = HttpRequest::post(&raw.uri, "", raw.body.clone());
    request.headers.clear();
    for (name, value) in raw.headers.iter() {
        if matches!(name, "host" | "content-length" | "connection" | "accept-encoding") {
            continue;
        }
        // A handful of header names a process: leaking them is how they become 'static.
        request.headers.push((String::leak(name.to_owned()), String::from_utf8_lossy(value).into_owned()));
    }
    let client = Client::new().map_err(Failure::failed)?;
    let response =
        client.send(request).await.map_err(|e| Failure::failed(format!("{e}; is a gateway running? see --to")))?;
    let body = connector_sdk::text::one_line(&String::from_utf8_lossy(&response.body));
    let (body, cut) = connector_sdk::text::cut(&body, ANSWER_MAX_BYTES);
    println!("{} → {} {body}{}", raw.uri, response.status, if cut { "…" } else { "" });
    match response.status {
        200..=399 => Ok(()),
        401 => Err(Failure::failed("refused: does the instance have another secret? see --secret")),
        404 => Err(Failure::failed("the gateway has no such instance; see --instance")),
        _ => Err(Failure::failed("not taken")),
    }
}

/// Puts the secret in place of every secret of the fixture's options, found by the schema's `writeOnly`.
fn use_secret(config: &mut Value, schema: &Value, secret: &str) {
    let Some(map) = config.as_object_mut() else { return };
    for (key, value) in map.iter_mut() {
        let property = &schema["properties"][key.as_str()];
        if is_secret(property, schema, 0) {
            *value = Value::from(Secret::new(secret).expose());
        }
    }
}

fn is_secret(property: &Value, root: &Value, depth: usize) -> bool {
    const DEPTH_MAX: usize = 8;
    if depth > DEPTH_MAX {
        return false;
    }
    let referred = property["$ref"].as_str().and_then(|target| root.pointer(target.trim_start_matches('#')));
    property["writeOnly"] == true
        || referred.is_some_and(|target| is_secret(target, root, depth + 1))
        || ["anyOf", "oneOf", "allOf"].iter().any(|key| {
            property[*key].as_array().is_some_and(|list| list.iter().any(|item| is_secret(item, root, depth + 1)))
        })
}
