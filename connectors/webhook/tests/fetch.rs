//! File orders against a scripted host.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use connector_sdk::schemas::BlobRef;
use connector_sdk::{
    BuildContext, ConnectorKind, Download, Downloaded, FetchIo, FetchOrder, FetchedMedia, Headers, Http, HttpFault,
    HttpRequest, HttpResponse, IntakeError, Timestamp, async_trait,
};
use connector_webhook::WebhookConnector;
use serde_json::json;

const FILE: &str = "https://files.example.com/a/1.pdf";

/// What the host answers, in order, and what it was asked.
#[derive(Default)]
struct Host {
    statuses: Mutex<VecDeque<(u16, &'static str)>>,
    redirect_to: &'static str,
    asked: Mutex<Vec<(String, bool)>>,
}

impl Host {
    fn note(&self, request: &HttpRequest) {
        let token = request.headers.iter().any(|(name, value)| *name == "authorization" && value == "Bearer t-secret");
        self.asked.lock().unwrap().push((request.url.clone(), token));
    }
}

#[async_trait]
impl Download for Host {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        self.note(&request);
        let (status, media_type) = self.statuses.lock().unwrap().pop_front().expect("one download too many");
        let stored = BlobRef { path: "sha256/ab/ab".to_owned(), sha256: "ab".to_owned(), size_bytes: 4 };
        let blob = (200..300).contains(&status).then_some(stored);
        Ok(Downloaded { status, media_type: Some(media_type.to_owned()), sniffed: None, retry_after: None, blob })
    }
}

#[async_trait]
impl Http for Host {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.note(&request);
        let mut headers = Headers::default();
        headers.push("location", self.redirect_to);
        Ok(HttpResponse { status: 302, headers, body: Default::default() })
    }
}

type Asked = Vec<(String, bool)>;

async fn fetch(
    url: &str,
    redirect_to: &'static str,
    statuses: Vec<(u16, &'static str)>,
) -> (Result<FetchedMedia, IntakeError>, Asked) {
    let host = Arc::new(Host { statuses: Mutex::new(statuses.into()), redirect_to, ..Host::default() });
    let io = FetchIo { http: host.clone(), download: host.clone(), now: Timestamp::UNIX_EPOCH };
    let options = json!({
        "secret": "demo-secret", "attachment_hosts": ["files.example.com", "*.cdn.example"],
        "attachment_token": "t-secret"
    });
    let config = serde_json::from_value(options).unwrap();
    let connector = WebhookConnector::build(config, &BuildContext::default()).unwrap();
    let order = FetchOrder {
        id: "o".to_owned(),
        kind: "file".to_owned(),
        params: json!({
            "url": url, "provider": "webhook", "account": "default", "channel": "chat", "conversation": "c",
            "key_basis": "thread", "attachment_id": "1", "media_type": "application/pdf"
        }),
        expires_at: None,
    };
    let outcome = connector.fetch.unwrap().fetch(&order, &io).await;
    let outcome = outcome.map(|raws| serde_json::from_slice(&raws[0].body).unwrap());
    let asked = host.asked.lock().unwrap().clone();
    (outcome, asked)
}

#[tokio::test]
async fn the_token_goes_to_listed_hosts_alone() {
    let (outcome, asked) = fetch(FILE, "", vec![(200, "application/pdf")]).await;
    assert!(outcome.unwrap().blob.is_some());
    assert_eq!(asked, [(FILE.to_owned(), true)]);
    let (outcome, asked) = fetch("https://other.example/1.pdf", "", vec![]).await;
    assert!(matches!(outcome, Err(IntakeError::Broken(_))));
    assert!(asked.is_empty());
}

#[tokio::test]
async fn redirects_stay_within_the_list_and_carry_no_token() {
    let to = "https://eu.cdn.example/1.pdf?sig=x";
    let (outcome, asked) = fetch(FILE, to, vec![(302, "text/html"), (200, "application/pdf")]).await;
    assert!(outcome.unwrap().blob.is_some());
    assert_eq!(asked.last(), Some(&(to.to_owned(), false)));
    let (outcome, asked) = fetch(FILE, "https://169.254.169.254/x", vec![(302, "text/html")]).await;
    assert!(matches!(outcome, Err(IntakeError::Broken(_))));
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn every_answer_has_its_order() {
    let (page, _) = fetch(FILE, "", vec![(200, "text/html")]).await;
    assert!(page.unwrap().failure.unwrap().contains("web page"));
    let (gone, _) = fetch(FILE, "", vec![(410, "text/plain")]).await;
    assert!(gone.unwrap().failure.unwrap().contains("gone"));
    assert!(matches!(fetch(FILE, "", vec![(503, "text/plain")]).await.0, Err(IntakeError::Retry { .. })));
    assert!(matches!(fetch(FILE, "", vec![(403, "text/plain")]).await.0, Err(IntakeError::Unauthorised(_))));
    assert!(matches!(fetch(FILE, "", vec![(400, "text/plain")]).await.0, Err(IntakeError::Broken(_))));
}
