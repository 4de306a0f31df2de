//! `inlet quickstart`: everything in one process, to try.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use connector_sdk::{Demo, Entry};
use serde_json::{Value, json};

use super::{Failure, block_on, output, stop_signal};
use crate::config;
use crate::config::model::{Log, LogFormat, Tracing};
use crate::delivery::consumer::{Tail, TailFrom};
use crate::delivery::embedded::EmbeddedKafka;
use crate::gateway::Gateway;
use crate::pipeline::record::TopicRole;
use crate::telemetry::logging;

#[derive(Args)]
pub struct Options {
    /// Port of the public listener; 0: a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the admin listener; 0: a free one
    #[arg(long, default_value_t = 8081)]
    admin_port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Events as JSON, one a line
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, entries: &'static [Entry], demo: &Demo) -> Result<(), Failure> {
    let log = Log { format: LogFormat::Human, level: "warn".into() };
    block_on(async {
        let _telemetry = logging::start(&log, &Tracing::default()).map_err(Failure::wrong_use)?;
        let data = scratch_dir()?;
        let done = serve(options, entries, demo, data.path()).await;
        drop(data);
        done
    })
}

async fn serve(
    options: &Options,
    entries: &'static [Entry],
    demo: &Demo,
    data: &std::path::Path,
) -> Result<(), Failure> {
    let broker = EmbeddedKafka::start(&Default::default()).map_err(|e| Failure::failed(e.to_string()))?;
    // JSON values are YAML: this run's settings stand above the demo instances.
    let text = format!(
        "kafka: {}\ntopics: {{ create: false }}\ndata_dir: {}\ningress: {}\nadmin: {}\n{}",
        json!({ "brokers": [broker.bootstrap()] }),
        json!(data),
        json!({ "listen": SocketAddr::new(options.bind, options.port) }),
        json!({ "listen": SocketAddr::new(options.bind, options.admin_port) }),
        demo.instances,
    );
    let loaded = config::load_str("quickstart", &text, entries)?;
    let kafka = loaded.config.kafka.settings(&loaded.config.topics);
    let opened = Tail::open(&kafka, &[TopicRole::Events], TailFrom::Beginning).await;
    let mut tail = opened.map_err(|error| Failure::failed(error.to_string()))?;
    let gateway = Gateway::start(loaded).await.map_err(|message| {
        Failure::failed(format!("{message}\n(--port and --admin-port choose others, 0 a free one)"))
    })?;
    let topic = &kafka.topics.events.name;
    output::print(&greeting(&gateway, broker.bootstrap(), topic, demo))?;
    let follow = async {
        while let Ok(record) = tail.next().await {
            let text = match serde_json::from_slice::<Value>(&record.value) {
                Ok(event) if !options.json => output::event_line(&event),
                Ok(event) => event.to_string(),
                Err(_) => continue,
            };
            if output::print(&format!("{text}\n")).is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop_signal() => {}
    }
    let clean = gateway.stop().await;
    drop(tail);
    drop(broker);
    if clean { Ok(()) } else { Err(Failure::failed("not everything was settled in time")) }
}

/// What a newcomer sees first; one fact a line, so that scripts can read it too.
fn greeting(gateway: &Gateway, bootstrap: &str, topic: &str, demo: &Demo) -> String {
    let ingress = gateway.ingress.map(|address| format!("http://{address}")).unwrap_or_default();
    let admin = format!("http://{}", gateway.admin);
    let try_out = demo
        .try_out
        .replace("{ingress}", &ingress)
        .replace("{admin}", &admin)
        .replace("{bootstrap}", bootstrap)
        .replace("{topic}", topic);
    format!(
        "ingress: {ingress}\nadmin: {admin}\nkafka bootstrap: {bootstrap}\ntopic: {topic}\nready\n\n{try_out}\n\
         The broker is embedded and its data ends with this process. Next: `inlet init` writes a configuration for \
         your own accounts and Kafka.\nCtrl-C ends it. Events, as they arrive:\n\n"
    )
}

/// A directory that goes when it is dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn scratch_dir() -> Result<Scratch, Failure> {
    let dir = std::env::temp_dir().join(format!("inlet-quickstart-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir).map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
    Ok(Scratch(dir))
}
