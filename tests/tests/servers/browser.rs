use anyhow::Result;
use inlet_tests::process::Workdir;
use inlet_tests::servers::chromium::{Setup, Step, browse};
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use serde_json::json;

const PAGE: &str = include_str!("page.html");

fn site() -> Result<ScriptedHttp> {
    ScriptedHttp::start(|request| match request.method.as_str() {
        "GET" => Reply::html(PAGE),
        _ => Reply::html("<p>thank you</p>"),
    })
}

/// Fills, attaches and sends a form; the server saw it, the picture is there.
#[test]
fn a_form_is_filled_and_sent() -> Result<()> {
    let site = site()?;
    let dir = Workdir::new("page")?;
    let file = dir.write("photo.bin", vec![7; 100_000])?;
    let picture = dir.path().join("picture.png");
    let results = browse(
        &Setup::default(),
        &[
            Step::Goto { url: site.url("/form") },
            Step::Evaluate { script: "document.title".into() },
            Step::Fill { selector: "#name".into(), value: "Zoë ✓".into() },
            Step::Attach { selector: "#file".into(), path: file },
            Step::Screenshot { path: picture.clone() },
            Step::Click { selector: "button".into() },
            Step::WaitText { text: "thank you".into() },
            Step::Text { selector: "p".into() },
        ],
    )?;
    assert_eq!(results[0], json!(200));
    assert_eq!(results[1], json!("scripts run"));
    assert_eq!(results[7], json!("thank you"));
    assert!(std::fs::metadata(picture)?.len() > 1000);
    let requests = site.requests();
    let sent = requests.iter().find(|r| r.method == "POST").expect("the form was sent");
    assert!(sent.header("content-type").is_some_and(|t| t.starts_with("multipart/form-data")));
    assert!(sent.body.len() > 100_000);
    Ok(())
}

#[test]
fn without_scripts_the_page_stays_plain() -> Result<()> {
    let site = site()?;
    let setup = Setup { java_script_enabled: false, ..Setup::default() };
    let steps = [Step::Goto { url: site.url("/form") }, Step::Text { selector: "h1".into() }];
    assert_eq!(browse(&setup, &steps)?[1], json!("no scripts"));
    Ok(())
}

#[test]
fn a_failing_step_is_named() -> Result<()> {
    let site = site()?;
    let steps = [Step::Goto { url: site.url("/form") }, Step::Evaluate { script: "missing.word".into() }];
    let error = format!("{:#}", browse(&Setup::default(), &steps).expect_err("no such word"));
    assert!(error.contains("step 2"), "{error}");
    Ok(())
}
