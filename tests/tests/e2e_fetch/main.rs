//! Files that messages refer to: a scripted https host → the blob store, and an event on a real Kafka for each outcome.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::process::Workdir;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_http::{Recorded, Reply, ScriptedHttp};
use inlet_tests::{blobs, tls, wait, webhooks};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "shop-s3cret-1";
const TOKEN: &str = "file-t0ken-9";
/// More than the parts in which it is stored.
const FILE_BYTES: usize = 3_500_000;

/// A host of files and a gateway that may fetch from it.
struct World {
    files: ScriptedHttp,
    config: Config,
    authority: String,
    _dir: Workdir,
}

impl World {
    /// `fetch`: the instance's options for fetching.
    fn new(prefix: &str, fetch: &str, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let dir = Workdir::new("files")?;
        let certificates = tls::make(&dir)?;
        let files = ScriptedHttp::start_tls(&certificates, script)?;
        let instances = include_str!("instances.yaml")
            .replace("@PORT@", &files.port().to_string())
            .replace("@FETCH@", fetch)
            .replace("@SECRET@", SECRET)
            .replace("@TOKEN@", TOKEN);
        let config = Config::new(Kafka::shared(), prefix, &instances);
        let authority = certificates.authority.display().to_string();
        Ok(Self { files, config, authority, _dir: dir })
    }

    fn gateway(&self) -> Result<Gateway> {
        let mut gateway = Gateway::prepared(&self.config.text())?.env("SSL_CERT_FILE", &self.authority);
        gateway.start()?;
        Ok(gateway)
    }

    fn committed(&self) -> Result<Committed> {
        Committed::open(&Kafka::shared().bootstrap(), &self.config.events(), LIMIT)
    }

    /// A message with one file.
    fn send(&self, gateway: &Gateway, id: &str, url: &str) -> Result<()> {
        let body = serde_json::json!({
            "id": id, "text": "see the file", "sender": {"id": "u-1"},
            "attachments": [{"url": url, "name": "file.bin", "mime": "application/octet-stream"}],
        });
        wait::until(LIMIT, "a 2xx", || {
            let request = webhooks::standard(&gateway.intake("shop"), SECRET.as_bytes(), id, body.to_string());
            Ok((request.send()?.status < 300).then_some(()))
        })
    }
}

fn is(record: &Record, kind: &str) -> bool {
    record.text("/kind").as_deref() == Some(kind)
}

/// The first event of that kind, for the message of that id.
fn outcome(committed: &mut Committed, id: &str, kind: &str) -> Result<Record> {
    let about = |record: &Record| {
        let attachment = record.text("/target/message_id").or_else(|| record.text("/provenance/message_ids/0"));
        is(record, kind) && attachment.is_some_and(|message| message.contains(id))
    };
    let records = committed.read_until(LIMIT, &format!("{kind} of {id}"), |records| records.iter().any(about))?;
    records.iter().find(|record| about(record)).cloned().context("was there")
}

fn file(seed: usize) -> Vec<u8> {
    (0..FILE_BYTES).map(|n| (n.wrapping_mul(31).wrapping_add(seed) % 251) as u8).collect()
}

/// Stored whole under its SHA-256 after faults and a redirect; the token goes to the first host alone; what is gone, too
/// large or elsewhere is said so.
#[test]
fn files_end_in_an_event_whatever_comes() -> Result<()> {
    let busy = AtomicUsize::new(0);
    let world = World::new("fetched", "{ private_hosts: [localhost], max_bytes: 4MiB }", move |request| match request
        .path
        .as_str()
    {
        "/whole" => Reply::status(200).header("content-type", "application/octet-stream").body(file(1)),
        "/busy" if busy.fetch_add(1, Ordering::Relaxed) == 0 => Reply::status(429).header("retry-after", "1"),
        "/busy" => Reply::status(200).body("at last"),
        "/gone" => Reply::status(404),
        "/large" => Reply::status(200).body(vec![0; 5 << 20]),
        "/away" => Reply::status(302).header("location", "https://10.0.0.1/secret"),
        "/moved" => Reply::status(302).header("location", "/whole"),
        _ => Reply::status(500),
    })?;
    let gateway = world.gateway()?;
    let mut committed = world.committed()?;
    for path in ["whole", "busy", "gone", "large", "away", "moved"] {
        world.send(&gateway, path, &world.files.url(&format!("/{path}")))?;
    }
    let stored = outcome(&mut committed, "whole", "attachment.stored")?;
    let attachment = stored.json()?.pointer("/attachments/0").cloned().context("an attachment")?;
    assert_eq!(blobs::read(&stored, &attachment["blob"])?, file(1));
    assert_eq!(attachment["fetch_state"], "stored");
    outcome(&mut committed, "busy", "attachment.stored")?;
    outcome(&mut committed, "moved", "attachment.stored")?;
    let failed = |committed: &mut Committed, id: &str| -> Result<Value> {
        let record = outcome(committed, id, "attachment.failed")?;
        Ok(record.json()?.pointer("/attachments/0").cloned().unwrap_or_default())
    };
    assert!(failed(&mut committed, "gone")?["reason"].as_str().is_some_and(|reason| reason.contains("gone")));
    assert_eq!(failed(&mut committed, "large")?["fetch_state"], "too_large");
    failed(&mut committed, "away")?;
    let asked = world.files.requests();
    let with_token = |path: &str| {
        let of_path = asked.iter().filter(move |request| request.path == path);
        of_path.filter(|request| request.header("authorization") == Some(&format!("Bearer {TOKEN}"))).count()
    };
    assert!(with_token("/whole") >= 1 && with_token("/moved") >= 1);
    let shown = format!("{}{}{}", gateway.stderr(), gateway.status()?, gateway.get_admin("/metrics")?.text());
    assert!(!shown.contains(TOKEN) && !shown.contains(SECRET), "{shown}");
    Ok(())
}

/// Without the option a host with a private address is not called, whatever its name and whatever the list of hosts says.
#[test]
fn private_addresses_are_not_called() -> Result<()> {
    let world = World::new("ssrf", "{}", |_| Reply::status(200).body("secret of the inner network"))?;
    let gateway = world.gateway()?;
    let mut committed = world.committed()?;
    world.send(&gateway, "inner", &world.files.url("/inner"))?;
    let failed = outcome(&mut committed, "inner", "attachment.failed")?;
    let reason = failed.text("/attachments/0/reason").unwrap_or_default();
    assert!(reason.contains("private"), "{reason}");
    assert!(world.files.requests().is_empty(), "it was called");
    Ok(())
}

/// Killed in the middle of a download, and again: the file is there in the end, once, and orders for it coalesce.
#[test]
fn a_worker_killed_half_way_loses_nothing() -> Result<()> {
    let flows = Arc::new(AtomicBool::new(false));
    let open = flows.clone();
    let world = World::new("killedfetch", "{ private_hosts: [localhost] }", move |request| {
        let whole = Reply::status(200).body(file(request.path.len()));
        if open.load(Ordering::Relaxed) { whole } else { Reply::status(200).body(vec![1; 100_000]).stalling() }
    })?;
    let mut gateway = world.gateway()?;
    let mut committed = world.committed()?;
    let ids = ["file-a", "file-bb", "file-ccc"];
    for id in ids {
        world.send(&gateway, id, &world.files.url(&format!("/{id}")))?;
    }
    for times in 1..=2 {
        let asked = || {
            ids.iter().all(|id| {
                world.files.requests().iter().filter(|request| request.path == format!("/{id}")).count() >= times
            })
        };
        wait::until_true(LIMIT, "downloads under way", asked)?;
        gateway.kill();
        gateway.start()?;
    }
    flows.store(true, Ordering::Relaxed);
    // What the last process has open does not end by itself.
    gateway.kill();
    gateway.start()?;
    for id in ids {
        let stored = outcome(&mut committed, id, "attachment.stored")?;
        let reference = stored.json()?.pointer("/attachments/0/blob").cloned().context("a blob")?;
        assert_eq!(blobs::read(&stored, &reference)?, file(id.len() + 1), "{id}");
    }
    Ok(())
}
