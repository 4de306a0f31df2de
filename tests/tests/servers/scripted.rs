use anyhow::Result;
use inlet_tests::http_client::Request;
use inlet_tests::servers::ami::Ami;
use inlet_tests::servers::scripted_ami::ScriptedAmi;
use inlet_tests::servers::scripted_http::Reply;
use inlet_tests::servers::scripted_mastodon::{ScriptedMastodon, TOKEN};
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

fn page(server: &ScriptedMastodon, query: &str) -> Result<Vec<String>> {
    let url = format!("{}/api/v1/notifications?{query}", server.base_url());
    let answer = Request::get(url).header("authorization", format!("Bearer {TOKEN}")).send()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()?;
    Ok(items.as_array().into_iter().flatten().map(|n| n["id"].as_str().unwrap_or("").to_owned()).collect())
}

/// `min_id` pages forward without a gap, `since_id` gives the newest page, a token counts.
#[test]
fn mastodon_pages_as_the_reference_does() -> Result<()> {
    let server = ScriptedMastodon::start()?;
    server.notify((98..=102).map(|id| json!({"id": id.to_string(), "type": "follow"})));
    assert_eq!(page(&server, "min_id=98&limit=2")?, ["100", "99"]);
    assert_eq!(page(&server, "since_id=98&limit=2")?, ["102", "101"]);
    assert_eq!(page(&server, "max_id=100&limit=80")?, ["99", "98"]);
    assert_eq!(page(&server, "min_id=102")?, [""; 0]);
    server.fail_with([Reply::status(429)]);
    let url = format!("{}/api/v1/notifications", server.base_url());
    assert_eq!(Request::get(&url).send()?.status, 429);
    assert_eq!(Request::get(&url).send()?.status, 401);
    Ok(())
}

/// Edits and deletions show in the list and at the post; a reply's context leads to its thread's first post.
#[test]
fn mastodon_posts_change() -> Result<()> {
    let server = ScriptedMastodon::start()?;
    server.add_status(json!({"id": "1", "in_reply_to_id": null}));
    server.notify([json!({"id": "98", "type": "mention", "status": {"id": "2", "in_reply_to_id": "1"}})]);
    server.notify([json!({"id": "99", "type": "follow"})]);
    assert_eq!(page(&server, "types%5B%5D=mention")?, ["98"]);
    assert_eq!(page(&server, "exclude_types[]=mention")?, ["99"]);
    let get = |path: &str| {
        let url = format!("{}/api/v1/statuses/{path}", server.base_url());
        Request::get(url).header("authorization", format!("Bearer {TOKEN}")).send()
    };
    assert_eq!(get("2/context")?.json()?["ancestors"][0]["id"], "1");
    server.edit("2", "<p>other</p>", "2026-05-01T10:05:00.000Z");
    assert_eq!(get("2")?.json()?["content"], "<p>other</p>");
    server.delete("2");
    assert_eq!(get("2")?.status, 404);
    assert_eq!(page(&server, "limit=80")?, ["99"]);
    Ok(())
}

#[test]
fn ami_says_what_it_is_told() -> Result<()> {
    let server = ScriptedAmi::start("good")?;
    assert!(Ami::login(server.port(), "inlet", "bad").is_err());
    let mut ami = Ami::login(server.port(), "inlet", "good")?;
    server.answer("CoreShowChannels", "Event: CoreShowChannelsComplete\r\nActionID: @ActionID@\r\n\r\n");
    ami.action(&[("Action", "CoreShowChannels"), ("ActionID", "7")])?;
    let complete = ami.wait_for(LIMIT, "the list's end", |m| m.name() == "CoreShowChannelsComplete")?;
    assert_eq!(complete.get("ActionID"), Some("7"));
    server.say(b"Event: Hangup\r\nUniqueid: 1.1\r\n\r\n");
    assert_eq!(ami.wait_for(LIMIT, "a Hangup", |m| m.name() == "Hangup")?.get("Uniqueid"), Some("1.1"));
    server.cut();
    assert!(ami.wait_for(LIMIT, "nothing", |m| m.name() == "Never").is_err());
    Ami::login(server.port(), "inlet", "good")?;
    server.wait_logins(2, LIMIT)
}
