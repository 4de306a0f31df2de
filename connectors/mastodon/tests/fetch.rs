//! Media orders against a scripted host.

mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::schemas::{BlobRef, FetchState, Kind};
use connector_sdk::{
    Download, Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpFault, HttpRequest, IntakeError, Timestamp,
    async_trait,
};
use serde_json::{Value, json};
use server::{Habit, Server, build};

const STORED: &[u8] = include_bytes!("../fixtures/fetched_stored/input.fetched");

/// Gives one answer and remembers what was asked for.
struct Host {
    answer: Downloaded,
    asked: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl Download for Host {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        self.asked.lock().unwrap().push(request);
        Ok(self.answer.clone())
    }
}

fn answer(status: u16, media_type: &str, sniffed: &str) -> Downloaded {
    let blob = BlobRef { path: "sha256/aa/aa".into(), sha256: "aa".into(), size_bytes: 3 };
    Downloaded {
        status,
        media_type: Some(media_type.into()),
        sniffed: Some(sniffed.into()),
        retry_after: Some(Duration::from_secs(9)),
        blob: (200..300).contains(&status).then_some(blob),
    }
}

fn order() -> FetchOrder {
    serde_json::from_slice::<FetchedMedia>(STORED).unwrap().order
}

fn fetcher() -> Arc<dyn Fetch> {
    build(&[("media_hosts", json!(["files.mastodon.example"]))]).fetch.unwrap()
}

async fn fetch(order: &FetchOrder, answer: Downloaded) -> (Result<Kind, IntakeError>, Vec<HttpRequest>) {
    let host = Arc::new(Host { answer, asked: Mutex::default() });
    let http = Arc::new(Server::new(Habit::MinId, 40));
    let io = FetchIo { http, download: Arc::clone(&host) as _, now: Timestamp::UNIX_EPOCH };
    let fetched = fetcher().fetch(order, &io).await.map(|mut raws| {
        assert_eq!(raws.len(), 1);
        let mut parsed = build(&[]).parse.parse(&raws.remove(0));
        let event = parsed.events.remove(0).event;
        let stored = event.attachments[0].fetch_state == FetchState::Stored;
        assert_eq!(stored, event.kind == Kind::AttachmentStored);
        event.kind
    });
    let asked = std::mem::take(&mut *host.asked.lock().unwrap());
    (fetched, asked)
}

#[tokio::test]
async fn a_file_is_stored_and_the_token_stays_here() {
    let (fetched, asked) = fetch(&order(), answer(200, "image/jpeg", "image/jpeg")).await;
    assert_eq!(fetched.unwrap(), Kind::AttachmentStored);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].headers.is_empty() && !asked[0].url.contains("demo-secret"));
}

#[tokio::test]
async fn a_web_page_is_no_file() {
    for (declared, sniffed) in [("text/html", "text/html"), ("image/jpeg", "text/html"), ("text/html", "image/jpeg")] {
        let (fetched, _) = fetch(&order(), answer(200, declared, sniffed)).await;
        assert_eq!(fetched.unwrap(), Kind::AttachmentFailed, "{declared} {sniffed}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
    for status in [429, 500, 503] {
        let (fetched, _) = fetch(&order(), answer(status, "text/plain", "text/plain")).await;
        let error = fetched.unwrap_err();
        assert!(matches!(error, IntakeError::Retry { after: Some(after), .. } if after == Duration::from_secs(9)));
    }
    for status in [403, 404, 410] {
        let (fetched, _) = fetch(&order(), answer(status, "text/plain", "text/plain")).await;
        assert!(matches!(fetched, Err(IntakeError::Broken(_))), "{status}");
    }
    let raw = fetcher().failed(&order(), "media host answered 404", Timestamp::UNIX_EPOCH);
    assert_eq!(build(&[]).parse.parse(&raw).events[0].event.kind, Kind::AttachmentFailed);
}

#[tokio::test]
async fn only_allowed_hosts_are_asked() {
    for url in [
        "https://elsewhere.example/a.jpg",
        "http://files.mastodon.example/a.jpg",
        "https://files.mastodon.example.evil.example/a.jpg",
        "https://evilfiles.mastodon.example/a.jpg",
        "https://user@files.mastodon.example/a.jpg",
        "file:///etc/passwd",
    ] {
        let mut order = order();
        order.params["url"] = Value::from(url);
        let (fetched, asked) = fetch(&order, answer(200, "image/jpeg", "image/jpeg")).await;
        assert!(matches!(fetched, Err(IntakeError::Broken(_))) && asked.is_empty(), "{url}");
    }
    let mut order = order();
    order.params["url"] = Value::from("https://mastodon.example/system/a.jpg");
    assert!(fetch(&order, answer(200, "image/jpeg", "image/jpeg")).await.0.is_ok());
}
