//! Fetching files against a scripted Slack: the token goes to Slack's hosts and nowhere else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use connector_sdk::schemas::{BlobRef, FetchState, Kind};
use connector_sdk::{
    BuildContext, Connector, ConnectorKind, Download, Downloaded, Fetch, FetchIo, FetchOrder, Headers, Http, HttpFault,
    HttpRequest, HttpResponse, IntakeError, Io, RawEvent, StateStore, Timestamp, async_trait,
};
use connector_slack::Slack;
use serde_json::{Value, json};

const TOKEN: &str = "xoxb-s3cr3t";
const FILE_URL: &str = "https://files.slack.com/files-pri/T1-F1/download/a.pdf";

/// Gives the prepared answers in their order and keeps what was asked.
#[derive(Default)]
struct Provider {
    answers: Mutex<VecDeque<Result<HttpResponse, HttpFault>>>,
    downloads: Mutex<VecDeque<Downloaded>>,
    requests: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl Http for Provider {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.requests.lock().unwrap().push(request);
        self.answers.lock().unwrap().pop_front().expect("an answer that the test prepared")
    }
}

#[async_trait]
impl Download for Provider {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        self.requests.lock().unwrap().push(request);
        Ok(self.downloads.lock().unwrap().pop_front().expect("a download that the test prepared"))
    }
}

#[async_trait]
impl StateStore for Provider {
    async fn load(&self, _name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(None)
    }
    async fn save(&self, _name: &str, _bytes: &[u8]) -> Result<(), IntakeError> {
        Ok(())
    }
}

fn answer(status: u16, body: impl Into<connector_sdk::Bytes>, headers: &[(&str, &str)]) -> HttpResponse {
    let mut lines = Headers::default();
    headers.iter().for_each(|(name, value)| lines.push(name, (*value).to_owned()));
    HttpResponse { status, headers: lines, body: body.into() }
}

fn api(body: Value) -> Result<HttpResponse, HttpFault> {
    Ok(answer(200, body.to_string(), &[]))
}

fn downloaded(status: u16, media_type: &str) -> Downloaded {
    let blob = BlobRef { path: "sha256/aa/aa".into(), sha256: "aa".into(), size_bytes: 3 };
    let blob = (status == 200).then_some(blob);
    Downloaded { status, media_type: Some(media_type.into()), sniffed: None, retry_after: None, blob }
}

fn connector() -> Connector {
    let config = json!({ "signing_secret": "secret", "bot_token": TOKEN });
    Slack::build(serde_json::from_value(config).unwrap(), &BuildContext::default()).unwrap()
}

fn order(url: Option<&str>, media_type: Option<&str>) -> FetchOrder {
    let conversation = json!({ "key": "C1:1.0", "key_basis": "thread" });
    let mut params = json!({
        "account": "T1", "file_id": "F1", "message_id": "C1:1.0", "conversation": conversation, "direction": "inbound"
    });
    for (name, value) in [("url", url), ("media_type", media_type)] {
        if let Some(value) = value {
            params[name] = value.into();
        }
    }
    FetchOrder { id: "1".into(), kind: "file".into(), params, expires_at: None }
}

async fn fetch(provider: &Arc<Provider>, order: &FetchOrder) -> Result<RawEvent, IntakeError> {
    let io = FetchIo { http: provider.clone(), download: provider.clone(), now: Timestamp::UNIX_EPOCH };
    let fetcher: Arc<dyn Fetch> = connector().fetch.expect("a bot token was given");
    let result = fetcher.fetch(order, &io).await.map(|mut raw| raw.remove(0));
    if let Err(error) = &result {
        assert!(!format!("{error} {error:?}").contains(TOKEN));
    }
    result
}

fn is_authorized(request: &HttpRequest) -> bool {
    request.headers.iter().any(|(name, value)| *name == "authorization" && *value == format!("Bearer {TOKEN}"))
}

#[tokio::test]
async fn a_file_is_downloaded_with_the_token_and_stored() {
    let provider = Arc::new(Provider::default());
    provider.downloads.lock().unwrap().push_back(downloaded(200, "application/pdf"));
    let raw = fetch(&provider, &order(Some(FILE_URL), Some("application/pdf"))).await.unwrap();
    let requests = provider.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].url == FILE_URL && is_authorized(&requests[0]));
    assert!(!String::from_utf8_lossy(&raw.body).contains(TOKEN), "the result holds no token");
    let event = &connector().parse.parse(&raw).events[0].event;
    assert_eq!((&event.kind, &event.attachments[0].fetch_state), (&Kind::AttachmentStored, &FetchState::Stored));
}

#[tokio::test]
async fn a_file_known_by_its_id_alone_is_asked_for_first() {
    let provider = Arc::new(Provider::default());
    let file = json!({ "id": "F1", "name": "a.pdf", "mimetype": "application/pdf", "url_private_download": FILE_URL });
    provider.answers.lock().unwrap().push_back(api(json!({ "ok": true, "file": file })));
    provider.downloads.lock().unwrap().push_back(downloaded(200, "application/pdf"));
    let raw = fetch(&provider, &order(None, None)).await.unwrap();
    let requests = provider.requests.lock().unwrap();
    assert_eq!(requests[0].url, "https://slack.com/api/files.info");
    assert_eq!(&requests[0].body[..], b"file=F1");
    assert!(requests.iter().all(is_authorized));
    let attachment = &connector().parse.parse(&raw).events[0].event.attachments[0];
    assert_eq!(attachment.file_name.as_deref(), Some("a.pdf"));
    assert_eq!(attachment.media_type.as_deref(), Some("application/pdf"));
}

#[tokio::test]
async fn the_sign_in_page_is_no_file() {
    for (status, media_type) in [(200, "text/html"), (302, "text/html"), (403, "text/plain")] {
        let provider = Arc::new(Provider::default());
        provider.downloads.lock().unwrap().push_back(downloaded(status, media_type));
        let error = fetch(&provider, &order(Some(FILE_URL), Some("application/pdf"))).await.unwrap_err();
        assert!(matches!(error, IntakeError::Unauthorised(_)), "{status}: {error:?}");
    }
    let provider = Arc::new(Provider::default());
    provider.downloads.lock().unwrap().push_back(downloaded(200, "text/html"));
    fetch(&provider, &order(Some(FILE_URL), Some("text/html"))).await.expect("an HTML file is a file");
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    for url in [
        "https://evil.example/a.pdf",
        "http://files.slack.com/a.pdf",
        "https://files.slack.com.evil.example/a.pdf",
        "https://files.slack.com@evil.example/a.pdf",
        "https://evil.example/?files.slack.com",
    ] {
        let provider = Arc::new(Provider::default());
        let error = fetch(&provider, &order(Some(url), None)).await.unwrap_err();
        assert!(matches!(error, IntakeError::Broken(_)), "{url}: {error:?}");
        assert!(provider.requests.lock().unwrap().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn errors_of_the_api_say_what_to_do() {
    type Check = fn(&IntakeError) -> bool;
    let no = |error: &str| api(json!({ "ok": false, "error": error }));
    let flood = Ok(answer(429, "", &[("retry-after", "9")]));
    let lost = Err(HttpFault::Transport { host: "slack.com".into(), reason: "reset".into() });
    let cases: Vec<(Result<HttpResponse, HttpFault>, Check)> = vec![
        (no("missing_scope"), |e| matches!(e, IntakeError::Unauthorised(text) if text.contains("missing_scope"))),
        (no("token_revoked"), |e| matches!(e, IntakeError::Unauthorised(_))),
        (no("file_not_found"), |e| matches!(e, IntakeError::Broken(_))),
        (no("internal_error"), |e| matches!(e, IntakeError::Retry { .. })),
        (flood, |e| matches!(e, IntakeError::Retry { after: Some(after), .. } if after.as_secs() == 9)),
        (lost, |e| matches!(e, IntakeError::Retry { .. })),
        (Ok(answer(200, "<html>", &[])), |e| matches!(e, IntakeError::Retry { .. })),
        (api(json!({ "ok": true, "file": { "mode": "external" } })), |e| matches!(e, IntakeError::Broken(_))),
        (api(json!({ "ok": true })), |e| matches!(e, IntakeError::Broken(_))),
    ];
    for (prepared, check) in cases {
        let provider = Arc::new(Provider::default());
        provider.answers.lock().unwrap().push_back(prepared);
        let error = fetch(&provider, &order(None, None)).await.unwrap_err();
        assert!(check(&error), "{error:?}");
    }
}

#[tokio::test]
async fn an_order_that_is_given_up_becomes_an_event() {
    let connector = connector();
    let raw = connector.fetch.unwrap().failed(&order(None, None), "files.info answered x", Timestamp::UNIX_EPOCH);
    let event = &connector.parse.parse(&raw).events[0].event;
    assert_eq!(event.kind, Kind::AttachmentFailed);
    assert_eq!(event.attachments[0].reason.as_deref(), Some("files.info answered x"));
}

#[tokio::test]
async fn the_probe_says_who() {
    let provider = Arc::new(Provider::default());
    let who =
        json!({ "ok": true, "team": "Shop", "team_id": "T1", "user": "support", "user_id": "U1", "bot_id": "B1" });
    provider.answers.lock().unwrap().push_back(api(who));
    let io = Io { http: provider.clone(), state: provider.clone() };
    let report = connector().probe.unwrap().probe(&io).await.unwrap();
    assert_eq!(report.lines, ["workspace Shop (T1)", "bot user support (U1), bot B1"]);
}
