//! How one gets into a mailbox: STARTTLS, OAuth 2.0 with refresh, and what happens when one does not get in.

use crate::{LIMIT, USER, await_running, fill, mailbox, mails, open};
use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::corpus;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use inlet_tests::wait;
use serde_json::json;

#[test]
fn starttls_works() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(3, 1).collect();
    fill(&dovecot, USER, &corpus)?;
    let instances = mailbox(&dovecot, "support", USER)
        .replace("security: tls", "security: starttls")
        .replace(&dovecot.imaps_port.to_string(), &dovecot.imap_port.to_string());
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "starttls", &instances);
    let _gateway = Gateway::run(&config.text())?;
    open(kafka, &config)?.read_until(LIMIT, "three mails", |records| mails(records).len() == 3)?;
    Ok(())
}

/// Access tokens come from the token endpoint by the refresh token; a mailbox that drops the connection is entered again
/// with a fresh one.
#[test]
fn oauth_tokens_are_fetched_and_refreshed() -> Result<()> {
    let tokens = ScriptedHttp::start(|request| match request.path.as_str() {
        "/token" if String::from_utf8_lossy(&request.body).contains("refresh_token=refresh-1") => {
            Reply::json(&json!({"access_token": "access-1", "token_type": "Bearer", "expires_in": 3600}))
        }
        "/tokeninfo" if request.parameter("access_token").as_deref() == Some("access-1") => {
            Reply::json(&json!({"email": USER, "active": "true"}))
        }
        _ => Reply::status(401),
    })?;
    let dovecot = Dovecot::with_tokens(&tokens.url("/tokeninfo?access_token="))?;
    let corpus: Vec<_> = corpus::mails(2, 1).collect();
    fill(&dovecot, USER, &corpus[..1])?;
    let oauth = format!(
        "{{ xoauth2: {{ token_endpoint: '{}', client_id: id-1, client_secret: cs-1, refresh_token: refresh-1 }} }}",
        tokens.url("/token")
    );
    let instances = mailbox(&dovecot, "support", USER).replace("{ password: pass-Kx7 }", &oauth);
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "oauth", &instances);
    let gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the first mail", |records| mails(records).len() == 1)?;
    fill(&dovecot, USER, &corpus[1..])?;
    committed.read_until(LIMIT, "the second mail", |records| mails(records).len() == 2)?;
    let shown = format!("{}{}{}", gateway.stdout(), gateway.stderr(), gateway.status()?);
    for secret in ["access-1", "refresh-1", "cs-1"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    Ok(())
}

/// D10: a wrong password stops one instance, says so in status and on Kafka, and leaves the others alone.
#[test]
fn d10_a_wrong_password_stops_only_its_own() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(2, 1).collect();
    fill(&dovecot, USER, &corpus)?;
    let broken = mailbox(&dovecot, "broken", "other@example.test").replace("pass-Kx7", "wrong-pass");
    let instances = broken + &mailbox(&dovecot, "support", USER);
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "wrongpass", &instances);
    let gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the other's mails", |records| mails(records).len() == 2)?;
    await_running(&gateway, "support")?;
    wait::until(LIMIT, "a status 'stopped'", || {
        let status = gateway.status()?;
        let broken = &status["instances"]["broken"];
        let told = broken["state"] == "stopped" && broken["action"].as_str().is_some_and(|text| !text.is_empty());
        Ok(told.then_some(()))
    })?;
    committed.read_until(LIMIT, "a health event", |records| {
        records.iter().any(|r| r.text("/kind").as_deref() == Some("connector.health"))
    })?;
    assert!(!format!("{}{}", gateway.stdout(), gateway.stderr()).contains("wrong-pass"));
    Ok(())
}
