//! The two streams against a scripted server, in every habit that servers have.

mod server;

use std::time::Duration;

use connector_sdk::{Cursor, IntakeError, Page, Poll, RawEvent, Start, StreamId, Timestamp};
use serde_json::{Value, json};
use server::{Habit, Server, poller, probe};

const NOTIFICATIONS: &str = "notifications";
const MENTIONS: &str = "mentions";
/// Rounds after which a stream must have come to rest.
const ROUNDS_MAX: usize = 500;

async fn begin(server: &Server, poll: &mut dyn Poll, stream: &str, start: Start) -> Cursor {
    poll.begin(&StreamId::new(stream), &start, &server.io()).await.unwrap()
}

async fn ask(server: &Server, poll: &mut dyn Poll, stream: &str, cursor: &Cursor) -> Result<Page, IntakeError> {
    poll.poll(&StreamId::new(stream), cursor, &server.io()).await
}

fn id(raw: &RawEvent) -> String {
    let value: Value = serde_json::from_slice(&raw.body).unwrap();
    value["id"].as_str().unwrap().to_owned()
}

/// Asks until nothing more is waiting, as the driver does; moves the cursor.
async fn drain(server: &Server, poll: &mut dyn Poll, stream: &str, cursor: &mut Cursor) -> Vec<RawEvent> {
    let mut raws = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let page = ask(server, poll, stream, cursor).await.unwrap();
        for item in page.items {
            raws.push(item.raw);
            if let Some(after) = item.cursor_after {
                *cursor = after;
            }
        }
        if let Some(after) = page.cursor {
            *cursor = after;
        }
        if !page.more {
            return raws;
        }
    }
    panic!("the stream never came to rest");
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn every_notification_once_and_in_order_in_every_habit() {
    for habit in [Habit::MinId, Habit::NewestPage, Habit::SinceIdOnly, Habit::IgnoresBounds] {
        for cap in [15, 40, 80] {
            let server = Server::new(habit, cap);
            server.mention_range(1..=131);
            let mut poll = poller(&[]);
            let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
            let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
            assert_eq!(seen, numbers(1..=131), "{habit:?}, pages of {cap}");
            server.mention_range(132..=180);
            let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
            assert_eq!(seen, numbers(132..=180), "{habit:?}, pages of {cap}");
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_item_repeats_nothing_and_skips_nothing() {
    let server = Server::new(Habit::MinId, 20);
    server.mention_range(1..=50);
    let mut poll = poller(&[]);
    let first = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    let mut cursors = vec![first.clone()];
    let mut cursor = first;
    loop {
        let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
        let Some(last) = page.items.last() else { break };
        cursor = last.cursor_after.clone().unwrap();
        cursors.extend(page.items.into_iter().filter_map(|item| item.cursor_after));
    }
    assert_eq!(cursors.len(), 51);
    for (taken, cursor) in cursors.into_iter().enumerate() {
        // A new owner knows nothing but the committed cursor.
        let mut poll = poller(&[]);
        let mut cursor = cursor;
        let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
        assert_eq!(seen, numbers(taken as u64 + 1..=50), "after {taken}");
    }
}

#[tokio::test]
async fn the_same_cursor_gives_the_same_items() {
    let server = Server::new(Habit::NewestPage, 40);
    server.mention_range(1..=130);
    let mut poll = poller(&[]);
    let cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    let mut pages = Vec::new();
    for _ in 0..2 {
        let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
        pages.push(page.items.iter().map(|item| (id(&item.raw), item.cursor_after.clone())).collect::<Vec<_>>());
    }
    assert!(!pages[0].is_empty());
    assert_eq!(pages[0], pages[1]);
}

#[tokio::test]
async fn a_notification_that_the_server_finished_late_is_found() {
    let server = Server::new(Habit::MinId, 80);
    server.mention_range(1..=5);
    server.mention_range(7..=8);
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    assert_eq!(drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.len(), 7);
    server.mention_range(6..=6);
    let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
    assert_eq!(seen, ["6"]);
    assert!(drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.is_empty());
}

#[tokio::test]
async fn starts() {
    let server = Server::new(Habit::MinId, 40);
    // One a minute from 10:00 on.
    server.mention_range(1..=100);
    for (start, first) in [
        (Start::Now, 101),
        (Start::Beginning, 1),
        (Start::Since(Timestamp::parse("2026-05-01T10:30:00Z").unwrap()), 30),
        (Start::Since(Timestamp::parse("2020-01-01T00:00:00Z").unwrap()), 1),
        (Start::Since(Timestamp::parse("2030-01-01T00:00:00Z").unwrap()), 101),
    ] {
        let mut poll = poller(&[]);
        let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, start.clone()).await;
        let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
        assert_eq!(seen, numbers(first..=100), "{start:?}");
    }
    let empty = Server::new(Habit::MinId, 40);
    let mut poll = poller(&[]);
    let mut cursor = begin(&empty, &mut *poll, NOTIFICATIONS, Start::Now).await;
    empty.mention_range(1..=1);
    assert_eq!(drain(&empty, &mut *poll, NOTIFICATIONS, &mut cursor).await.len(), 1);
}

#[tokio::test]
async fn an_empty_page_keeps_the_cursor_and_asks_once() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=3);
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await;
    let asked = server.asked("/api/v1/notifications");
    let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    assert!(page.items.is_empty() && page.cursor.is_none() && !page.more);
    assert_eq!(server.asked("/api/v1/notifications"), asked + 1);
    // Also when everything that the cursor names is gone.
    server.clear();
    let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    assert!(page.items.is_empty() && !page.more);
}

#[tokio::test]
async fn an_item_without_an_id_is_handed_on_once_and_stops_nothing() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=2);
    server.add_broken();
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    assert_eq!(drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.len(), 3);
    server.mention_range(3..=3);
    let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
    assert_eq!(seen, ["3"]);
}

#[tokio::test]
async fn a_broken_character_costs_a_character() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=1);
    let mut poll = poller(&[]);
    let cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    for broken in [&b"\xff"[..], b"\\ud83d"] {
        let whole = server.page_bytes();
        let at = whole.windows(5).position(|five| five == b"hello").unwrap();
        server.fail_next(200, &[], [&whole[..at], broken, &whole[at..]].concat());
        let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
        let parsed = server::build(&[]).parse.parse(&page.items[0].raw);
        assert_eq!(parsed.events[0].event.text.as_deref(), Some("\u{fffd}hello"));
    }
}

#[tokio::test]
async fn what_the_server_answers_is_an_order() {
    let server = Server::new(Habit::MinId, 40);
    let mut poll = poller(&[]);
    let cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Now).await;
    // The account is known from here on.
    ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    let fail = |status, headers: &[(&str, &str)], body: &str| server.fail_next(status, headers, body);
    fail(401, &[], "{}");
    assert!(matches!(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await, Err(IntakeError::Unauthorised(_))));
    fail(403, &[], "{}");
    assert!(matches!(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await, Err(IntakeError::Unauthorised(_))));
    let after = |result: Result<Page, IntakeError>| match result {
        Err(IntakeError::Retry { after, .. }) => after.map(|after| after.as_secs()),
        other => panic!("{other:?}"),
    };
    fail(429, &[("retry-after", "17")], "{}");
    assert_eq!(after(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await), Some(17));
    // The reset is a point in time, by the server's own clock.
    let headers = [("x-ratelimit-reset", "2026-05-01T10:05:00.000000Z"), ("date", "Fri, 01 May 2026 10:03:00 GMT")];
    fail(429, &headers, "{}");
    assert_eq!(after(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await), Some(121));
    fail(503, &[], "down");
    assert_eq!(after(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await), None);
    fail(200, &[], "<html>maintenance</html>");
    assert_eq!(after(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await), None);
    server.unreachable_next();
    assert_eq!(after(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await), None);
    fail(422, &[], "{}");
    assert!(matches!(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await, Err(IntakeError::Broken(_))));
    assert!(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_last_request_of_a_window_is_followed_by_a_pause() {
    let server = Server::new(Habit::MinId, 40);
    let mut poll = poller(&[]);
    let cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Now).await;
    let headers = [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "2026-05-01T10:05:00.000000Z"),
        ("date", "Fri, 01 May 2026 10:04:00 GMT"),
    ];
    ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    server.fail_next(200, &headers, "[]");
    let page = ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    assert_eq!(page.wait, Some(Duration::from_secs(61)));
}

#[tokio::test]
async fn a_fault_in_the_midst_of_a_page_loses_nothing() {
    let server = Server::new(Habit::NewestPage, 15);
    server.mention_range(1..=60);
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    // The account, the newest page, three below it: each of these requests finds nobody once.
    for requests in 0..5 {
        server.unreachable_after(requests);
        assert!(ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.is_err(), "request {requests}");
    }
    let seen: Vec<_> = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await.iter().map(id).collect();
    assert_eq!(seen, numbers(1..=60));
}

#[tokio::test]
async fn a_thread_is_asked_for_once() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=1);
    server.reply(2, "s1");
    server.reply(3, "s2");
    server.context("s2", &["s1"]);
    server.context("s3", &["s1", "s2"]);
    server.reply(4, "elsewhere");
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Beginning).await;
    let raws = drain(&server, &mut *poll, NOTIFICATIONS, &mut cursor).await;
    let roots: Vec<_> = raws.iter().map(|raw| raw.headers.get("inlet-thread-root")).collect();
    assert_eq!(roots, [None, Some("s1"), Some("s1"), None]);
    assert_eq!((server.asked("/api/v1/statuses/s2/context"), server.asked("/api/v1/statuses/s3/context")), (1, 0));
    assert_eq!(raws[0].headers.get("inlet-account"), Some("shop@mastodon.example"));
    assert_eq!(raws[0].headers.get("inlet-account-id"), Some("1"));
    assert_eq!(raws[0].uri, "https://mastodon.example/api/v1/notifications/1");
}

#[tokio::test]
async fn the_server_is_asked_with_the_token_and_told_what_to_leave_out() {
    let server = Server::new(Habit::MinId, 40);
    let mut poll = poller(&[("exclude_types", json!(["follow", "poll"]))]);
    let cursor = begin(&server, &mut *poll, NOTIFICATIONS, Start::Now).await;
    ask(&server, &mut *poll, NOTIFICATIONS, &cursor).await.unwrap();
    let last = server.requests().into_iter().rfind(|request| request.contains("notifications")).unwrap();
    assert!(last.ends_with("min_id=0&since_id=0&exclude_types%5B%5D=follow&exclude_types%5B%5D=poll"), "{last}");
}

#[tokio::test]
async fn edits_and_deletions_of_mentions_are_found() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=3);
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, MENTIONS, Start::Beginning).await;
    let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
    assert!(page.items.is_empty(), "what is new is the other stream's");
    assert_eq!(page.wait, Some(Duration::from_secs(300)));
    cursor = page.cursor.unwrap();

    server.edit(2, "2026-05-01T12:00:00.000Z");
    server.delete(3);
    server.dismiss(1);
    let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
    let told: Vec<_> =
        page.items.iter().map(|item| (item.raw.headers.get("inlet-item").unwrap(), id(&item.raw))).collect();
    assert_eq!(told, [("status_edited", "s2".to_owned()), ("status_deleted", "s3".to_owned())]);
    // Not committed: the same again.
    assert_eq!(ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap().items.len(), 2);
    cursor = page.cursor.unwrap();
    let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
    assert!(page.items.is_empty() && page.cursor.is_none());

    server.edit(2, "2026-05-01T13:00:00.000Z");
    let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
    assert_eq!(page.items.len(), 1);
    // A mention that was dismissed is watched no longer.
    server.delete(1);
    cursor = page.cursor.unwrap();
    assert!(ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn an_edit_between_the_two_streams_is_told() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=1);
    server.edit(1, "2026-05-01T12:00:00.000Z");
    let mut poll = poller(&[]);
    let cursor = begin(&server, &mut *poll, MENTIONS, Start::Beginning).await;
    assert_eq!(ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_watch_is_bounded_and_old_mentions_are_let_go() {
    for cap in [15, 80] {
        let server = Server::new(Habit::MinId, cap);
        server.mention_range(1..=200);
        let mut poll = poller(&[("recheck_mentions", json!(50))]);
        let mut cursor = begin(&server, &mut *poll, MENTIONS, Start::Beginning).await;
        for _ in 0..2 {
            let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
            assert!(page.items.is_empty());
            cursor = page.cursor.unwrap_or(cursor);
        }
        assert_eq!(cursor.0["mentions"].as_array().unwrap().len(), 50);
        assert!(cursor.0.to_string().len() < 16_000);
        server.delete(10);
        server.delete(199);
        let page = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap();
        assert_eq!(page.items.iter().map(|item| id(&item.raw)).collect::<Vec<_>>(), ["s199"], "pages of {cap}");
    }
}

#[tokio::test]
async fn a_server_in_trouble_deletes_nothing() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=3);
    let mut poll = poller(&[]);
    let mut cursor = begin(&server, &mut *poll, MENTIONS, Start::Beginning).await;
    cursor = ask(&server, &mut *poll, MENTIONS, &cursor).await.unwrap().cursor.unwrap();
    // The list lacks a mention and the question for its status fails.
    server.dismiss(2);
    server.fail_status("s2", 503);
    assert!(matches!(ask(&server, &mut *poll, MENTIONS, &cursor).await, Err(IntakeError::Retry { .. })));
}

#[tokio::test]
async fn recheck_can_be_switched_off_and_the_probe_reads_only() {
    let server = Server::new(Habit::MinId, 40);
    server.mention_range(1..=3);
    let mut poll = poller(&[("recheck_mentions", json!(0))]);
    assert_eq!(poll.streams(&server.io()).await.unwrap(), [StreamId::new(NOTIFICATIONS)]);
    let mut poll = poller(&[]);
    assert_eq!(poll.streams(&server.io()).await.unwrap().len(), 2);
    let report = probe().probe(&server.io()).await.unwrap();
    assert_eq!(report.lines, ["@shop@mastodon.example: account 1", "latest notification: 3"]);
    server.fail_next(401, &[], "{}");
    assert!(matches!(probe().probe(&server.io()).await, Err(IntakeError::Unauthorised(_))));
}
