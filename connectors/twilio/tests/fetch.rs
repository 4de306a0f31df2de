//! Media orders against a scripted provider.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use connector_sdk::schemas::BlobRef;
use connector_sdk::{
    BuildContext, Connector, ConnectorKind, Download, Downloaded, FetchIo, FetchOrder, FetchedMedia, Headers, Http,
    HttpFault, HttpRequest, HttpResponse, IntakeError, Timestamp, Wire, async_trait,
};
use connector_twilio::Twilio;
use serde_json::{Value, json};

const MEDIA: &str = "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1";
const STORAGE: &str = "https://media.example-storage.com/ME1?signature=x";

/// What the provider answers, in order, and what it was asked.
#[derive(Default)]
struct Provider {
    answers: Mutex<VecDeque<Result<Downloaded, HttpFault>>>,
    redirect_to: Option<&'static str>,
    asked: Mutex<Vec<(String, Option<String>)>>,
}

impl Provider {
    fn note(&self, request: &HttpRequest) {
        let header = request.headers.iter().find(|(name, _)| *name == "authorization");
        let asked = (request.url.clone(), header.map(|(_, value)| value.clone()));
        self.asked.lock().unwrap().push(asked);
    }
}

#[async_trait]
impl Download for Provider {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        self.note(&request);
        self.answers.lock().unwrap().pop_front().expect("one download more than the provider was told of")
    }
}

#[async_trait]
impl Http for Provider {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.note(&request);
        let mut headers = Headers::default();
        if let Some(to) = self.redirect_to {
            headers.push("location", to);
        }
        Ok(HttpResponse { status: 307, headers, body: Default::default() })
    }
}

fn answer(status: u16, media_type: &str) -> Downloaded {
    let blob = (200..300).contains(&status).then(|| BlobRef {
        path: "sha256/ab/ab".to_owned(),
        sha256: "ab".to_owned(),
        size_bytes: 4,
    });
    let media_type = Some(media_type.to_owned());
    Downloaded { status, media_type, sniffed: None, retry_after: None, blob }
}

fn order(url: &str) -> FetchOrder {
    FetchOrder {
        id: "MM1/ME1".to_owned(),
        kind: "media".to_owned(),
        params: json!({
            "url": url, "account": "AC1", "channel": "sms", "conversation": "+1|+2", "attachment_id": "ME1",
            "message_id": "MM1", "media_type": "image/jpeg"
        }),
        expires_at: None,
    }
}

fn build(options: Value) -> Connector {
    Twilio::build(serde_json::from_value(options).unwrap(), &BuildContext::default()).unwrap()
}

type Asked = Vec<(String, Option<String>)>;

/// Carries out an order; the outcome, and what the provider was asked.
async fn fetch(
    options: Value,
    url: &str,
    redirect_to: Option<&'static str>,
    answers: Vec<Result<Downloaded, HttpFault>>,
) -> (Result<FetchedMedia, IntakeError>, Asked) {
    let provider = Arc::new(Provider { answers: Mutex::new(answers.into()), redirect_to, ..Provider::default() });
    let io = FetchIo { http: provider.clone(), download: provider.clone(), now: Timestamp::UNIX_EPOCH };
    let fetch = build(options).fetch.unwrap();
    let outcome = fetch.fetch(&order(url), &io).await.map(|raws| {
        assert_eq!(raws.len(), 1);
        assert_eq!(raws[0].wire, Wire::Fetched);
        serde_json::from_slice(&raws[0].body).unwrap()
    });
    let asked = provider.asked.lock().unwrap().clone();
    (outcome, asked)
}

fn token(token: &str) -> Value {
    json!({ "auth_token": token })
}

/// `Basic` of the account and this token, made with another implementation than the connector's.
const BASIC_NEW: &str = "Basic QUMxOm5ldy1zZWNyZXQ=";
const BASIC_OLD: &str = "Basic QUMxOm9sZC1zZWNyZXQ=";
const BASIC_KEY: &str = "Basic U0sxOmtleS1zZWNyZXQ=";

#[tokio::test]
async fn stores_with_the_account_and_its_token() {
    let (outcome, asked) = fetch(token("new-secret"), MEDIA, None, vec![Ok(answer(200, "image/jpeg"))]).await;
    assert!(outcome.unwrap().blob.is_some());
    assert_eq!(asked, [(MEDIA.to_owned(), Some(BASIC_NEW.to_owned()))]);
}

#[tokio::test]
async fn the_old_token_is_tried_while_rotating() {
    let answers = vec![Ok(answer(401, "application/xml")), Ok(answer(200, "image/jpeg"))];
    let both = json!({ "auth_token": ["new-secret", "old-secret"] });
    let (outcome, asked) = fetch(both, MEDIA, None, answers).await;
    assert!(outcome.unwrap().blob.is_some());
    assert_eq!(asked[1].1.as_deref(), Some(BASIC_OLD));
}

#[tokio::test]
async fn an_api_key_is_preferred() {
    let options = json!({ "auth_token": "new-secret", "api_key": { "sid": "SK1", "secret": "key-secret" } });
    let (outcome, asked) = fetch(options, MEDIA, None, vec![Ok(answer(403, "text/plain"))]).await;
    assert!(matches!(outcome, Err(IntakeError::Unauthorised(_))));
    assert_eq!(asked, [(MEDIA.to_owned(), Some(BASIC_KEY.to_owned()))]);
}

#[tokio::test]
async fn a_redirect_is_followed_without_credentials() {
    let answers = vec![Ok(answer(307, "text/plain")), Ok(answer(200, "image/jpeg"))];
    let (outcome, asked) = fetch(token("new-secret"), MEDIA, Some(STORAGE), answers).await;
    assert!(outcome.unwrap().blob.is_some());
    assert_eq!(asked.last().unwrap(), &(STORAGE.to_owned(), None));
}

#[tokio::test]
async fn a_redirect_off_https_is_not_followed() {
    let answers = vec![Ok(answer(307, "text/plain"))];
    let (outcome, asked) = fetch(token("new-secret"), MEDIA, Some("http://169.254.169.254/x"), answers).await;
    assert!(matches!(outcome, Err(IntakeError::Broken(_))));
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn other_hosts_are_never_asked() {
    for url in ["https://evil.example/ME1", "https://api.twilio.com@evil.example/ME1", "http://api.twilio.com/ME1"] {
        let (outcome, asked) = fetch(token("new-secret"), url, None, vec![]).await;
        assert!(matches!(outcome, Err(IntakeError::Broken(_))), "{url}");
        assert!(asked.is_empty(), "{url}");
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_said() {
    let large = HttpFault::TooLarge { host: "api.twilio.com".to_owned(), limit_bytes: 7 };
    for (given, reason) in [(Ok(answer(404, "application/xml")), "deleted"), (Ok(answer(200, "text/html")), "web page")]
    {
        let (outcome, _) = fetch(token("new-secret"), MEDIA, None, vec![given]).await;
        let outcome = outcome.unwrap();
        assert!(outcome.blob.is_none());
        assert!(outcome.failure.unwrap().contains(reason));
    }
    let (outcome, _) = fetch(token("new-secret"), MEDIA, None, vec![Err(large)]).await;
    assert!(matches!(&outcome, Err(IntakeError::TooLarge(reason)) if reason.contains("7 bytes")), "{outcome:?}");
    let mut busy = answer(429, "text/plain");
    busy.retry_after = Some(std::time::Duration::from_secs(7));
    let (outcome, _) = fetch(token("new-secret"), MEDIA, None, vec![Ok(busy)]).await;
    let Err(IntakeError::Retry { after, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(after, Some(std::time::Duration::from_secs(7)));
}

#[tokio::test]
async fn a_given_up_order_becomes_an_event() {
    let connector = build(token("new-secret"));
    let raw = connector.fetch.unwrap().failed(&order(MEDIA), "expired", Timestamp::UNIX_EPOCH);
    let parsed = connector.parse.parse(&raw);
    assert_eq!(parsed.events.len(), 1);
    let event = &parsed.events[0].event;
    assert_eq!(event.kind.as_str(), "attachment.failed");
    assert_eq!(event.attachments[0].reason.as_deref(), Some("expired"));
}
