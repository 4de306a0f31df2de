//! A Bot API of one's own: keeps updates until they are confirmed, as the real server does, and can be made to fail.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use connector_sdk::{
    BuildContext, Connector, ConnectorKind, Download, Downloaded, FetchIo, Headers, Http, HttpFault, HttpRequest,
    HttpResponse, IntakeError, Io, StateStore, Timestamp, async_trait,
};
use connector_telegram::Telegram;
use serde_json::{Value, json};

/// The key part of the token: must never be seen outside a request.
pub const KEY: &str = "s3cr3t-bot-key";

/// What the server does with one call instead of its work.
#[derive(Clone)]
pub enum Fault {
    Answer(u16, Value),
    Page(u16, &'static str),
    Dropped,
    Hangs,
}

#[derive(Default)]
pub struct Provider {
    pub updates: Mutex<BTreeMap<i64, Value>>,
    pub faults: Mutex<VecDeque<Fault>>,
    pub requests: Mutex<Vec<HttpRequest>>,
    pub downloads: Mutex<VecDeque<Result<Downloaded, HttpFault>>>,
    pub file: Mutex<Option<Value>>,
    /// What `setWebhook` was called with last.
    pub webhook_url: Mutex<String>,
}

impl Provider {
    pub fn with_updates(ids: impl IntoIterator<Item = i64>) -> Arc<Self> {
        let provider = Self::default();
        let date = 1_753_164_384;
        provider.updates.lock().unwrap().extend(ids.into_iter().map(|id| {
            let chat = json!({ "id": 100_000_001, "type": "private" });
            (id, json!({ "update_id": id, "message": { "message_id": id, "date": date + id, "chat": chat, "text": "x" } }))
        }));
        Arc::new(provider)
    }

    pub fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    fn get_updates(&self, body: &Value) -> Value {
        let (offset, limit) = (body["offset"].as_i64().unwrap(), body["limit"].as_u64().unwrap());
        assert!(offset >= 0, "a negative offset makes the server forget updates");
        let mut updates = self.updates.lock().unwrap();
        updates.retain(|id, _| *id >= offset);
        let page: Vec<&Value> = updates.values().take(usize::try_from(limit).unwrap()).collect();
        json!({ "ok": true, "result": page })
    }
}

fn response(status: u16, body: impl Into<connector_sdk::Bytes>) -> HttpResponse {
    HttpResponse { status, headers: Headers::default(), body: body.into() }
}

#[async_trait]
impl Http for Provider {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.requests.lock().unwrap().push(request.clone());
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Answer(status, body)) => return Ok(response(status, body.to_string())),
            Some(Fault::Page(status, page)) => return Ok(response(status, page)),
            Some(Fault::Dropped) => {
                return Err(HttpFault::Transport { host: "bot.example".into(), reason: "reset".into() });
            }
            Some(Fault::Hangs) => std::future::pending().await,
            None => {}
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let answer = match request.url.rsplit('/').next().unwrap() {
            "getUpdates" => self.get_updates(&body),
            "getFile" => json!({ "ok": true, "result": self.file.lock().unwrap().clone() }),
            "getMe" => json!({ "ok": true, "result": { "id": 100_000_099, "username": "support_bot" } }),
            "getWebhookInfo" => {
                let url = self.webhook_url.lock().unwrap().clone();
                json!({ "ok": true, "result": { "url": url, "has_custom_certificate": false, "pending_update_count": 3 } })
            }
            other => panic!("{other} is not called"),
        };
        Ok(response(200, answer.to_string()))
    }
}

#[async_trait]
impl Download for Provider {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        self.requests.lock().unwrap().push(request);
        self.downloads.lock().unwrap().pop_front().expect("a download that the test prepared")
    }
}

struct NoState;

#[async_trait]
impl StateStore for NoState {
    async fn load(&self, _name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(None)
    }
    async fn save(&self, _name: &str, _bytes: &[u8]) -> Result<(), IntakeError> {
        Ok(())
    }
}

pub fn io(provider: &Arc<Provider>) -> Io {
    Io { http: provider.clone(), state: Arc::new(NoState) }
}

pub fn fetch_io(provider: &Arc<Provider>) -> FetchIo {
    FetchIo { http: provider.clone(), download: provider.clone(), now: Timestamp::UNIX_EPOCH }
}

/// An instance of `mode: poll`.
pub fn connector() -> Connector {
    build(json!({ "mode": "poll", "bot_token": format!("100000099:{KEY}"), "api_url": "https://bot.example" }))
}

pub fn build(config: Value) -> Connector {
    Telegram::build(serde_json::from_value(config).unwrap(), &BuildContext::default()).unwrap()
}
