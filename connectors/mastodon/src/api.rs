//! Calls of the client API: the token, the rate limit's headers, and what each status means.
//!
//! Source: mastodon/documentation, pages *Rate limits*, *Notifications API methods*, *Statuses API methods*.

use std::time::Duration;

use connector_sdk::{Bytes, HttpFault, HttpRequest, HttpResponse, IntakeError, Io, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use url::form_urlencoded;

use crate::Options;
use crate::wire::id_order;

/// Notifications asked for at once: the API's maximum. Servers may give fewer.
pub const PAGE_LIMIT: usize = 80;
/// Longest pause that a rate limit's reset time may ask for; the API's window is five minutes.
const RATE_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// One notification as it came.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub json: Bytes,
}

/// One page of notifications.
#[derive(Debug, Default)]
pub struct Listing {
    /// By id, oldest first, each once.
    pub entries: Vec<Entry>,
    /// Items in which no id can be found.
    pub broken: Vec<Bytes>,
    /// How long to wait, where the rate limit is used up.
    pub wait: Option<Duration>,
}

/// What there is at an address.
pub enum Found<T> {
    There(T),
    /// 404 or 410.
    Gone(u16),
    /// Over the cap of an answer.
    TooLarge,
}

/// The API of the configured server.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    pub options: &'a Options,
    pub io: &'a Io,
}

impl Api<'_> {
    /// A page of notifications between two ids (both exclusive); with `above`, in the server's choice of the oldest or
    /// the newest page (walk.rs), without it the newest.
    pub async fn notifications(
        &self,
        above: Option<&str>,
        below: Option<&str>,
        types: &[&str],
        limit: usize,
    ) -> Result<Listing, IntakeError> {
        let path = format!("/api/v1/notifications?{}", self.query(above, below, types, limit));
        let response = self.get(&path).await?.ok("the notifications of the server")?;
        let mut listing = Listing { wait: used_up(&response), ..Listing::default() };
        for item in decode::<Vec<Box<RawValue>>>("notifications", &response)? {
            let json = Bytes::from(String::from(Box::<str>::from(item)));
            let Some(id) = notification_id(&json) else {
                listing.broken.push(json);
                continue;
            };
            // Anything else: a server that does not know the parameter.
            if above.is_none_or(|above| id_order(&id, above).is_gt())
                && below.is_none_or(|below| id_order(&id, below).is_lt())
            {
                listing.entries.push(Entry { id, json });
            }
        }
        listing.entries.sort_by(|a, b| id_order(&a.id, &b.id));
        listing.entries.dedup_by(|a, b| a.id == b.id);
        Ok(listing)
    }

    fn query(&self, above: Option<&str>, below: Option<&str>, types: &[&str], limit: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        if let Some(above) = above {
            // `min_id` asks for the page right above; servers that know only `since_id` give the newest one.
            query.append_pair("min_id", above).append_pair("since_id", above);
        }
        if let Some(below) = below {
            query.append_pair("max_id", below);
        }
        for name in types {
            query.append_pair("types[]", name);
        }
        for name in &self.options.exclude_types {
            query.append_pair("exclude_types[]", name);
        }
        query.finish()
    }

    /// What is at a path; 404 and 410 are answers, not errors.
    pub async fn find<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<Found<T>, IntakeError> {
        let response = match self.exchange(path).await {
            Ok(response) => response,
            Err(HttpFault::TooLarge { .. }) => return Ok(Found::TooLarge),
            Err(fault) => return Err(fault.into()),
        };
        if matches!(response.status, 404 | 410) {
            return Ok(Found::Gone(response.status));
        }
        let response = limited(response)?.ok(what)?;
        decode(what, &response).map(Found::There)
    }

    /// What has to be at a path.
    pub async fn read<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, IntakeError> {
        decode(what, &self.get(path).await?.ok(what)?)
    }

    async fn get(&self, path: &str) -> Result<HttpResponse, IntakeError> {
        limited(self.exchange(path).await?)
    }

    async fn exchange(&self, path: &str) -> Result<HttpResponse, HttpFault> {
        let url = format!("{}{path}", self.options.base_url);
        let request = HttpRequest::get(url).bearer(&self.options.token).header("accept", "application/json");
        self.io.http.send(request).await
    }
}

/// The id of a notification's JSON, as text, whether the server wrote text or a number.
fn notification_id(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: Value,
    }
    match serde_json::from_slice::<OnlyId>(json).ok()?.id {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn decode<T: DeserializeOwned>(what: &str, response: &HttpResponse) -> Result<T, IntakeError> {
    // One broken character must not stop the stream: it is replaced.
    let text = String::from_utf8_lossy(&response.body);
    // A maintenance page or a captive portal answers 200 as well: worth another try, not a broken instance.
    serde_json::from_str(&text)
        .map_err(|e| IntakeError::retry(format!("{what}: the answer is not the JSON that was expected ({e})")))
}

/// 429 with the time that the server names, by `Retry-After` or by `X-RateLimit-Reset`.
fn limited(response: HttpResponse) -> Result<HttpResponse, IntakeError> {
    if response.status != 429 {
        return Ok(response);
    }
    let after = response.retry_after().or_else(|| until_reset(&response));
    Err(IntakeError::Retry { after, source: "the server's rate limit is used up (429)".into() })
}

/// How long to wait where an answer used up the last request of the window.
fn used_up(response: &HttpResponse) -> Option<Duration> {
    (response.headers.get("x-ratelimit-remaining")?.trim() == "0").then(|| until_reset(response)).flatten()
}

/// `X-RateLimit-Reset` is a point in time; it is compared with the server's own clock where it tells it.
fn until_reset(response: &HttpResponse) -> Option<Duration> {
    let reset = Timestamp::parse(response.headers.get("x-ratelimit-reset")?.trim())?;
    let server = response.headers.get("date").and_then(|date| {
        jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date.trim()).ok().map(Timestamp::from)
    });
    let span = reset.since(server.unwrap_or_else(now));
    Some((span + Duration::from_secs(1)).min(RATE_WAIT_MAX))
}

/// The clock of this side.
pub fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}
