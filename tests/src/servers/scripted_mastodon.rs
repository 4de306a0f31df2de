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
    /// What notifications spoke of, and what tests added; kept when a notification is dismissed.
    statuses: Vec<Value>,
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
            statuses: Vec::new(),
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
        let mut state = self.lock();
        for notification in notifications {
            let status = &notification["status"];
            if status.is_object() {
                let status = status.clone();
                state.statuses.push(status);
            }
            state.notifications.push(notification);
        }
    }

    /// Adds a post that no notification speaks of, such as the first of a thread.
    pub fn add_status(&self, status: Value) {
        self.lock().statuses.push(status);
    }

    /// Its author changes a post.
    pub fn edit(&self, status: &str, content: &str, edited_at: &str) {
        let mut state = self.lock();
        let state = &mut *state;
        let embedded = state.notifications.iter_mut().map(|n| &mut n["status"]);
        for post in state.statuses.iter_mut().chain(embedded).filter(|post| post["id"] == status) {
            post["content"] = content.into();
            post["edited_at"] = edited_at.into();
        }
    }

    /// Its author deletes a post: the notification goes with it.
    pub fn delete(&self, status: &str) {
        let mut state = self.lock();
        state.statuses.retain(|post| post["id"] != status);
        state.notifications.retain(|n| n["status"]["id"] != status);
    }

    /// The owner of the account dismisses a notification; the post stays.
    pub fn dismiss(&self, notification: &str) {
        self.lock().notifications.retain(|n| n["id"] != notification);
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
        path => limited(status(state, path).unwrap_or_else(|| {
            let body = json!({"error": "Record not found"}).to_string();
            Reply::status(404).header("content-type", "application/json").body(body)
        })),
    }
}

/// `/api/v1/statuses/ID` and its `/context`.
fn status(state: &State, path: &str) -> Option<Reply> {
    let find = |id: &str| state.statuses.iter().find(|post| post["id"] == id);
    let rest = path.strip_prefix("/api/v1/statuses/")?;
    let Some(id) = rest.strip_suffix("/context") else { return find(rest).map(Reply::json) };
    let mut ancestors = Vec::new();
    let mut post = find(id)?;
    while let Some(parent) = post["in_reply_to_id"].as_str().and_then(find) {
        ancestors.insert(0, parent.clone());
        post = parent;
    }
    let descendants: Vec<_> = state.statuses.iter().filter(|post| post["in_reply_to_id"] == id).collect();
    Some(Reply::json(&json!({"ancestors": ancestors, "descendants": descendants})))
}

fn limited(reply: Reply) -> Reply {
    reply
        .header("x-ratelimit-limit", "300")
        .header("x-ratelimit-remaining", "299")
        .header("x-ratelimit-reset", "2099-01-01T00:00:00.000000Z")
}

fn notifications(state: &State, request: &Recorded) -> Reply {
    let limit = request.parameter("limit").and_then(|l| l.parse().ok()).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let (min, since, max) = (request.parameter("min_id"), request.parameter("since_id"), request.parameter("max_id"));
    let (types, excluded) = (request.parameters("types[]"), request.parameters("exclude_types[]"));
    let above = |bound: &Option<String>, n: &Value| bound.as_ref().is_none_or(|bound| order(id(n)) > order(bound));
    let below = |bound: &Option<String>, n: &Value| bound.as_ref().is_none_or(|bound| order(id(n)) < order(bound));
    let wanted = |n: &Value| {
        let listed = |list: &[String]| list.iter().any(|name| n["type"] == name.as_str());
        (types.is_empty() || listed(&types)) && !listed(&excluded)
    };
    let all = state.notifications.iter();
    let fitting: Vec<_> = all.filter(|n| wanted(n) && above(&min, n) && above(&since, n) && below(&max, n)).collect();
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
