//! Which sites may send the form, and what CORS says to them.

use connector_sdk::{RawEvent, Reply};
use url::Url;

use crate::form::Form;

/// Seconds for which a browser may remember a preflight's answer.
const PREFLIGHT_SECONDS: &str = "600";

/// Where a request comes from, by its Origin header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Not a browser's cross-origin request: no header, or the form's own page.
    Own,
    /// On the allow-list.
    Allowed(&'a str),
    Foreign,
}

/// Classifies a request. The page's own origin is known by `public_url`, by the Host header, or by the browser's word.
pub fn of<'a>(form: &Form, raw: &'a RawEvent) -> Origin<'a> {
    let Some(origin) = raw.headers.get("origin") else { return Origin::Own };
    let listed = form.config.allowed_origins.iter().any(|allowed| allowed == origin);
    if listed || (origin == "null" && form.config.allow_null_origin) {
        return Origin::Allowed(origin);
    }
    let by_url = Url::parse(&raw.uri).is_ok_and(|url| url.origin().ascii_serialization() == origin);
    let by_host = raw.headers.get("host").is_some_and(|host| origin.split_once("://").is_some_and(|(_, o)| o == host));
    if by_url || by_host || raw.headers.get("sec-fetch-site") == Some("same-origin") {
        return Origin::Own;
    }
    Origin::Foreign
}

/// Lets an allowed site's script read the answer, errors too.
pub fn share(form: &Form, raw: &RawEvent, reply: Reply) -> Reply {
    let reply = reply.header("vary", "Origin");
    match of(form, raw) {
        Origin::Allowed(origin) => reply.header("access-control-allow-origin", origin),
        Origin::Own | Origin::Foreign => reply,
    }
}

/// Answer to `OPTIONS`; `None` where the origin may not send.
pub fn preflight(form: &Form, raw: &RawEvent) -> Option<Reply> {
    let reply = share(form, raw, Reply::status(204));
    match of(form, raw) {
        Origin::Foreign => None,
        Origin::Own => Some(reply.header("allow", "GET, HEAD, POST, OPTIONS")),
        Origin::Allowed(_) => Some(
            reply
                .header("access-control-allow-methods", "GET, POST, OPTIONS")
                .header("access-control-allow-headers", "content-type, idempotency-key, x-requested-with")
                .header("access-control-max-age", PREFLIGHT_SECONDS),
        ),
    }
}
