//! The configured instances as drivers, sorted by shape; and which of them a new configuration changes.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use connector_sdk::{Connector, Entry, Http, Intake};

use crate::config::LoadedConfig;
use crate::config::model::Instance as InstanceConfig;
use crate::delivery::replay::InstanceRef;
use crate::ingress::routes::Hooks;
use crate::intake::fetch::{Fetcher, Fetchers};
use crate::intake::sources::{Source, SourceIntake};
use crate::intake::webhook::Hook;
use crate::io::http::Client;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::instance::Instance;
use crate::telemetry::counters::Metrics;

/// What drivers are built with.
#[derive(Clone)]
pub struct Builder {
    pub metrics: Arc<Metrics>,
    pub client: Client,
    pub blobs: BlobStore,
    pub data_dir: PathBuf,
}

/// One instance's drivers, and the configuration that they follow.
#[derive(Clone)]
struct Built {
    config: InstanceConfig,
    hook: Option<Arc<Hook>>,
    sources: Vec<Source>,
    fetcher: Option<Fetcher>,
}

/// All instances' drivers by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Drivers(BTreeMap<String, Built>);

/// What a new configuration does to the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Drivers {
    /// Drivers for a configuration: those of instances that it does not change are the ones of before.
    pub fn build(loaded: LoadedConfig, before: &Self, builder: &Builder) -> Result<(Self, Changes), String> {
        let (mut all, mut changes) = (BTreeMap::new(), Changes::default());
        for (name, entry, connector) in loaded.connectors {
            let Some(config) = loaded.config.instance(&name) else { continue };
            let built = match before.0.get(&name) {
                Some(same) if same.config == config => same.clone(),
                other => {
                    let list = if other.is_some() { &mut changes.changed } else { &mut changes.added };
                    list.push(name.clone());
                    built(&name, &config, entry, connector, builder)?
                }
            };
            all.insert(name, built);
        }
        changes.removed = before.0.keys().filter(|name| !all.contains_key(*name)).cloned().collect();
        Ok((Self(all), changes))
    }

    pub fn hooks(&self) -> Hooks {
        self.0.iter().filter_map(|(name, built)| Some((name.clone(), built.hook.clone()?))).collect()
    }

    pub fn sources(&self) -> Vec<Source> {
        self.0.values().flat_map(|built| built.sources.iter().cloned()).collect()
    }

    pub fn fetchers(&self) -> Fetchers {
        self.0.iter().filter_map(|(name, built)| Some((name.clone(), built.fetcher.clone()?))).collect()
    }

    /// The instances that have one owner in the cluster.
    pub fn refs(&self) -> Vec<InstanceRef> {
        let owned = self.0.iter().filter(|(_, built)| !built.sources.is_empty());
        let is_replay = |built: &Built| built.sources.iter().any(|source| source.replay);
        owned.map(|(name, built)| InstanceRef { name: name.clone(), replay: is_replay(built) }).collect()
    }

    /// The sources that run no longer, or not as they did, once `next` takes over.
    pub fn leaving(&self, next: &Self) -> Vec<Source> {
        let stay: HashSet<_> = next.sources().iter().map(Source::identity).collect();
        self.sources().into_iter().filter(|source| !stay.contains(&source.identity())).collect()
    }
}

fn built(
    name: &str,
    config: &InstanceConfig,
    entry: &'static Entry,
    connector: Connector,
    builder: &Builder,
) -> Result<Built, String> {
    let instance = Arc::new(Instance {
        counters: Arc::new(builder.metrics.instance(name, entry.name)),
        name: name.to_owned(),
        connector: entry.name,
        parse: connector.parse,
        source: connector.source,
        config: config.clone(),
    });
    let io = crate::io::for_instance(&builder.client, &builder.data_dir, name);
    let source = |intake| Source::new(instance.clone(), io.clone(), intake);
    let mut all = Built { config: config.clone(), hook: None, sources: Vec::new(), fetcher: None };
    for intake in connector.intakes {
        match intake {
            Intake::Webhook(webhook) => {
                let http: Arc<dyn Http> = Arc::new(builder.client.clone());
                all.hook = Some(Arc::new(Hook::new(instance.clone(), webhook, http)));
            }
            intake => all.sources.push(source(SourceIntake::Intake(intake))),
        }
    }
    all.sources.extend(connector.upkeep.map(|upkeep| source(SourceIntake::Upkeep(upkeep))));
    if let Some(fetch) = connector.fetch {
        let io = crate::io::for_fetches(&config.fetch, &builder.blobs)?;
        all.fetcher = Some(Fetcher { instance: instance.clone(), fetch, io });
    }
    Ok(all)
}
