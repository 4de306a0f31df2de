//! A scripted server with Mastodon's client API: its notifications, and the habits in which servers differ.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use connector_mastodon::Mastodon;
use connector_sdk::{
    BuildContext, Connector, Entry, Headers, Http, HttpFault, HttpRequest, HttpResponse, Intake, IntakeError, Io, Poll,
    Probe, StateStore, Timestamp, async_trait,
};
use serde_json::{Map, Value, json};

pub const BASE: &str = "https://mastodon.example";
const MENTION: &[u8] = include_bytes!("../../fixtures/mention_sparse/input.json");
/// Of notification 0; each later one is a minute younger.
const FIRST_SECONDS: i64 = 1_777_629_600;

/// What a server makes of `min_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// The page right above it.
    MinId,
    /// The newest page above it.
    NewestPage,
    /// Does not know it; `since_id` gives the newest page above.
    SinceIdOnly,
    /// Knows neither: always the newest page below `max_id`.
    IgnoresBounds,
}

#[derive(Default)]
struct State {
    notifications: BTreeMap<u64, Value>,
    broken: Vec<Value>,
    deleted: Vec<String>,
    statuses: HashMap<String, Value>,
    contexts: HashMap<String, Value>,
    requests: Vec<String>,
    answers: Vec<HttpResponse>,
    failing: HashMap<String, u16>,
    /// Requests until one finds nobody.
    unreachable_in: Option<usize>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Server {
    habit: Habit,
    cap: usize,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn new(habit: Habit, cap: usize) -> Self {
        Self { habit, cap, state: Arc::default() }
    }

    pub fn io(&self) -> Io {
        Io { http: Arc::new(self.clone()), state: Arc::new(NoState) }
    }

    pub fn mention_range(&self, ids: std::ops::RangeInclusive<u64>) {
        for id in ids {
            self.put(id, None);
        }
    }

    /// A mention that answers a status.
    pub fn reply(&self, id: u64, parent: &str) {
        self.put(id, Some(parent));
    }

    fn put(&self, id: u64, parent: Option<&str>) {
        let mut note: Value = serde_json::from_slice(MENTION).unwrap();
        note["id"] = id.to_string().into();
        let at = Timestamp::from_unix_seconds(FIRST_SECONDS + 60 * id as i64).unwrap();
        note["created_at"] = at.to_string().into();
        note["status"]["id"] = format!("s{id}").into();
        note["status"]["in_reply_to_id"] = parent.map(str::to_owned).into();
        let mut state = self.state.lock().unwrap();
        state.statuses.insert(format!("s{id}"), note["status"].clone());
        state.notifications.insert(id, note);
    }

    pub fn add_broken(&self) {
        self.state.lock().unwrap().broken.push(json!({ "type": "mention" }));
    }

    pub fn context(&self, status: &str, ancestors: &[&str]) {
        let ancestors: Vec<Value> = ancestors.iter().map(|id| json!({ "id": id })).collect();
        let context = json!({ "ancestors": ancestors, "descendants": [] });
        self.state.lock().unwrap().contexts.insert(status.to_owned(), context);
    }

    pub fn edit(&self, id: u64, at: &str) {
        let mut state = self.state.lock().unwrap();
        state.notifications.get_mut(&id).unwrap()["status"]["edited_at"] = at.into();
    }

    /// The status goes, and its notification with it.
    pub fn delete(&self, id: u64) {
        let mut state = self.state.lock().unwrap();
        state.notifications.remove(&id);
        state.statuses.remove(&format!("s{id}"));
        state.deleted.push(format!("s{id}"));
    }

    /// The notification goes, the status stays.
    pub fn dismiss(&self, id: u64) {
        self.state.lock().unwrap().notifications.remove(&id);
    }

    pub fn clear(&self) {
        self.state.lock().unwrap().notifications.clear();
    }

    /// The answer to the next request.
    pub fn fail_next(&self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let mut response = HttpResponse { status, headers: Headers::default(), body: body.as_ref().to_vec().into() };
        for (name, value) in headers {
            response.headers.push(name, (*value).to_owned());
        }
        self.state.lock().unwrap().answers.push(response);
    }

    pub fn fail_status(&self, status: &str, code: u16) {
        self.state.lock().unwrap().failing.insert(status.to_owned(), code);
    }

    pub fn unreachable_next(&self) {
        self.unreachable_after(0);
    }

    pub fn unreachable_after(&self, requests: usize) {
        self.state.lock().unwrap().unreachable_in = Some(requests);
    }

    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// All notifications as one answer.
    pub fn page_bytes(&self) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        serde_json::to_vec(&state.notifications.values().collect::<Vec<_>>()).unwrap()
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let path_of = |request: &String| request.split('?').next() == Some(path);
        self.requests().iter().filter(|request| path_of(request)).count()
    }

    fn page(&self, state: &State, query: &HashMap<String, String>) -> Vec<Value> {
        let number = |name: &str| query.get(name).map(|text| text.parse::<u64>().unwrap());
        let limit = query.get("limit").map_or(40, |text| text.parse::<usize>().unwrap()).min(self.cap);
        let known = |name: &str| match (self.habit, name) {
            (Habit::IgnoresBounds, _) | (Habit::SinceIdOnly, "min_id") => None,
            _ => number(name),
        };
        let above = known("min_id").or(known("since_id")).unwrap_or(0);
        let below = number("max_id").unwrap_or(u64::MAX);
        let all =
            state.notifications.iter().filter(|(id, _)| **id > above && **id < below).map(|(_, note)| note.clone());
        let oldest_first = self.habit == Habit::MinId && query.contains_key("min_id");
        let mut page: Vec<Value> =
            if oldest_first { all.take(limit).collect() } else { all.rev().take(limit).collect() };
        if oldest_first {
            page.reverse();
        }
        page.extend(state.broken.iter().cloned());
        page
    }

    fn answer(&self, state: &State, path: &str, query: &HashMap<String, String>) -> (u16, Value) {
        if path == "/api/v1/accounts/verify_credentials" {
            return (200, json!({ "id": "1", "username": "shop", "acct": "shop" }));
        }
        if path == "/api/v1/notifications" {
            return (200, Value::Array(self.page(state, query)));
        }
        let Some(status) = path.strip_prefix("/api/v1/statuses/") else { panic!("nobody asks for {path}") };
        let found = match status.strip_suffix("/context") {
            Some(status) => state.contexts.get(status),
            None => match state.failing.get(status) {
                Some(code) => return (*code, json!({})),
                None => state.statuses.get(status),
            },
        };
        found.map_or_else(|| (404, json!({ "error": "Record not found" })), |value| (200, value.clone()))
    }
}

#[async_trait]
impl Http for Server {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        assert_eq!(request.method.as_str(), "GET", "the server is only read");
        let bearer = request.headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value.as_str());
        assert_eq!(bearer, Some("Bearer demo-secret"));
        let target = request.url.strip_prefix(BASE).expect("the token goes to the configured server only");
        let mut state = self.state.lock().unwrap();
        state.requests.push(target.to_owned());
        match state.unreachable_in.take() {
            Some(0) => return Err(HttpFault::Transport { host: "mastodon.example".into(), reason: "reset".into() }),
            left => state.unreachable_in = left.map(|left| left - 1),
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !state.answers.is_empty() {
            return Ok(state.answers.remove(0));
        }
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (status, body) = self.answer(&state, path, &query);
        Ok(HttpResponse { status, headers: Headers::default(), body: body.to_string().into() })
    }
}

/// A poller keeps no state beside its cursors.
struct NoState;

#[async_trait]
impl StateStore for NoState {
    async fn load(&self, _: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        panic!("no state");
    }
    async fn save(&self, _: &str, _: &[u8]) -> Result<(), IntakeError> {
        panic!("no state");
    }
}

pub fn build(options: &[(&str, Value)]) -> Connector {
    let mut all = Map::new();
    all.insert("base_url".into(), BASE.into());
    all.insert("token".into(), "demo-secret".into());
    all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    (Entry::of::<Mastodon>().build)(&Value::Object(all), &BuildContext::default()).unwrap()
}

pub fn poller(options: &[(&str, Value)]) -> Box<dyn Poll> {
    match build(options).intakes.pop() {
        Some(Intake::Poll(poll)) => poll,
        _ => panic!("there is one poll intake"),
    }
}

pub fn probe() -> Arc<dyn Probe> {
    build(&[]).probe.expect("there is a probe")
}
