//! `inlet quickstart`: what a newcomer sees in the first minutes, with the commands that it prints.

use anyhow::{Context, Result, anyhow};
use connector_sdk::Intake;
use inlet_tests::consume;
use inlet_tests::gateway::{Gateway, cli};
use inlet_tests::process::Workdir;
use inlet_tests::servers::chromium::{Setup, Step, browse};
use inlet_tests::webhooks;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "demo-secret";
/// What goes wrong from the start has been said by then: a call to Kafka that is not answered takes five seconds.
const SETTLED: Duration = Duration::from_secs(8);

fn bootstrap(gateway: &Gateway) -> Result<String> {
    gateway.printed("kafka bootstrap").context("no line 'kafka bootstrap: …'")
}

/// The promised lines, and the printed curl works as it stands.
#[test]
fn the_printed_commands_work() -> Result<()> {
    let mut gateway = Gateway::quickstart(&[])?;
    assert_eq!(gateway.printed("topic").as_deref(), Some("inlet.events"));
    let text = gateway.stdout();
    for promise in ["ends with", "inlet init", "/forms/contact", "kcat"] {
        assert!(text.contains(promise), "'{promise}' is not in:\n{text}");
    }
    let curl = text.lines().find(|line| line.contains("curl ")).context("no curl to try")?.trim().to_owned();
    let output = inlet_tests::process::run(Command::new("bash").args(["-c", &curl]))?;
    assert!(output.contains("200"), "{output}");
    let records = consume::kcat_until(&bootstrap(&gateway)?, "inlet.events", 1, LIMIT)?;
    let said = records[0].text("/text").context("a text")?;
    // The event is shown as a line that one can read.
    gateway.wait_line(LIMIT, "with the message", |line| line.contains(&said) && !line.contains("curl "))?;
    assert_eq!(gateway.get_admin("/healthz")?.status, 200);
    assert_eq!(gateway.get_admin("/readyz")?.status, 200);
    assert!(gateway.get_admin("/metrics")?.text().contains("inlet_"));
    gateway.process()?.interrupt();
    assert!(gateway.process()?.wait_exit(LIMIT)?.success(), "Ctrl-C ends it cleanly");
    Ok(())
}

/// A signed Slack message is read with kcat: CloudEvents headers, the conversation as key.
#[test]
fn a_slack_message_is_read_with_kcat() -> Result<()> {
    let gateway = Gateway::quickstart(&["--json"])?;
    let body = include_str!("slack_message.json");
    let answer = webhooks::slack(&gateway.intake("slack"), SECRET, body).send()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let records = consume::kcat_until(&bootstrap(&gateway)?, "inlet.events", 1, LIMIT)?;
    let record = &records[0];
    assert_eq!(record.text("/kind").as_deref(), Some("message.created"));
    assert_eq!(record.text("/text").as_deref(), Some("שלום 👋 where is my order?"));
    assert_eq!(record.key, record.text("/conversation/key"));
    assert_eq!(record.header("ce_id").map(str::to_owned), record.text("/id"));
    for name in ["ce_specversion", "ce_type", "ce_source", "ce_time", "content-type"] {
        assert!(record.header(name).is_some(), "{name} is not in {:?}", record.headers);
    }
    // With --json the event is printed as it is on Kafka.
    let line = gateway.wait_line(LIMIT, "of JSON", |line| line.starts_with('{'))?;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line)?, record.json()?);
    let answer = webhooks::slack(&gateway.intake("slack"), "wrong", body).send()?;
    assert_eq!(answer.status, 401);
    Ok(())
}

/// The form in a real browser arrives as `form.submitted`.
#[test]
fn the_form_is_filled_in_a_browser() -> Result<()> {
    let gateway = Gateway::quickstart(&[])?;
    browse(
        &Setup::default(),
        &[
            Step::Goto { url: format!("{}/forms/contact", gateway.ingress) },
            Step::Fill { selector: "[name=name]".into(), value: "Zoë Example".into() },
            Step::Fill { selector: "[name=email]".into(), value: "zoe@example.test".into() },
            Step::Fill { selector: "[name=message]".into(), value: "Where is my order? ✓".into() },
            Step::Click { selector: "button[type=submit]".into() },
            Step::WaitText { text: "Thank".into() },
        ],
    )?;
    let records = consume::kcat_until(&bootstrap(&gateway)?, "inlet.events", 1, LIMIT)?;
    let text = String::from_utf8_lossy(&records[0].value).into_owned();
    assert_eq!(records[0].text("/kind").as_deref(), Some("form.submitted"), "{text}");
    for said in ["Zoë Example", "zoe@example.test", "Where is my order? ✓"] {
        assert!(text.contains(said), "'{said}' is not in {text}");
    }
    Ok(())
}

/// `simulate` and `init`, as the screen of quickstart suggests them.
#[test]
fn simulate_and_init_go_on_from_here() -> Result<()> {
    let gateway = Gateway::quickstart(&[])?;
    let dir = Workdir::new("init")?;
    let listed = cli(&["simulate", "slack"], dir.path())?;
    assert!(listed.status.success());
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let case = text.lines().nth(1).and_then(|line| line.split_whitespace().next()).context("a case")?.to_owned();
    let sent = cli(&["simulate", "slack", &case, "--to", &gateway.ingress], dir.path())?;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    consume::kcat_until(&bootstrap(&gateway)?, "inlet.events", 1, LIMIT)?;
    Ok(())
}

/// What the embedded broker does not know of Kafka is no trouble of the newcomer's.
#[test]
fn nothing_is_warned_of() -> Result<()> {
    let gateway = Gateway::quickstart(&[])?;
    let warning = gateway.wait_line(SETTLED, "of a warning", |line| line.contains("WARN"));
    assert!(warning.is_err(), "{warning:?}");
    Ok(())
}

/// Whoever tries Inlet out has not asked it to call anybody.
#[test]
fn no_demo_instance_calls_its_provider() -> Result<()> {
    let text = format!("kafka: {{ brokers: [\"localhost:9092\"] }}\n{}", connectors::DEMO.instances);
    let loaded = inlet::config::load_str("demo.yaml", &text, connectors::all()).map_err(|e| anyhow!("{e}"))?;
    assert!(!loaded.connectors.is_empty());
    for (name, _, connector) in loaded.connectors {
        assert!(connector.upkeep.is_none(), "{name} asks its provider how things are");
        let calls = connector.intakes.iter().any(|intake| !matches!(intake, Intake::Webhook(_)));
        assert!(!calls, "{name} reads from its provider");
    }
    Ok(())
}
