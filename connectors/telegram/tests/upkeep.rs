//! The webhook as a subscription that others can end: told as soon as it is looked at (D10).

mod provider;

use connector_sdk::{Connector, IntakeError};
use provider::{Fault, KEY, Provider, build, connector, io};
use serde_json::json;

fn by_webhook() -> Connector {
    build(json!({
        "mode": "webhook", "secret_token": "s", "bot_token": format!("100000099:{KEY}"), "api_url": "https://bot.example"
    }))
}

#[tokio::test]
async fn d10_a_webhook_that_was_taken_away_is_told() {
    let provider = Provider::with_updates([]);
    let mut upkeep = by_webhook().upkeep.expect("with a token the webhook is watched");
    *provider.webhook_url.lock().unwrap() = "https://inlet.example/in/bot".to_owned();
    let next = upkeep.keep(&io(&provider)).await.unwrap();
    assert!(next.as_secs() <= 3600, "{next:?}");
    provider.webhook_url.lock().unwrap().clear();
    let error = upkeep.keep(&io(&provider)).await.unwrap_err();
    assert!(matches!(&error, IntakeError::Broken(reason) if reason.contains("setWebhook")), "{error}");
    *provider.webhook_url.lock().unwrap() = "https://inlet.example/in/bot".to_owned();
    upkeep.keep(&io(&provider)).await.expect("it was set again");
}

#[tokio::test]
async fn d10_what_telegram_cannot_deliver_is_told_while_it_waits() {
    let provider = Provider::with_updates([]);
    let mut upkeep = by_webhook().upkeep.unwrap();
    let answer = |waiting: u64| {
        json!({ "ok": true, "result": {
            "url": "https://inlet.example/in/bot", "has_custom_certificate": false, "pending_update_count": waiting,
            "last_error_date": 1_753_164_384, "last_error_message": "Wrong response from the webhook: 503 Service Unavailable"
        } })
    };
    provider.fail(Fault::Answer(200, answer(7)));
    let error = upkeep.keep(&io(&provider)).await.unwrap_err();
    assert!(matches!(error, IntakeError::Retry { after: Some(_), .. }), "{error:?}");
    assert!(error.to_string().contains("7 updates wait") && error.to_string().contains("503"), "{error}");
    // An old error, and nothing waits.
    provider.fail(Fault::Answer(200, answer(0)));
    upkeep.keep(&io(&provider)).await.expect("all of it came");
}

#[tokio::test]
async fn d10_a_token_that_was_withdrawn_is_told_without_it() {
    let provider = Provider::with_updates([]);
    provider.fail(Fault::Answer(401, json!({ "ok": false, "error_code": 401, "description": "Unauthorized" })));
    let error = by_webhook().upkeep.unwrap().keep(&io(&provider)).await.unwrap_err();
    assert!(matches!(error, IntakeError::Unauthorised(_)) && !error.to_string().contains(KEY), "{error}");
}

#[test]
fn without_a_token_or_a_webhook_there_is_nothing_to_watch() {
    assert!(connector().upkeep.is_none());
    assert!(build(json!({ "secret_token": "s", "bot_id": 100_000_099 })).upkeep.is_none());
}
