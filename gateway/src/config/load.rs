//! From a file to a checked configuration.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use connector_sdk::{BuildContext, ConfigError, Connector, Entry};
use serde_json::Value;

use super::document::{Document, Place, join};
use super::interpolate::interpolate;
use super::model::{Config, Instance};
use super::suggest::{nearest, unknown_key};
use crate::pipeline::blobs::BlobStore;

/// Providers send again within minutes; what is told to another replica takes seconds.
const SEEN_WINDOW_MIN: Duration = Duration::from_secs(60);
const SEEN_IDS_MIN: usize = 10_000;
/// About four gigabytes.
const SEEN_IDS_MAX: usize = 100_000_000;

/// One thing wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub place: Place,
    /// Dotted path of the field; empty for the file as a whole.
    pub field: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.place.line, self.place.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything wrong with the file, one a line.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// A configuration whose instances were built (never connected).
pub struct LoadedConfig {
    pub config: Config,
    /// The file's values with references resolved, to tell what another file changes.
    pub sections: Value,
    /// By instance name, in order.
    pub connectors: Vec<(String, &'static Entry, Connector)>,
}

/// Reads and checks a file against a list of connectors.
pub fn load(path: &Path, entries: &'static [Entry]) -> Result<LoadedConfig, ConfigErrors> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => load_str(&file, &text, entries),
        Err(error) => Err(ConfigErrors(vec![Problem {
            file,
            place: Place { line: 1, column: 1 },
            field: String::new(),
            message: format!("cannot be read: {error}; `inlet init` writes one"),
        }])),
    }
}

/// Reads and checks a text; `file` is its name in errors.
pub fn load_str(file: &str, text: &str, entries: &'static [Entry]) -> Result<LoadedConfig, ConfigErrors> {
    let problem =
        |place, field: &str, message| Problem { file: file.to_owned(), place, field: field.to_owned(), message };
    let mut document =
        Document::read(text).map_err(|(place, message)| ConfigErrors(vec![problem(place, "", message)]))?;
    let mut found = Vec::new();
    let mut value = std::mem::take(&mut document.value);
    interpolate(&mut value, "", &mut found);
    let config = match serde_path_to_error::deserialize::<_, Config>(&value) {
        Ok(config) => Some(config),
        Err(error) => {
            let path = error.path().to_string();
            found.push(explain(if path == "." { String::new() } else { path }, &error.into_inner().to_string()));
            None
        }
    };
    let mut connectors = Vec::new();
    if let Some(config) = &config {
        check_names(config, &mut found);
        for (name, instance) in &config.instances {
            match build(name, instance, config, entries) {
                Ok((entry, connector)) => connectors.push((name.clone(), entry, connector)),
                Err(error) => found.push(error),
            }
        }
    }
    match config {
        Some(config) if found.is_empty() => Ok(LoadedConfig { config, sections: value, connectors }),
        _ => Err(ConfigErrors(
            found.into_iter().map(|(path, message)| problem(document.place(&path), &path, message)).collect(),
        )),
    }
}

fn check_names(config: &Config, found: &mut Vec<(String, String)>) {
    for name in config.instances.keys() {
        let valid = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !valid {
            let message = "an instance's name is part of its URL: use a-z, 0-9, - and _, at most 64".to_owned();
            found.push((join("instances", name), message));
        }
    }
    check_seen(config, found);
    if config.kafka.brokers.is_empty() {
        found.push(("kafka.brokers".into(), "at least one broker is needed, as host:port".into()));
    }
    if config.replicas > 1 && !BlobStore::is_url_shared(config.blobs.url.as_deref()) {
        let message = format!(
            "{} processes need a blob store that all of them reach: set blobs.url to s3://bucket/prefix",
            config.replicas
        );
        found.push(("replicas".into(), message));
    }
    if config.spool.on().is_some_and(|spool| spool.max_bytes.0 == 0) {
        found.push(("spool.max_bytes".into(), "nothing fits into 0 bytes; `spool: off` does without one".into()));
    }
    if let Some(url) = &config.ingress.public_url
        && !(url.starts_with("https://") || url.starts_with("http://"))
    {
        found.push(("ingress.public_url".into(), format!("'{url}' is no http(s) URL")));
    }
    let (propagation, grace) = (config.shutdown.propagation.0, config.shutdown.grace.0);
    if propagation >= grace {
        let message = format!("{propagation:?} is not shorter than shutdown.grace ({grace:?}), of which it is a part");
        found.push(("shutdown.propagation".into(), message));
    }
    for (i, proxy) in config.ingress.trusted_proxies.iter().enumerate() {
        if let Err(message) = crate::ingress::peer::Network::parse(proxy) {
            found.push((format!("ingress.trusted_proxies[{i}]"), message));
        }
    }
}

fn check_seen(config: &Config, found: &mut Vec<(String, String)>) {
    let seen = &config.seen;
    if seen.window.0 < SEEN_WINDOW_MIN {
        found.push(("seen.window".into(), format!("must be {} s at least", SEEN_WINDOW_MIN.as_secs())));
    }
    if !(SEEN_IDS_MIN..=SEEN_IDS_MAX).contains(&seen.max_ids) {
        found.push(("seen.max_ids".into(), format!("must be from {SEEN_IDS_MIN} to {SEEN_IDS_MAX}")));
    }
    if config.topics.settings().seen.retention.is_some_and(|kept| kept < seen.window.0) {
        let message = "is shorter than seen.window: after a restart older redeliveries would be published again";
        found.push(("topics.seen.retention".into(), message.to_owned()));
    }
}

fn build(
    name: &str,
    instance: &Instance,
    config: &Config,
    entries: &'static [Entry],
) -> Result<(&'static Entry, Connector), (String, String)> {
    let path = join("instances", name);
    let Some(entry) = entries.iter().find(|entry| entry.name == instance.connector) else {
        let known = entries.iter().map(|entry| entry.name);
        let hint = match nearest(&instance.connector, known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => "`inlet connectors` lists them".to_owned(),
        };
        return Err((join(&path, "connector"), format!("no connector '{}'; {hint}", instance.connector)));
    };
    let cx = BuildContext {
        instance: name.to_owned(),
        public_url: config.ingress.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
    };
    let options = Value::Object(instance.options.clone());
    (entry.build)(&options, &cx).map(|connector| (entry, connector)).map_err(|ConfigError { path: inner, message }| {
        let base = join(&path, "options");
        explain(if inner.is_empty() { base } else { join(&base, &inner) }, &message)
    })
}

/// serde's words as a sentence, at the place that they are about.
fn explain(path: String, message: &str) -> (String, String) {
    // serde_json adds its own position, which is not the file's.
    let message = message.split(" at line ").next().unwrap_or(message);
    match unknown_key(message) {
        Some((key, text)) => {
            // serde_path_to_error counts the unknown key in for maps read by key, and not for others.
            let own = path == key || path.ends_with(&format!(".{key}"));
            (if own { path } else { join(&path, &key) }, text)
        }
        None => (path, message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match load_str("inlet.yaml", text, &[]) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_minimal_file_is_enough() {
        assert_eq!(problems("kafka: { brokers: [\"a:9092\"] }\n"), Vec::<String>::new());
    }

    #[test]
    fn unknown_keys_name_themselves_and_the_nearest() {
        assert_eq!(
            problems("kafka:\n  brokers: [\"a:9092\"]\n  propertys: {}\n"),
            ["inlet.yaml:3:3: kafka.propertys: unknown key 'propertys'; did you mean 'properties'?"]
        );
        assert_eq!(
            problems("kafka: { brokers: [\"a:9092\"] }\ningres: {}\n"),
            ["inlet.yaml:2:1: ingres: unknown key 'ingres'; did you mean 'ingress'?"]
        );
    }

    #[test]
    fn bad_values_name_their_field_and_line() {
        let text = "kafka: { brokers: [\"a:9092\"] }\ningress:\n  limits:\n    deadline: soon\n";
        let found = problems(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("inlet.yaml:4:5: ingress.limits.deadline: 'soon' is no span"), "{found:?}");
        let found = problems("kafka: { brokers: [] }\n");
        assert!(found[0].contains("kafka.brokers: at least one broker"), "{found:?}");
        let found = problems("kafka: { brokers: [\"a:9092\"] }\ninstances:\n  a b: { connector: nope }\n");
        assert!(found[0].starts_with("inlet.yaml:3:3: instances.a b: an instance's name"), "{found:?}");
        assert!(found[1].contains("no connector 'nope'"), "{found:?}");
    }

    #[test]
    fn d4_limits_of_the_seen_index_are_checked() {
        let text = "kafka: { brokers: [\"a:9092\"] }\nseen:\n  window: 5s\n  max_ids: 10\n";
        let found = problems(text);
        assert!(found[0].starts_with("inlet.yaml:3:3: seen.window: must be 60 s"), "{found:?}");
        assert!(found[1].starts_with("inlet.yaml:4:3: seen.max_ids: must be from"), "{found:?}");
        let text = "kafka: { brokers: [\"a:9092\"] }\ntopics: { seen: { retention: 1h } }\n";
        let found = problems(text);
        assert!(found[0].contains("topics.seen.retention: is shorter than seen.window"), "{found:?}");
    }

    #[test]
    fn d2_several_replicas_need_a_shared_blob_store() {
        let text = "kafka: { brokers: [\"a:9092\"] }\nreplicas: 2\n";
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("inlet.yaml:2:1: replicas: 2 processes need a blob store"), "{found:?}");
        assert_eq!(problems(&format!("{text}blobs: {{ url: \"s3://b/p\" }}\n")), Vec::<String>::new());
        assert_eq!(problems(&format!("{text}blobs: {{ url: \"file:///srv\" }}\n")).len(), 1);
    }

    #[test]
    fn the_spool_is_off_or_a_section() {
        let head = "kafka: { brokers: [\"a:9092\"] }\n";
        assert_eq!(problems(&format!("{head}spool: off\n")), Vec::<String>::new());
        assert_eq!(problems(&format!("{head}spool: {{ max_bytes: 1GiB, max_age: 2h }}\n")), Vec::<String>::new());
        let found = problems(&format!("{head}spool:\n  max_byte: 1GiB\n"));
        assert!(found[0].starts_with("inlet.yaml:3:3: spool.max_byte: unknown key"), "{found:?}");
        assert!(found[0].contains("max_bytes"), "{found:?}");
        let found = problems(&format!("{head}spool: on\n"));
        assert!(found[0].starts_with("inlet.yaml:2:1: spool: "), "{found:?}");
        let found = problems(&format!("{head}spool: {{ max_bytes: 0 }}\n"));
        assert!(found[0].contains("spool.max_bytes: nothing fits"), "{found:?}");
    }

    #[test]
    fn broken_yaml_names_the_line() {
        let found = problems("kafka:\n  brokers: [a\nx: 1\n");
        assert!(found[0].starts_with("inlet.yaml:"), "{found:?}");
        assert!(problems("").iter().any(|p| p.contains("kafka")), "an empty file lacks kafka");
    }

    #[test]
    fn references_that_lead_nowhere_are_errors() {
        let found = problems("kafka: { brokers: [\"${env:INLET_TEST_NOT_SET}\"] }\n");
        assert!(found[0].contains("kafka.brokers[0]") && found[0].contains("INLET_TEST_NOT_SET"), "{found:?}");
    }
}
