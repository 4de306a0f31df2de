//! Inlet's topics on a real Kafka: created when missing and allowed, checked when present.

mod check;
mod finding;
mod print;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use self::check::{Found, TopicConfig};
pub use self::finding::{Fault, Finding, Severity};
pub use self::print::{Acl, Resource, TopicRow, TopicSheet};
use super::link::Quiet;
use super::settings::{KafkaSettings, SettingsError};
use crate::pipeline::record::TopicRole;

/// One question to Kafka.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// From creation until every partition has a leader.
const LEADERS_LIMIT: Duration = Duration::from_secs(15);
const LEADERS_TICK: Duration = Duration::from_millis(50);
/// Pause between attempts while Kafka is away: from, to.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why the topics could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("Kafka does not answer at {brokers}: {reason}")]
    Unreachable { brokers: String, reason: String },
}

/// Creates what is missing (where that is allowed) and checks what is there. Findings of [`Severity::Error`] mean that
/// the gateway must not work like this; each says what to do.
pub async fn ensure(settings: &KafkaSettings) -> Result<Vec<Finding>, TopicsError> {
    let kafka = Kafka::new(settings)?;
    let mut findings = Vec::new();
    let mut present = Vec::new();
    for role in TopicRole::ALL {
        match kafka.look(role).await? {
            Found::Present(shape) => present.push((role, shape)),
            Found::NoRights => findings.push(kafka.finding(role, Fault::NoRights { operation: "Describe" })),
            Found::Missing if !settings.topics.create => findings.push(kafka.finding(role, Fault::Missing)),
            Found::Missing => {
                let fault = kafka.create(role).await?;
                let usable = matches!(fault, Fault::Created | Fault::CreatedByOther);
                findings.extend((fault != Fault::CreatedByOther).then(|| kafka.finding(role, fault)));
                if usable {
                    present.extend(kafka.leaders(role).await?.map(|shape| (role, shape)));
                }
            }
        }
    }
    for (role, shape) in present {
        let max_message_bytes = settings.max_message_bytes()?;
        let topic = settings.topics.get(role);
        findings.extend(check::shape(topic, &shape).into_iter().map(|fault| kafka.finding(role, fault)));
        let faults = match kafka.describe(role).await? {
            Ok(config) => check::config(role, topic, &shape, &config, max_message_bytes),
            Err(reason) => vec![Fault::Unchecked { reason }],
        };
        findings.extend(faults.into_iter().map(|fault| kafka.finding(role, fault)));
    }
    Ok(findings)
}

/// [`ensure`], as soon as Kafka is there; until then `waiting` is told why not. Fails only for settings that no Kafka
/// could repair. May be dropped at any await.
pub async fn ensure_when_up(
    settings: &KafkaSettings,
    mut waiting: impl FnMut(&TopicsError),
) -> Result<Vec<Finding>, SettingsError> {
    let mut pause = RETRY_MIN;
    loop {
        match ensure(settings).await {
            Ok(findings) => return Ok(findings),
            Err(TopicsError::Settings(error)) => return Err(error),
            Err(error) => waiting(&error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

struct Kafka<'a> {
    settings: &'a KafkaSettings,
    admin: Arc<AdminClient<Quiet>>,
}

impl<'a> Kafka<'a> {
    fn new(settings: &'a KafkaSettings) -> Result<Self, SettingsError> {
        let admin = settings.admin()?.create_with_context(Quiet)?;
        Ok(Self { settings, admin: Arc::new(admin) })
    }

    fn finding(&self, role: TopicRole, fault: Fault) -> Finding {
        Finding { role, topic: self.settings.topics.get(role).name.clone(), fault }
    }

    fn unreachable(&self, error: &KafkaError) -> TopicsError {
        TopicsError::Unreachable { brokers: self.settings.brokers.join(","), reason: error.to_string() }
    }

    async fn look(&self, role: TopicRole) -> Result<Found, TopicsError> {
        let (admin, name) = (self.admin.clone(), self.settings.topics.get(role).name.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(Some(&name), CALL_LIMIT)?;
            Ok(metadata.topics().first().map(check::found))
        });
        match asked.await {
            Ok(Ok(Some(found))) => Ok(found),
            Ok(Ok(None)) => Ok(Found::Missing),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(error) => Err(self.unreachable(&KafkaError::AdminOpCreation(error.to_string()))),
        }
    }

    async fn create(&self, role: TopicRole) -> Result<Fault, TopicsError> {
        let topic = self.settings.topics.get(role);
        let config = check::creation(role, topic, self.settings.max_message_bytes()?);
        let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
        let new = config.iter().fold(new, |new, (key, value)| new.set(key, value));
        let results = self.admin.create_topics([&new], &options()).await.map_err(|e| self.unreachable(&e))?;
        Ok(match results.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Fault::CreatedByOther,
            Some(Err((
                _,
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ))) => Fault::NoRights { operation: "Create" },
            Some(Err((_, code))) => Fault::NotCreated { reason: code.to_string() },
            Some(Ok(_)) | None => Fault::Created,
        })
    }

    /// A topic that was created just now, once it can be used.
    async fn leaders(&self, role: TopicRole) -> Result<Option<check::Shape>, TopicsError> {
        let deadline = tokio::time::Instant::now() + LEADERS_LIMIT;
        loop {
            match self.look(role).await? {
                Found::Present(shape) if shape.has_leaders => return Ok(Some(shape)),
                _ if tokio::time::Instant::now() >= deadline => return Ok(None),
                _ => tokio::time::sleep(LEADERS_TICK).await,
            }
        }
    }

    /// The topic's settings at the broker; the inner error says why they are not told.
    async fn describe(&self, role: TopicRole) -> Result<Result<TopicConfig, String>, TopicsError> {
        let name = &self.settings.topics.get(role).name;
        let asked = self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options()).await;
        let answers = match asked {
            Ok(answers) => answers,
            Err(error) if unsupported(&error) => return Ok(Err(error.to_string())),
            Err(error) => return Err(self.unreachable(&error)),
        };
        Ok(match answers.into_iter().next() {
            Some(Ok(resource)) => Ok(TopicConfig::of(&resource)),
            Some(Err(code)) => Err(code.to_string()),
            None => Err("no answer".to_owned()),
        })
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(CALL_LIMIT)).operation_timeout(Some(CALL_LIMIT))
}

fn unsupported(error: &KafkaError) -> bool {
    matches!(error, KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion))
}

/// Whether a metadata answer says that the topic is not there.
fn is_missing(code: RDKafkaRespErr) -> bool {
    matches!(
        RDKafkaErrorCode::from(code),
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::InvalidTopic
    )
}
