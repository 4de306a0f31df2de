//! Signed Slack webhooks of about 1 KiB → acknowledged by a real Kafka: requests per second, latency and CPU of the
//! gateway against the bare axum + rdkafka proxy of the same machine in the same run. Only the ratios mean anything.

mod bare;
mod load;
mod report;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{ports, wait};

use self::load::{Figures, Load, cpu_seconds};
use self::report::Row;

/// Secret of the benchmark's instance.
const SECRET: &str = "bench-secret";
const CONNECTIONS: [usize; 2] = [64, 512];
const START_LIMIT: Duration = Duration::from_secs(30);

/// Partitions of both topics, unless `--partitions N` says otherwise: as the first figures were taken. librdkafka sends one
/// request for each partition, so that a keyed load on many of them costs the broker more than the bare proxy's, which has
/// no key and fills one partition after the other.
const PARTITIONS: i32 = 1;

struct Plan {
    /// `--connections N` measures one of the two alone, or another.
    connections: Vec<usize>,
    partitions: i32,
    /// librdkafka properties of the gateway (`--property linger.ms=5`), for finding out what they do.
    properties: Vec<String>,
    rounds: usize,
    measure: Duration,
    warm_up: Duration,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, bootstrap, port] = args.as_slice()
        && mode == "bare"
    {
        return bare::serve(bootstrap, port.parse()?);
    }
    let partitions = match args.iter().position(|arg| arg == "--partitions") {
        Some(at) => args.get(at + 1).context("--partitions wants a number")?.parse().context("--partitions")?,
        None => PARTITIONS,
    };
    let properties = args.windows(2).filter(|pair| pair[0] == "--property").map(|pair| pair[1].clone()).collect();
    let connections = match args.iter().position(|arg| arg == "--connections") {
        Some(at) => vec![args.get(at + 1).context("--connections wants a number")?.parse().context("--connections")?],
        None => CONNECTIONS.to_vec(),
    };
    let plan = if args.iter().any(|arg| arg == "--quick") {
        let (measure, warm_up) = (Duration::from_secs(4), Duration::from_secs(1));
        Plan { connections, partitions, properties, rounds: 1, measure, warm_up }
    } else {
        let (measure, warm_up) = (Duration::from_secs(6), Duration::from_secs(2));
        Plan { connections, partitions, properties, rounds: 3, measure, warm_up }
    };
    let kafka = Kafka::one()?;
    kafka.create_topic("bare.events", plan.partitions)?;
    let mut gateway = Gateway::run(&config(&kafka.bootstrap(), &plan))?;
    let bare = Bare::start(&kafka.bootstrap())?;
    let targets = [
        ("bare", format!("127.0.0.1:{}", bare.port), bare.child.id()),
        ("inlet", gateway.ingress.trim_start_matches("http://").to_owned(), gateway.process()?.id()),
    ];
    let mut rows = Vec::new();
    for connections in plan.connections.iter().copied() {
        for round in 0..plan.rounds {
            for (name, address, pid) in &targets {
                let figures = measure(address, [*pid, kafka.process_id(0)?], connections, &plan)?;
                eprintln!("{name:<6} {connections:>4} connections, round {}: {figures}", round + 1);
                rows.push(Row { name, connections, figures });
            }
        }
    }
    gateway.stop()?;
    report::print(&rows, &plan.connections)
}

fn measure(address: &str, [pid, broker]: [u32; 2], connections: usize, plan: &Plan) -> Result<Figures> {
    let load = Load { address: address.to_owned(), secret: SECRET, connections };
    load.run(plan.warm_up)?;
    let before = [cpu_seconds(pid)?, cpu_seconds(broker)?];
    let mut figures = load.run(plan.measure)?;
    figures.cpu_seconds = cpu_seconds(pid)? - before[0];
    figures.broker_cpu_seconds = cpu_seconds(broker)? - before[1];
    Ok(figures)
}

fn config(bootstrap: &str, plan: &Plan) -> String {
    let Plan { partitions, properties, .. } = plan;
    let properties: Vec<_> = properties.iter().map(|property| property.replacen('=', ": ", 1)).collect();
    let properties = properties.join(", ");
    format!(
        "kafka: {{ brokers: [\"{bootstrap}\"], properties: {{ {properties} }} }}\n\
         topics: {{ events: {{ partitions: {partitions}, replication: 1 }}, deadletter: {{ replication: 1 }}, fetches: {{ replication: 1 }}, cursors: {{ replication: 1 }}, seen: {{ replication: 1 }} }}\n\
         raw: off\n\
         ingress: {{ listen: \"@INGRESS@\" }}\nadmin: {{ listen: \"@ADMIN@\" }}\ndata_dir: \"@DATA@\"\n\
         instances: {{ slack: {{ connector: slack, options: {{ signing_secret: {SECRET} }} }} }}\n"
    )
}

/// The bare proxy as a process of its own, so that its CPU can be told.
struct Bare {
    child: Child,
    port: u16,
}

impl Bare {
    fn start(bootstrap: &str) -> Result<Self> {
        let port = ports::free();
        let child = Command::new(std::env::current_exe()?)
            .args(["bare", bootstrap, &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .context("start the bare proxy")?;
        wait::until_true(START_LIMIT, "the bare proxy listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok(Self { child, port })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended by itself; nothing else can be done with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
