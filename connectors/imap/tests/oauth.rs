//! XOAUTH2 against a real Dovecot, which asks a token endpoint of the test's own whether an access token is good.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::{Host, Memory, start, until};
use connector_sdk::{Bytes, Headers, Http, HttpFault, HttpRequest, HttpResponse, IntakeError, Io, Start, async_trait};
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use serde_json::{Value, json};

const USER: &str = "ann@x.example";

/// The provider's token endpoint: each refresh gives the next access token and rotates the refresh token.
#[derive(Default)]
struct Endpoint {
    /// Forms that it was sent.
    asked: Mutex<Vec<HashMap<String, String>>>,
    revoked: Mutex<bool>,
}

#[async_trait]
impl Http for Endpoint {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let mut asked = self.asked.lock().unwrap();
        asked.push(form);
        let number = asked.len();
        let (status, body) = if *self.revoked.lock().unwrap() {
            (400, json!({ "error": "invalid_grant" }))
        } else {
            let tokens = json!({ "access_token": format!("access-{number}"), "expires_in": 3600, "refresh_token": format!("refresh-{number}") });
            (200, tokens)
        };
        Ok(HttpResponse { status, headers: Headers::default(), body: Bytes::from(body.to_string()) })
    }
}

/// Dovecot, and the access tokens that it takes.
fn server() -> (Dovecot, Arc<Mutex<Vec<String>>>, ScriptedHttp) {
    // The scripted server has a runtime of its own and may not be started within this test's.
    std::thread::spawn(start_server).join().expect("servers")
}

fn start_server() -> (Dovecot, Arc<Mutex<Vec<String>>>, ScriptedHttp) {
    let good = Arc::new(Mutex::new(Vec::<String>::new()));
    let known = good.clone();
    let info = ScriptedHttp::start(move |request| {
        let token = request.parameter("token").unwrap_or_default();
        let active = known.lock().unwrap().contains(&token);
        Reply::json(&json!({ "email": USER, "active": active }))
    })
    .expect("token endpoint");
    let dovecot = Dovecot::with_tokens(&info.url("/tokeninfo?token=")).expect("Dovecot (see tests/setup)");
    (dovecot, good, info)
}

fn options(dovecot: &Dovecot) -> Value {
    json!({
        "host": "127.0.0.1", "port": dovecot.imap_port, "security": "plain", "user": USER,
        "auth": { "xoauth2": {
            "token_endpoint": "https://token.example/t", "client_id": "inlet",
            "client_secret": "client-secret-1", "refresh_token": "refresh-0",
        } },
    })
}

const MAIL: &[u8] = b"From: bo@y.example\r\nSubject: hi\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_and_rotated_ones_kept() {
    let (dovecot, good, _info) = server();
    dovecot.fill(USER, "INBOX", [MAIL]).expect("fill");
    good.lock().unwrap().extend(["access-1".to_owned(), "access-2".to_owned()]);
    let endpoint = Arc::new(Endpoint::default());
    let state = Arc::new(Memory::default());
    let io = Io { http: endpoint.clone(), state: state.clone() };
    let host = Arc::new(Host::default());
    let session = start(&options(&dovecot), &host, Start::Beginning, io.clone());
    until("the mail", || host.count() == 1).await;
    session.stop().await;

    // A restart begins with the rotated refresh token.
    let session = start(&options(&dovecot), &host, Start::Beginning, io);
    until("a second connection", || host.connected_count() == 2).await;
    session.stop().await;
    let asked = endpoint.asked.lock().unwrap().clone();
    let refresh: Vec<&str> = asked.iter().map(|form| form["refresh_token"].as_str()).collect();
    assert_eq!(refresh, ["refresh-0", "refresh-1"]);
    assert_eq!(asked[0]["client_secret"], "client-secret-1");
    let kept =
        state.0.lock().unwrap().values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
    assert!(kept.contains("refresh-2") && !kept.contains("refresh-0"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_refuses_is_replaced_once() {
    let (dovecot, good, _info) = server();
    dovecot.fill(USER, "INBOX", [MAIL]).expect("fill");
    good.lock().unwrap().push("access-2".to_owned());
    let endpoint = Arc::new(Endpoint::default());
    let io = Io { http: endpoint.clone(), state: Arc::new(Memory::default()) };
    let host = Arc::new(Host::default());
    let session = start(&options(&dovecot), &host, Start::Beginning, io.clone());
    until("the mail", || host.count() == 1).await;
    session.stop().await;
    assert_eq!(endpoint.asked.lock().unwrap().len(), 2);

    good.lock().unwrap().clear();
    let error = start(&options(&dovecot), &host, Start::Now, io.clone()).ended().await.expect_err("refused");
    assert!(matches!(error, IntakeError::Unauthorised(_)), "{error}");
    assert!(!error.to_string().contains("access-"), "{error}");

    *endpoint.revoked.lock().unwrap() = true;
    let error = start(&options(&dovecot), &host, Start::Now, io).ended().await.expect_err("revoked");
    assert!(matches!(&error, IntakeError::Unauthorised(text) if text.contains("consent again")), "{error}");
}
