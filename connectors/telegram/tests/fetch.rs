//! Fetching files against a scripted Bot API: the token goes into requests and nowhere else.

mod provider;

use std::sync::Arc;

use connector_sdk::schemas::{BlobRef, FetchState, Kind};
use connector_sdk::{Downloaded, Fetch, FetchOrder, IntakeError, Parsed, RawEvent, Timestamp};
use provider::{Fault, KEY, Provider, connector, fetch_io, io};
use serde_json::{Value, json};

fn order() -> FetchOrder {
    let conversation = json!({ "key": "100000001", "key_basis": "channel" });
    let params = json!({
        "file_id": "AgAC", "attachment_id": "AQAD", "message_id": "100000001:7", "conversation": conversation,
        "direction": "inbound", "media_type": "image/jpeg"
    });
    FetchOrder { id: "1".into(), kind: "file".into(), params, expires_at: None }
}

fn downloaded(status: u16, media_type: &str) -> Downloaded {
    let blob = BlobRef { path: "sha256/aa/aa".into(), sha256: "aa".into(), size_bytes: 3 };
    Downloaded {
        status,
        media_type: Some(media_type.into()),
        sniffed: None,
        retry_after: None,
        blob: (status == 200).then_some(blob),
    }
}

fn prepared(file_path: Option<&str>, download: Downloaded) -> Arc<Provider> {
    let provider = Provider::with_updates([]);
    *provider.file.lock().unwrap() =
        Some(json!({ "file_id": "AgAC", "file_unique_id": "AQAD", "file_path": file_path }));
    provider.downloads.lock().unwrap().push_back(Ok(download));
    provider
}

fn fetcher() -> Arc<dyn Fetch> {
    connector().fetch.expect("a bot token was given")
}

fn parse(raw: &RawEvent) -> Parsed {
    connector().parse.parse(raw)
}

#[tokio::test]
async fn a_file_is_stored_and_named_by_its_path() {
    let provider = prepared(Some("photos/file_12.jpg"), downloaded(200, "application/octet-stream"));
    let raw = fetcher().fetch(&order(), &fetch_io(&provider)).await.unwrap().remove(0);
    let urls: Vec<String> = provider.requests.lock().unwrap().iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls[0], format!("https://bot.example/bot100000099:{KEY}/getFile"));
    assert_eq!(urls[1], format!("https://bot.example/file/bot100000099:{KEY}/photos/file_12.jpg"));
    assert!(!String::from_utf8_lossy(&raw.body).contains(KEY), "the result holds no token");
    let event = &parse(&raw).events[0].event;
    assert_eq!(event.kind, Kind::AttachmentStored);
    let attachment = &event.attachments[0];
    assert_eq!(attachment.fetch_state, FetchState::Stored);
    assert_eq!(attachment.file_name.as_deref(), Some("file_12.jpg"));
    assert_eq!(attachment.provider_url, None);
    assert_eq!(event.target.as_ref().unwrap().message_id.as_deref(), Some("100000001:7"));
}

#[tokio::test]
async fn failures_are_told_apart() {
    type Check = fn(&IntakeError) -> bool;
    let retry: Check = |e| matches!(e, IntakeError::Retry { .. });
    let broken: Check = |e| matches!(e, IntakeError::Broken(_));
    let cases: Vec<(Option<&str>, Downloaded, Check)> = vec![
        (Some("photos/a.jpg"), downloaded(500, "text/plain"), retry),
        // The path has run out: getFile gives a new one.
        (Some("photos/a.jpg"), downloaded(404, "application/json"), retry),
        (Some("photos/a.jpg"), downloaded(401, "application/json"), |e| matches!(e, IntakeError::Unauthorised(_))),
        (Some("photos/a.jpg"), downloaded(200, "text/html"), broken),
        (Some("/var/lib/telegram-bot-api/a.jpg"), downloaded(200, "image/jpeg"), broken),
        (Some("../../etc/passwd"), downloaded(200, "image/jpeg"), broken),
        (None, downloaded(200, "image/jpeg"), broken),
    ];
    for (path, download, check) in cases {
        let provider = prepared(path, download);
        let error = fetcher().fetch(&order(), &fetch_io(&provider)).await.unwrap_err();
        assert!(check(&error), "{path:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
}

#[tokio::test]
async fn a_refused_get_file_is_told_apart_too() {
    let provider = prepared(Some("photos/a.jpg"), downloaded(200, "image/jpeg"));
    let too_big = json!({ "ok": false, "error_code": 400, "description": "Bad Request: file is too big" });
    provider.fail(Fault::Answer(400, too_big));
    let error = fetcher().fetch(&order(), &fetch_io(&provider)).await.unwrap_err();
    assert!(matches!(&error, IntakeError::Broken(text) if text.contains("too big")), "{error:?}");
    provider.fail(Fault::Dropped);
    let error = fetcher().fetch(&order(), &fetch_io(&provider)).await.unwrap_err();
    assert!(matches!(error, IntakeError::Retry { .. }), "{error:?}");
}

#[tokio::test]
async fn an_order_that_is_given_up_becomes_an_event() {
    let raw = fetcher().failed(&order(), "getFile answered 400", Timestamp::UNIX_EPOCH);
    let event = &parse(&raw).events[0].event;
    assert_eq!(event.kind, Kind::AttachmentFailed);
    assert_eq!(event.attachments[0].reason.as_deref(), Some("getFile answered 400"));
}

#[tokio::test]
async fn foreign_orders_are_refused() {
    let provider = Provider::with_updates([]);
    for (kind, params) in [("lead", order().params), ("file", Value::Null)] {
        let order = FetchOrder { kind: kind.into(), params, ..order() };
        let error = fetcher().fetch(&order, &fetch_io(&provider)).await.unwrap_err();
        assert!(matches!(error, IntakeError::Broken(_)), "{error:?}");
    }
    assert!(provider.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_probe_says_who_and_how_much_waits() {
    let provider = Provider::with_updates([]);
    let report = connector().probe.unwrap().probe(&io(&provider)).await.unwrap();
    assert_eq!(report.lines, ["bot @support_bot (100000099)", "no webhook is set, 3 updates wait"]);
}
