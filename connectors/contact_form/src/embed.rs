//! The embed script: the form's HTML and style within a small program that any site can load.

use connector_sdk::RawEvent;
use serde_json::{Value, json};

use crate::form::Form;
use crate::page::{self, View};

const SCRIPT: &str = include_str!("assets/embed.js");
/// Stands in the script where the form's data goes.
const PLACE: &str = "__FORM__";

/// The script for a request to `…/embed.js`.
pub fn script(form: &Form, raw: &RawEvent) -> String {
    let url = raw.uri.split(['?', '#']).next().unwrap_or_default();
    let data = json!({
        "id": form.id,
        "url": url.strip_suffix("/embed.js").unwrap_or(url),
        "lang": form.config.lang,
        "dir": form.direction,
        "style": form.style,
        "html": page::fragment(form, &View::default()),
        "tokenSeconds": form.config.max_seconds,
        "texts": texts(form),
    });
    SCRIPT.replace(PLACE, &literal(&data))
}

fn texts(form: &Form) -> Value {
    let own = |key: &str| form.texts.get(key).to_owned();
    json!({
        "errors": own("errors"),
        "network": own("network"),
        "own_page": own("own_page"),
        "sending": own("sending"),
        "thanks_title": own("thanks_title"),
        "another": own("another"),
        "thanks": form.config.thanks.clone().unwrap_or_else(|| own("thanks")),
    })
}

/// JSON that is also safe within a script element and in old JavaScript.
fn literal(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}
