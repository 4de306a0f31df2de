//! Long polling against a scripted Bot API: nothing is lost, nothing is confirmed before it is committed.

mod provider;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use connector_sdk::{Cursor, Intake, IntakeError, Poll, Start, StreamId, Timestamp};
use provider::{Fault, KEY, Provider, connector, io};
use serde_json::{Value, json};

fn poll() -> Box<dyn Poll> {
    match connector().intakes.pop() {
        Some(Intake::Poll(poll)) => poll,
        _ => panic!("mode: poll has one poll intake"),
    }
}

async fn begin(poll: &mut dyn Poll, provider: &Arc<Provider>, start: Start) -> (StreamId, Cursor) {
    let stream = poll.streams(&io(provider)).await.unwrap().remove(0);
    let cursor = poll.begin(&stream, &start, &io(provider)).await.unwrap();
    (stream, cursor)
}

fn ids(page: &connector_sdk::Page) -> Vec<i64> {
    let id = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["update_id"].as_i64().unwrap();
    page.items.iter().map(|item| id(&item.raw.body)).collect()
}

#[tokio::test]
async fn every_update_arrives_and_is_confirmed_only_from_the_committed_cursor() {
    let provider = Provider::with_updates(1000..1250);
    let mut poll = poll();
    let (stream, mut cursor) = begin(&mut *poll, &provider, Start::Now).await;
    let mut seen = BTreeSet::new();
    for turn in 0.. {
        assert!(turn < 10, "the pages do not end");
        let page = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
        let waiting = provider.updates.lock().unwrap().len();
        assert_eq!(waiting, 250 - seen.len(), "what is not committed stays with the server");
        if page.items.is_empty() {
            assert!(!page.more);
            break;
        }
        // A crash here: the same cursor gives the same page.
        let again = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
        assert_eq!(ids(&again), ids(&page));
        assert_eq!(page.more, page.items.len() == 100);
        seen.extend(ids(&page));
        assert_eq!(page.items.last().unwrap().cursor_after, page.cursor);
        cursor = page.cursor.unwrap();
    }
    assert_eq!(seen, (1000..1250).collect());
}

#[tokio::test]
async fn a_page_that_was_settled_in_part_goes_on_behind_its_last_item() {
    let provider = Provider::with_updates(1..=5);
    let mut poll = poll();
    let (stream, cursor) = begin(&mut *poll, &provider, Start::Beginning).await;
    let page = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
    let second = page.items[1].cursor_after.clone().unwrap();
    let rest = poll.poll(&stream, &second, &io(&provider)).await.unwrap();
    assert_eq!(ids(&rest), [3, 4, 5]);
}

#[tokio::test]
async fn since_leaves_out_what_is_older_and_moves_past_it() {
    let provider = Provider::with_updates(1..=4);
    let mut poll = poll();
    let since = Timestamp::from_unix_seconds(1_753_164_384 + 3).unwrap();
    let (stream, cursor) = begin(&mut *poll, &provider, Start::Since(since)).await;
    let page = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
    assert_eq!(ids(&page), [3, 4]);
    let rest = poll.poll(&stream, &page.cursor.unwrap(), &io(&provider)).await.unwrap();
    assert!(rest.items.is_empty());
    assert!(provider.updates.lock().unwrap().is_empty());
}

#[tokio::test]
async fn all_kinds_are_asked_for() {
    let provider = Provider::with_updates([]);
    let mut poll = poll();
    let (stream, cursor) = begin(&mut *poll, &provider, Start::Now).await;
    let page = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
    assert!(page.items.is_empty() && page.cursor.is_none() && !page.more);
    let requests = provider.requests.lock().unwrap();
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["allowed_updates"].as_array().unwrap().len(), 25);
    let held = Duration::from_secs(body["timeout"].as_u64().unwrap());
    assert!(requests[0].timeout > held, "the call must outlast the time that the server may hold it");
}

#[tokio::test]
async fn each_failure_is_an_order_and_holds_no_token() {
    let provider = Provider::with_updates(1..=2);
    let mut poll = poll();
    let (stream, cursor) = begin(&mut *poll, &provider, Start::Now).await;
    let error =
        |code: u16, text: &str| Fault::Answer(code, json!({ "ok": false, "error_code": code, "description": text }));
    let conflict = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook first";
    let other = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let flood = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": { "retry_after": 7 } });
    type Check = fn(&IntakeError) -> bool;
    let cases: Vec<(Fault, Check)> = vec![
        (error(401, "Unauthorized"), |e| matches!(e, IntakeError::Unauthorised(_))),
        (error(404, "Not Found"), |e| matches!(e, IntakeError::Unauthorised(_))),
        (error(409, conflict), |e| matches!(e, IntakeError::Broken(text) if text.contains("deleteWebhook"))),
        (
            error(409, other),
            |e| matches!(e, IntakeError::Retry { after: Some(_), source } if source.to_string().contains("another program")),
        ),
        (
            Fault::Answer(429, flood),
            |e| matches!(e, IntakeError::Retry { after: Some(after), .. } if after.as_secs() == 7),
        ),
        (error(500, "Internal"), |e| matches!(e, IntakeError::Retry { .. })),
        (Fault::Page(502, "<html>"), |e| matches!(e, IntakeError::Retry { .. })),
        (Fault::Page(200, "<html>"), |e| matches!(e, IntakeError::Retry { .. })),
        (Fault::Dropped, |e| matches!(e, IntakeError::Retry { .. })),
        (Fault::Answer(200, json!({ "ok": true, "result": [{ "message": {} }] })), |e| {
            matches!(e, IntakeError::Broken(_))
        }),
    ];
    for (fault, check) in cases {
        provider.fail(fault);
        let error = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap_err();
        assert!(check(&error), "{error:?}");
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
    let page = poll.poll(&stream, &cursor, &io(&provider)).await.unwrap();
    assert_eq!(ids(&page), [1, 2], "after every failure the updates are still there");
    assert!(page.items.iter().all(|item| !item.raw.uri.contains(KEY)));
}

#[tokio::test]
async fn a_question_can_be_dropped_while_the_server_holds_it() {
    let provider = Provider::with_updates(1..=1);
    let mut poll = poll();
    let (stream, cursor) = begin(&mut *poll, &provider, Start::Now).await;
    provider.fail(Fault::Hangs);
    let io = io(&provider);
    let mut held = poll.poll(&stream, &cursor, &io);
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(held);
    assert_eq!(provider.requests.lock().unwrap().len(), 1, "the question had reached the server");
    let page = poll.poll(&stream, &cursor, &io).await.unwrap();
    assert_eq!(ids(&page), [1]);
}

#[tokio::test]
async fn a_cursor_of_another_version_stops_the_stream() {
    let provider = Provider::with_updates([]);
    let mut poll = poll();
    let stream = StreamId::new("updates");
    for cursor in [json!({ "v": 2, "offset": 1 }), json!({ "uid": 7 })] {
        let error = poll.poll(&stream, &Cursor(cursor), &io(&provider)).await.unwrap_err();
        assert!(matches!(error, IntakeError::Broken(_)), "{error:?}");
    }
    assert!(provider.requests.lock().unwrap().is_empty());
}
