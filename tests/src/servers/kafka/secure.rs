//! A broker as people run it: TLS with a certificate of their own authority, and a password.

use super::Kafka;
use crate::{ports, tls};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// How to reach the listener with TLS and SASL/PLAIN.
#[derive(Debug)]
pub struct Secured {
    /// `host:port`.
    pub address: String,
    /// PEM file of the authority.
    pub authority: PathBuf,
    pub user: &'static str,
    pub password: &'static str,
}

const USER: &str = "inlet";
const PASSWORD: &str = "kafka-s3cret-1";

impl Kafka {
    /// One broker that listens with TLS and a password too; what goes by [`Kafka::bootstrap`] needs neither.
    pub fn one_secured() -> Result<(Self, Secured)> {
        let mut kafka = Self::prepared(1)?;
        let certificates = tls::make(&kafka.dir)?;
        // Kafka wants both in one file.
        let pem = std::fs::read_to_string(&certificates.key)? + &std::fs::read_to_string(&certificates.certificate)?;
        let store = kafka.dir.write("broker.pem", pem)?;
        let port = ports::free();
        let config = &kafka.brokers.first().context("one broker")?.config;
        let text = std::fs::read_to_string(config)?;
        let mut lines: Vec<_> = text.lines().map(|line| with_listener(line, port)).collect();
        lines.extend([
            "sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!(
                "listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                 required user_{USER}=\"{PASSWORD}\";"
            ),
            "listener.name.secure.ssl.keystore.type=PEM".to_owned(),
            format!("listener.name.secure.ssl.keystore.location={}", store.display()),
        ]);
        std::fs::write(config, lines.join("\n") + "\n")?;
        kafka.start_all()?;
        let address = format!("127.0.0.1:{port}");
        Ok((kafka, Secured { address, authority: certificates.authority, user: USER, password: PASSWORD }))
    }
}

fn with_listener(line: &str, port: u16) -> String {
    let more = match line.split('=').next() {
        Some("listeners" | "advertised.listeners") => format!(",SECURE://127.0.0.1:{port}"),
        Some("listener.security.protocol.map") => ",SECURE:SASL_SSL".to_owned(),
        _ => String::new(),
    };
    line.to_owned() + &more
}
