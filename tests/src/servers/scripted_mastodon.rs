//! The part of Mastodon's client API that a notification poller uses, with the reference server's habits: `min_id`
//! gives the page right above the id (newest first in the page), `since_id` the newest page, `Link` and rate headers.

use super::scripted_http::{Recorded, Reply, ScriptedHttp};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the API documentation of notifications gives as default and maximum.
const DEFAULT_LIMIT: usize = 40;
const MAX_LIMIT: usize = 80;

/// The only token that is good at first.
pub const TOKEN: &str = "mastodon-token-1";

#[derive(Debug)]
struct State {
    token: String,
    account: Value,
    /// Oldest first.
    notifications: Vec<Value>,
    /// Answers to give before the real ones: outages, rate limits.
    failures: Vec<Reply>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct ScriptedMastodon {
    http: ScriptedHttp,
    state: Arc<Mutex<State>>,
}

impl ScriptedMastodon {
    pub fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            token: TOKEN.to_owned(),
            account: json!({"id": "1", "username": "shop", "acct": "shop", "display_name": "Shop", "bot": false,
                            "url": "https://social.example/@shop"}),
            notifications: Vec::new(),
            failures: Vec::new(),
        }));
        let shared = state.clone();
        let http =
            ScriptedHttp::start(move |request| answer(&mut shared.lock().expect("no panic while held"), request))?;
        Ok(Self { http, state })
    }

    pub fn base_url(&self) -> String {
        self.http.url("")
    }

    /// Adds notifications, each newer than those before it; ids are the caller's.
    pub fn notify(&self, notifications: impl IntoIterator<Item = Value>) {
        self.lock().notifications.extend(notifications);
    }

    /// Takes a notification away, as a deleted post does.
    pub fn withdraw(&self, id: &str) {
        self.lock().notifications.retain(|n| n["id"] != id);
    }

    /// The next requests get these answers instead.
    pub fn fail_with(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().failures.extend(replies);
    }

    /// Revokes the token in use.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.lock().token);
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.http.requests()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

fn answer(state: &mut State, request: &Recorded) -> Reply {
    if !state.failures.is_empty() {
        return state.failures.remove(0);
    }
    if request.header("authorization") != Some(&format!("Bearer {}", state.token)) {
        let body = json!({"error": "The access token is invalid"}).to_string();
        return Reply::status(401).header("content-type", "application/json").body(body);
    }
    match request.path.as_str() {
        "/api/v1/accounts/verify_credentials" => limited(Reply::json(&state.account)),
        "/api/v1/notifications" => limited(notifications(state, request)),
        "/api/v2/instance" => limited(Reply::json(&json!({"domain": "social.example", "version": "4.5.0"}))),
        _ => Reply::status(404).header("content-type", "application/json").body(r#"{"error":"Record not found"}"#),
    }
}

fn limited(reply: Reply) -> Reply {
    reply
        .header("x-ratelimit-limit", "300")
        .header("x-ratelimit-remaining", "299")
        .header("x-ratelimit-reset", "2099-01-01T00:00:00.000000Z")
}

fn notifications(state: &State, request: &Recorded) -> Reply {
    let limit = request.parameter("limit").and_then(|l| l.parse().ok()).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let above = |bound: Option<&str>, n: &&Value| bound.is_none_or(|bound| order(id(n)) > order(bound));
    let below = |bound: Option<&str>, n: &&Value| bound.is_none_or(|bound| order(id(n)) < order(bound));
    let (min, since, max) = (request.parameter("min_id"), request.parameter("since_id"), request.parameter("max_id"));
    let fitting: Vec<&Value> =
        state.notifications.iter().filter(|n| above(min, n) && above(since, n) && below(max, n)).collect();
    let mut page = if min.is_some() {
        fitting[..fitting.len().min(limit)].to_vec()
    } else {
        fitting[fitting.len().saturating_sub(limit)..].to_vec()
    };
    page.reverse();
    let mut reply = Reply::json(&json!(page));
    if let (Some(newest), Some(oldest)) = (page.first(), page.last()) {
        let host = request.header("host").unwrap_or("127.0.0.1");
        let url = |bound: String| format!("http://{host}/api/v1/notifications?limit={limit}&{bound}");
        let next = url(format!("max_id={}", id(oldest)));
        let previous = url(format!("min_id={}", id(newest)));
        reply = reply.header("link", format!("<{next}>; rel=\"next\", <{previous}>; rel=\"prev\""));
    }
    reply
}

fn id(notification: &Value) -> &str {
    notification["id"].as_str().unwrap_or("")
}

/// Ids are text; longer ones are newer.
fn order(id: &str) -> (usize, &str) {
    (id.len(), id)
}
