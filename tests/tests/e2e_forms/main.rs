//! Contact forms: a real browser, with and without scripts, on the hosted page and embedded in another site → Kafka.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{self, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use inlet_tests::process::Workdir;
use inlet_tests::servers::chromium::{Setup, Step, browse};
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use inlet_tests::{blobs, wait};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const LARGE_FILE_BYTES: usize = 20 << 20;
const INSTANCES: &str = include_str!("instances.yaml");
const SUBMIT: &str = "button[type=submit]";

fn start(prefix: &str, site: &str) -> Result<(Gateway, Config)> {
    let config = Config::new(Kafka::shared(), prefix, &INSTANCES.replace("@SITE@", site));
    Ok((Gateway::run(&config.text())?, config))
}

fn records(config: &Config, count: usize) -> Result<Vec<Record>> {
    consume::kcat_until(&Kafka::shared().bootstrap(), &config.events(), count, LIMIT)
}

fn fill(selector: &str, value: &str) -> Step {
    Step::Fill { selector: selector.into(), value: value.into() }
}

/// A file of 20 MB goes through the browser, as multipart, into the blob store.
#[test]
fn a_large_file_arrives() -> Result<()> {
    let (gateway, config) = start("formfile", "https://site.test")?;
    let dir = Workdir::new("upload")?;
    let file: Vec<u8> = (0..LARGE_FILE_BYTES).map(|n| (n * 31 % 253) as u8).collect();
    let path = dir.write("Rechnung März.bin", &file)?;
    browse(
        &Setup::default(),
        &[
            Step::Goto { url: format!("{}/forms/contact", gateway.ingress) },
            fill("[name=name]", "Zoë Example"),
            fill("[name=email]", "zoe@example.test"),
            fill("[name=message]", "The file is attached."),
            Step::Attach { selector: "input[type=file]".into(), path },
            Step::Click { selector: SUBMIT.into() },
            Step::WaitText { text: "Thank you".into() },
        ],
    )?;
    let records = records(&config, 1)?;
    let event = blobs::whole_event(&records[0])?;
    assert_eq!(event["kind"], "form.submitted");
    let attachment = &event["attachments"][0];
    assert_eq!(attachment["file_name"], "Rechnung März.bin");
    assert_eq!(attachment["fetch_state"], "stored");
    assert!(blobs::read(&records[0], &attachment["blob"])? == file, "the stored bytes differ");
    Ok(())
}

/// Without scripts the same page works, and a mistake comes back with what was typed and a message at the field.
#[test]
fn it_works_without_scripts() -> Result<()> {
    let (gateway, config) = start("formplain", "https://site.test")?;
    let setup = Setup { java_script_enabled: false, ..Setup::default() };
    let results = browse(
        &setup,
        &[
            Step::Goto { url: format!("{}/forms/contact", gateway.ingress) },
            fill("[name=name]", "Ann"),
            // Good enough for the browser's own check, not for the server's.
            fill("[name=email]", "ann@nodot"),
            fill("[name=message]", "Typed before the mistake"),
            Step::Click { selector: SUBMIT.into() },
            Step::Text { selector: "body".into() },
            Step::InputValue { selector: "[name=message]".into() },
            Step::Attribute { selector: "[name=email]".into(), name: "aria-invalid".into() },
            fill("[name=email]", "ann@example.test"),
            Step::Click { selector: SUBMIT.into() },
            Step::WaitText { text: "Thank you".into() },
        ],
    );
    let results = results?;
    assert!(results[5].as_str().is_some_and(|text| text.contains("name@example.com")), "{}", results[5]);
    assert_eq!(results[6], "Typed before the mistake");
    assert_eq!(results[7], "true");
    let records = records(&config, 1)?;
    assert_eq!(records.len(), 1, "the refused one is not published");
    let text = String::from_utf8_lossy(&records[0].value).into_owned();
    assert!(text.contains("ann@example.test") && text.contains("Typed before the mistake"), "{text}");
    Ok(())
}

/// Somebody without a mouse gets through by Tab and Enter, in the order of the page.
#[test]
fn the_keyboard_is_enough() -> Result<()> {
    let (gateway, config) = start("formkeys", "https://site.test")?;
    let tab = || Step::Press { key: "Tab".into() };
    let typed = |text: &str| Step::Type { text: text.into() };
    browse(
        &Setup::default(),
        &[
            Step::Goto { url: format!("{}/forms/contact", gateway.ingress) },
            tab(),
            typed("Key Board"),
            tab(),
            typed("keys@example.test"),
            tab(),
            typed("By keyboard alone"),
            tab(),
            tab(),
            Step::Press { key: "Enter".into() },
            Step::WaitText { text: "Thank you".into() },
        ],
    )?;
    let text = String::from_utf8_lossy(&records(&config, 1)?[0].value).into_owned();
    assert!(text.contains("keys@example.test") && text.contains("By keyboard alone"), "{text}");
    Ok(())
}

/// The script on a listed site sends the form from there; from another site the browser is refused.
#[test]
fn the_embedded_form_knows_its_sites() -> Result<()> {
    let site = ScriptedHttp::start(|_| Reply::status(404))?;
    let (gateway, config) = start("formembed", site.url("").trim_end_matches('/'))?;
    let html = format!(
        "<!doctype html><title>shop</title><div data-inlet-form=\"contact\"></div>\
         <script async src=\"{}/forms/contact/embed.js\"></script>",
        gateway.ingress
    );
    site.rewrite(move |_| Reply::html(html.clone()));
    let steps = |host: &str| {
        [
            Step::Goto { url: format!("http://{host}:{}/shop", site.port()) },
            fill("[name=name]", "Shop Visitor"),
            fill("[name=email]", "visitor@example.test"),
            fill("[name=message]", "from an embedded form"),
            Step::Click { selector: SUBMIT.into() },
            Step::WaitText { text: "Thank you".into() },
        ]
    };
    browse(&Setup::default(), &steps("127.0.0.1"))?;
    let seen = records(&config, 1)?;
    assert!(String::from_utf8_lossy(&seen[0].value).contains("from an embedded form"));
    // The same machine by another name is another origin: the browser asks first, and is told no.
    let other = browse(&Setup::default(), &steps("localhost"));
    assert!(other.is_err(), "a site that is not listed could send the form");
    let mut preflight = Request::get(format!("{}/forms/contact", gateway.ingress))
        .header("origin", "http://evil.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    preflight.method = http::Method::OPTIONS;
    let answer = preflight.send()?;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{}", answer.text());
    assert_eq!(consume::kcat(&Kafka::shared().bootstrap(), &config.events())?.len(), 1);
    Ok(())
}

/// The honeypot marks, the rate limits: nothing is lost, nobody floods.
#[test]
fn spam_is_marked_and_floods_are_slowed() -> Result<()> {
    let (gateway, config) = start("formspam", "https://site.test")?;
    let url = format!("{}/forms/guarded", gateway.ingress);
    let page = Request::get(&url).send()?.text();
    assert!(page.contains("<form"), "{page}");
    let post = |number: usize| {
        let body = format!("name=Bot&email=bot%40example.test&message=cheap+pills+{number}");
        Request::post(&url, body).header("content-type", "application/x-www-form-urlencoded").send()
    };
    let mut number = 0;
    let limited = wait::until(LIMIT, "429", || {
        number += 1;
        let answer = post(number)?;
        Ok((answer.status == 429).then_some(answer))
    })?;
    assert!(limited.header("retry-after").is_some());
    let records = records(&config, 1)?;
    let event = records[0].json()?;
    let reasons = event.pointer("/provenance/spam/reasons").context("reasons")?;
    assert_eq!(event["provenance"]["spam"]["suspected"], true, "{reasons}");
    Ok(())
}
