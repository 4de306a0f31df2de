//! The form's addresses: page, script, token, thanks, preflight, and the submission.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{AddressRate, Admission, Keys, Mount, Outcome, RawEvent, Reply, Timestamp, Webhook, body};
use serde_json::{Value, json};

use crate::config::SpamPolicy;
use crate::form::Form;
use crate::page::{self, View};
use crate::wire::{self, Encoding};
use crate::{check, embed, origin, reply, spam, token};

const MOUNT: &str = "/forms/";
/// Seconds for which the script may be cached; its token is fetched apart.
const SCRIPT_CACHE: &str = "public, max-age=300";

/// [`Webhook`] of one form.
pub struct FormWebhook(pub Arc<Form>);

/// Where within the form's addresses a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The instance's path segment, percent-encoding kept.
    pub instance: &'a str,
    /// What follows it: empty, `/`, `/token`, …
    pub below: &'a str,
}

impl<'a> Place<'a> {
    /// Reads a request's path; the public URL may have a path of its own before the mount.
    pub fn of(raw: &'a RawEvent) -> Self {
        let path = raw.path();
        let rest = path.find(MOUNT).map_or("", |at| &path[at + MOUNT.len()..]);
        let (instance, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Self { instance, below }
    }
}

impl Webhook for FormWebhook {
    fn mount(&self) -> Mount {
        Mount::Forms
    }

    fn methods(&self) -> &[&'static str] {
        &["GET", "HEAD", "POST", "OPTIONS"]
    }

    fn rate(&self) -> Option<AddressRate> {
        let rate = &self.0.config.rate;
        let every = Duration::from_secs(rate.every_seconds);
        (rate.burst > 0 && !every.is_zero()).then_some(AddressRate { burst: rate.burst, every })
    }

    fn body_max_bytes(&self) -> Option<usize> {
        Some(self.0.config.body_max_bytes)
    }

    fn admit(&self, request: &RawEvent, _: &Keys, now: Timestamp) -> Admission {
        let form = &*self.0;
        match (request.method.as_str(), Place::of(request).below) {
            ("GET" | "HEAD", below) => self.get(request, below, now),
            ("OPTIONS", _) => match origin::preflight(form, request) {
                Some(reply) => Admission::Answer(reply),
                None => Admission::Refuse(reply::forbidden(form, request)),
            },
            ("POST", "" | "/") => self.post(request, now),
            _ => Admission::Refuse(reply::not_found(form, request)),
        }
    }

    fn reply(&self, request: &RawEvent, outcome: &Outcome) -> Reply {
        reply::outcome(&self.0, request, outcome)
    }

    /// Adds the token of a page that is just old enough.
    fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        if request.method != "POST" {
            return;
        }
        let token = reply::aged_token(&self.0, now);
        let Some(body) = with_token(request, token) else { return };
        if request.headers.get("content-length").is_some() {
            request.headers.set("content-length", body.len().to_string());
        }
        request.body = body.into();
    }
}

impl FormWebhook {
    fn get(&self, request: &RawEvent, below: &str, now: Timestamp) -> Admission {
        let form = &*self.0;
        let token = || token::issue(&form.config.secret, &form.id, now);
        let answer = match below {
            "" | "/" => {
                let referrer = request.headers.get("referer").map(connector_sdk::text::one_line);
                let submission_id = token::page_id(&form.config.secret, &form.id, request, now);
                let view = View { token: token(), submission_id, referrer, ..View::default() };
                reply::html(form, 200, page::page(form, &view))
            }
            "/thanks" => {
                let text = form.config.thanks.as_deref().unwrap_or_else(|| form.texts.get("thanks"));
                let back = format!("../{}", Place::of(request).instance);
                let page = page::notice(form, form.texts.get("thanks_title"), text, Some(&back));
                reply::html(form, 200, page)
            }
            "/embed.js" => Reply::new(200, "text/javascript; charset=utf-8", embed::script(form, request))
                .header("cache-control", SCRIPT_CACHE)
                .header("cross-origin-resource-policy", "cross-origin")
                .header("x-content-type-options", "nosniff"),
            "/token" => reply::json(form, request, 200, &json!({ "token": token() })),
            _ => return Admission::Refuse(reply::not_found(form, request)),
        };
        Admission::Answer(answer)
    }

    fn post(&self, request: &RawEvent, now: Timestamp) -> Admission {
        let form = &*self.0;
        let submission = match wire::read(request) {
            Ok(submission) => submission,
            Err(error) => return Admission::Refuse(reply::unreadable(form, request, &error)),
        };
        let errors = check::errors(form, &submission);
        if !errors.is_empty() {
            return Admission::Refuse(reply::invalid(form, request, &submission, &errors, now));
        }
        if form.config.spam == SpamPolicy::Refuse {
            let reasons = spam::reasons(form, request, &submission, now);
            if !reasons.is_empty() {
                return Admission::Refuse(reply::suspected(form, request, &submission, &reasons, now));
            }
        }
        Admission::Accept
    }
}

/// The body with its token replaced or added; `None` where it cannot be read.
fn with_token(request: &RawEvent, token: String) -> Option<Vec<u8>> {
    match wire::encoding(request).ok()? {
        Encoding::Urlencoded => {
            let own = |pair: &&[u8]| !pair.is_empty() && !pair.starts_with(b"_token=");
            let mut pairs: Vec<&[u8]> = request.body.split(|b| *b == b'&').filter(own).collect();
            let pair = body::to_urlencoded([(wire::TOKEN, token.as_str())]);
            pairs.push(pair.as_bytes());
            Some(pairs.join(&b'&'))
        }
        Encoding::Multipart => {
            let mut parts = wire::parts(request).ok()?;
            parts.retain(|part| part.name != wire::TOKEN);
            let name = wire::TOKEN.to_owned();
            parts.push(body::Part { name, file_name: None, content_type: None, bytes: token.into() });
            wire::write_parts(request.headers.get("content-type")?, &parts)
        }
        Encoding::Json => {
            let mut value: Value = serde_json::from_slice(&request.body).ok()?;
            value.as_object_mut()?.insert(wire::TOKEN.to_owned(), Value::from(token));
            Some(value.to_string().into_bytes())
        }
    }
}
