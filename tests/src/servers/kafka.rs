//! Apache Kafka (KRaft, no ZooKeeper) on free loopback ports: one broker, or three that replicate.

mod secure;

pub use self::secure::Secured;
use crate::process::{Process, Workdir, run};
use crate::servers::proxy::Proxy;
use crate::{cache, ports, wait};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

/// From start to serving; two busy cores and three brokers need their time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// An orderly stop moves leaders and closes logs.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const CALL_LIMIT: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Environment variable that lets brokers compile fully.
pub const FULL_SPEED: &str = "INLET_KAFKA_FULL_SPEED";

/// A cluster. Brokers are named by their index from 0.
#[derive(Debug)]
pub struct Kafka {
    brokers: Vec<Broker>,
    /// Clients that reach it by proxies of their own, by client, then by broker.
    sides: Vec<Vec<Proxy>>,
    // Last, so that the brokers are dropped before their folder.
    dir: Workdir,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    config: PathBuf,
    process: Option<Process>,
}

impl Kafka {
    /// One broker, replication 1, running.
    pub fn one() -> Result<Self> {
        let mut kafka = Self::prepared(1)?;
        kafka.start_all()?;
        Ok(kafka)
    }

    /// One broker with further properties (`transactional.id.expiration.ms=3000`), which win over the harness's.
    pub fn one_with(properties: &[&str]) -> Result<Self> {
        let mut kafka = Self::prepared(1)?;
        for broker in &kafka.brokers {
            let text = std::fs::read_to_string(&broker.config)? + &properties.join("\n") + "\n";
            std::fs::write(&broker.config, text)?;
        }
        kafka.start_all()?;
        Ok(kafka)
    }

    /// Three brokers, replication 3, `min.insync.replicas` 2, running.
    pub fn three() -> Result<Self> {
        let mut kafka = Self::prepared(3)?;
        kafka.start_all()?;
        Ok(kafka)
    }

    /// Three brokers, and for each of so many clients a way of its own to them that can be disturbed
    /// ([`Kafka::side`], [`Kafka::side_bootstrap`]). What goes by [`Kafka::bootstrap`] is never disturbed.
    pub fn three_with_sides(sides: usize) -> Result<Self> {
        let mut kafka = Self::prepared_with_sides(3, sides)?;
        kafka.start_all()?;
        Ok(kafka)
    }

    /// One broker for all tests of this process that do not disturb it; it ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Kafka> = LazyLock::new(|| Kafka::one().expect("Kafka starts"));
        &SHARED
    }

    /// Formatted, with ports chosen, but not running: for whoever must come up before Kafka does.
    pub fn prepared(count: usize) -> Result<Self> {
        Self::prepared_with_sides(count, 0)
    }

    fn prepared_with_sides(count: usize, sides: usize) -> Result<Self> {
        let dir = Workdir::new("kafka")?;
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (ports::free(), ports::free())).collect();
        let voters: Vec<_> = ports.iter().enumerate().map(|(i, (_, c))| format!("{}@127.0.0.1:{c}", i + 1)).collect();
        let cluster_id = URL_SAFE_NO_PAD.encode(
            dir.path()
                .as_os_str()
                .as_encoded_bytes()
                .last_chunk::<16>()
                .context("a temporary folder's path has at least sixteen bytes")?,
        );
        let mut brokers = Vec::new();
        let mut ways: Vec<Vec<Proxy>> = (0..sides).map(|_| Vec::new()).collect();
        for (index, (port, controller)) in ports.iter().enumerate() {
            let logs = dir.path().join(format!("logs{index}"));
            let mut listeners = vec![Listener { name: "PLAINTEXT".to_owned(), port: *port, advertised: *port }];
            for (side, way) in ways.iter_mut().enumerate() {
                let port = ports::free();
                let proxy = Proxy::start(port)?;
                listeners.push(Listener { name: format!("SIDE{side}"), port, advertised: proxy.port() });
                way.push(proxy);
            }
            let text = properties(index + 1, &listeners, *controller, &voters, &logs.display().to_string());
            let config = dir.write(&format!("server{index}.properties"), text)?;
            run(java(&[])?
                .args(["kafka.tools.StorageTool", "format", "--cluster-id", &cluster_id, "--config"])
                .arg(&config))?;
            brokers.push(Broker { port: *port, config, process: None });
        }
        Ok(Self { brokers, sides: ways, dir })
    }

    pub fn start_all(&mut self) -> Result<()> {
        for index in 0..self.brokers.len() {
            self.launch(index)?;
        }
        let all = self.brokers.len();
        for index in 0..all {
            self.await_brokers(index, all)?;
        }
        Ok(())
    }

    /// Starts a broker that was stopped or killed, and waits until it answers.
    pub fn start(&mut self, index: usize) -> Result<()> {
        self.launch(index)?;
        self.await_brokers(index, 1)
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self, index: usize) -> Result<()> {
        let mut process = self.brokers[index].process.take().context("the broker does not run")?;
        process.terminate();
        process.wait_exit(STOP_LIMIT).map(drop)
    }

    /// kill -9.
    pub fn kill(&mut self, index: usize) {
        drop(self.brokers[index].process.take());
    }

    /// Waits until a broker that was launched answers.
    pub fn await_broker(&mut self, index: usize) -> Result<()> {
        self.await_brokers(index, 1)
    }

    /// Whether a broker answers now.
    pub fn answers(&self, index: usize) -> bool {
        let Ok(client) = client(&format!("127.0.0.1:{}", self.brokers[index].port)) else { return false };
        client.fetch_metadata(None, PROBE_LIMIT).is_ok()
    }

    /// Of a broker that runs.
    pub fn process_id(&self, index: usize) -> Result<u32> {
        Ok(self.brokers[index].process.as_ref().context("the broker does not run")?.id())
    }

    /// SIGSTOP: its sockets stay open, nothing answers.
    pub fn pause(&self, index: usize) {
        self.brokers[index].process.iter().for_each(Process::pause);
    }

    pub fn resume(&self, index: usize) {
        self.brokers[index].process.iter().for_each(Process::resume);
    }

    /// `host:port,…` of all brokers, running or not.
    pub fn bootstrap(&self) -> String {
        let all: Vec<_> = self.brokers.iter().map(|b| format!("127.0.0.1:{}", b.port)).collect();
        all.join(",")
    }

    /// The proxies of one client, a broker each.
    pub fn side(&self, side: usize) -> &[Proxy] {
        &self.sides[side]
    }

    /// [`Kafka::bootstrap`] by way of one client's proxies.
    pub fn side_bootstrap(&self, side: usize) -> String {
        let all: Vec<_> = self.sides[side].iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
        all.join(",")
    }

    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// Creates a topic, replicated to all brokers, and waits until its leaders are known.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create()?;
        let replication = TopicReplication::Fixed(i32::try_from(self.brokers.len())?);
        let topic = NewTopic::new(name, partitions, replication);
        let options = AdminOptions::new().operation_timeout(Some(STOP_LIMIT));
        let results = crate::runtime::block_on(admin.create_topics([&topic], &options))?;
        for result in results {
            result.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        wait::until_true(START_LIMIT, &format!("leaders of {name}"), || self.has_leaders(name))
    }

    /// A Java tool of the Kafka distribution, by its class, with `--bootstrap-server` set.
    pub fn tool(&self, class: &str, args: &[&str]) -> Result<String> {
        run(java(&[])?.arg(class).args(["--bootstrap-server", &self.bootstrap()]).args(args))
    }

    /// The leader of each partition of a topic, by partition; -1 where there is none.
    pub fn leaders(&self, topic: &str) -> Result<Vec<i32>> {
        let metadata = client(&self.bootstrap())?.fetch_metadata(Some(topic), CALL_LIMIT)?;
        let mut leaders: Vec<_> =
            metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| (p.id(), p.leader())).collect();
        leaders.sort_unstable();
        Ok(leaders.into_iter().map(|(_, leader)| leader).collect())
    }

    fn has_leaders(&self, topic: &str) -> bool {
        let Ok(client) = client(&self.bootstrap()) else { return false };
        let Ok(metadata) = client.fetch_metadata(Some(topic), CALL_LIMIT) else { return false };
        metadata.topics().iter().all(|t| !t.partitions().is_empty() && t.partitions().iter().all(|p| p.leader() >= 0))
    }

    /// [`Kafka::start`] without the wait.
    pub fn launch(&mut self, index: usize) -> Result<()> {
        let broker = &mut self.brokers[index];
        if broker.process.is_some() {
            bail!("broker {index} runs already");
        }
        // The second compiler costs more than it brings in the minutes that a test lives.
        // A benchmark wants the broker that people run.
        let options: &[&str] = match std::env::var_os(FULL_SPEED) {
            Some(_) => &["-Xms128m", "-Xmx512m"],
            None => &["-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1"],
        };
        let mut command = java(options)?;
        command.arg("kafka.Kafka").arg(&broker.config);
        broker.process = Some(self.dir.spawn(&format!("broker{index}"), &mut command)?);
        Ok(())
    }

    fn await_brokers(&mut self, index: usize, count: usize) -> Result<()> {
        let broker = &mut self.brokers[index];
        let client = client(&format!("127.0.0.1:{}", broker.port))?;
        let process = broker.process.as_mut().context("launched before")?;
        process.ready(START_LIMIT, &format!("metadata with {count} brokers"), |_| {
            Ok(client.fetch_metadata(None, CALL_LIMIT)?.brokers().len() >= count)
        })
    }
}

fn client(bootstrap: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0");
    config.set("reconnect.backoff.max.ms", "250");
    config.create().context("make a Kafka client")
}

/// `java` with the Kafka jars on its class path.
pub(crate) fn java(options: &[&str]) -> Result<Command> {
    let lib = cache::path("kafka/lib")?;
    let mut command = Command::new("java");
    // The tools are short-lived: the cheapest collector and compiler start fastest.
    command.args(if options.is_empty() { &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] } else { options });
    command.arg("-cp").arg(lib.join("*"));
    Ok(command)
}

/// Where a broker listens, and where clients are told that it does.
struct Listener {
    name: String,
    port: u16,
    advertised: u16,
}

fn properties(node: usize, listeners: &[Listener], controller: u16, voters: &[String], logs: &str) -> String {
    let each = |text: fn(&Listener) -> String| listeners.iter().map(text).collect::<Vec<_>>().join(",");
    let replication = voters.len();
    let in_sync = if replication > 1 { 2 } else { 1 };
    let lines = [
        "process.roles=broker,controller".to_owned(),
        format!("node.id={node}"),
        format!("controller.quorum.voters={}", voters.join(",")),
        format!(
            "listeners={},CONTROLLER://127.0.0.1:{controller}",
            each(|l| format!("{}://127.0.0.1:{}", l.name, l.port))
        ),
        format!("advertised.listeners={}", each(|l| format!("{}://127.0.0.1:{}", l.name, l.advertised))),
        "controller.listener.names=CONTROLLER".to_owned(),
        "inter.broker.listener.name=PLAINTEXT".to_owned(),
        format!("listener.security.protocol.map={},CONTROLLER:PLAINTEXT", each(|l| format!("{}:PLAINTEXT", l.name))),
        format!("log.dirs={logs}"),
        format!("default.replication.factor={replication}"),
        format!("min.insync.replicas={in_sync}"),
        format!("offsets.topic.replication.factor={replication}"),
        format!("transaction.state.log.replication.factor={replication}"),
        format!("transaction.state.log.min.isr={in_sync}"),
        format!("share.coordinator.state.topic.replication.factor={replication}"),
        format!("share.coordinator.state.topic.min.isr={in_sync}"),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        // The defaults of fifty partitions each cost a quiet machine seconds at the first use.
        "offsets.topic.num.partitions=4".to_owned(),
        "transaction.state.log.num.partitions=4".to_owned(),
        // A dead broker's leaders move after this, not after nine seconds.
        "broker.session.timeout.ms=4000".to_owned(),
        "broker.heartbeat.interval.ms=1000".to_owned(),
        // A misspelt topic must be an error, not a new topic.
        "auto.create.topics.enable=false".to_owned(),
    ];
    lines.join("\n") + "\n"
}
