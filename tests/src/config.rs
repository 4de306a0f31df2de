//! Config files for the gateways of a test: what is the same everywhere, with topics of the test's own.

use crate::servers::kafka::Kafka;

/// Partitions of the test's topics: more than one, so that keys matter, and few enough to read quickly.
pub const EVENT_PARTITIONS: usize = 4;
const CURSOR_PARTITIONS: usize = 4;

/// What goes into the file. The instances and further sections are YAML.
#[derive(Debug, Clone)]
pub struct Config {
    brokers: Vec<String>,
    kafka: String,
    replication: usize,
    prefix: String,
    sections: String,
    ingress: String,
    instances: String,
}

impl Config {
    /// Topics are called `PREFIX.events` and so on: tests that share a broker never meet.
    pub fn new(kafka: &Kafka, prefix: &str, instances: &str) -> Self {
        let brokers: Vec<_> = kafka.bootstrap().split(',').map(str::to_owned).collect();
        Self {
            replication: brokers.len(),
            brokers,
            kafka: String::new(),
            prefix: prefix.to_owned(),
            sections: String::new(),
            ingress: String::new(),
            instances: instances.to_owned(),
        }
    }

    /// Reaches the brokers by other addresses, such as proxies: `host:port,…`.
    pub fn by_way_of(mut self, bootstrap: &str) -> Self {
        self.brokers = bootstrap.split(',').map(str::to_owned).collect();
        self
    }

    /// Further keys of `kafka`, as flow YAML: `properties: { security.protocol: ssl }`.
    pub fn with_kafka(mut self, keys: &str) -> Self {
        self.kafka = format!(", {keys}");
        self
    }

    /// Further top-level YAML.
    pub fn with(mut self, section: &str) -> Self {
        self.sections.push_str(section);
        self.sections.push('\n');
        self
    }

    /// Further keys of `ingress`, as a line of flow YAML: `limits: { body: 64KiB }`.
    pub fn with_ingress(mut self, line: &str) -> Self {
        self.ingress = format!("  {line}\n");
        self
    }

    /// Changes what the instances say.
    pub fn map_instances(mut self, change: impl FnOnce(String) -> String) -> Self {
        self.instances = change(self.instances);
        self
    }

    pub fn topic(&self, role: &str) -> String {
        format!("{}.{role}", self.prefix)
    }

    pub fn events(&self) -> String {
        self.topic("events")
    }

    pub fn dead_letters(&self) -> String {
        self.topic("deadletter")
    }

    /// The file's text, with the words that [`crate::gateway::Gateway`] fills in.
    pub fn text(&self) -> String {
        let topic = |role: &str, partitions: usize| {
            let (name, replication) = (self.topic(role), self.replication);
            format!("  {role}: {{ name: {name}, partitions: {partitions}, replication: {replication} }}\n")
        };
        let topics = topic("events", EVENT_PARTITIONS)
            + &topic("deadletter", 1)
            + &topic("fetches", 2)
            + &topic("cursors", CURSOR_PARTITIONS)
            + &topic("raw", 1)
            + &topic("seen", 1);
        format!(
            "kafka: {{ brokers: {brokers:?}{kafka} }}\n\
             topics:\n{topics}\
             ingress:\n  listen: '@INGRESS@'\n{ingress}\
             admin: {{ listen: '@ADMIN@' }}\n\
             data_dir: '@DATA@'\n\
             {sections}\
             instances:\n{instances}",
            brokers = self.brokers,
            kafka = self.kafka,
            ingress = self.ingress,
            sections = self.sections,
            instances = self.instances,
        )
    }
}
