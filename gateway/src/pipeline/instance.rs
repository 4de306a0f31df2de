//! A configured channel, as the line sees it.

use std::sync::Arc;

use connector_sdk::schemas::Routing;
use connector_sdk::{Parse, SourceClass};

use crate::config::model::{Instance as InstanceConfig, OnOff, RoutingOption};
use crate::telemetry::counters::InstanceCounters;

/// Tenant of accounts that an instance's directory does not know.
pub const UNASSIGNED: &str = "unassigned";

/// What the line needs to know of one instance.
pub struct Instance {
    pub name: String,
    /// Registered name of its connector, for metrics and dead letters.
    pub connector: &'static str,
    pub parse: Arc<dyn Parse>,
    pub source: SourceClass,
    pub config: InstanceConfig,
    pub counters: Arc<InstanceCounters>,
}

impl Instance {
    /// Whether its raw inputs are kept.
    pub fn keeps_raw(&self) -> bool {
        self.config.raw == Some(OnOff::On)
    }

    /// Tenant of an account, by the directory where there is one.
    pub fn tenant(&self, account: &str) -> &str {
        match &self.config.accounts {
            None => &self.config.tenant,
            Some(accounts) => match accounts.get(account) {
                Some(known) => known.tenant.as_deref().unwrap_or(&self.config.tenant),
                None => UNASSIGNED,
            },
        }
    }

    /// Fills in what configuration says and the event does not say itself.
    pub fn route(&self, account: &str, routing: &mut Routing) {
        let own = self.config.accounts.as_ref().and_then(|accounts| accounts.get(account)?.routing.as_ref());
        apply(own.unwrap_or(&self.config.routing), routing);
    }
}

fn apply(option: &RoutingOption, routing: &mut Routing) {
    let fill = |slot: &mut Option<String>, value: &Option<String>| {
        if slot.is_none() {
            slot.clone_from(value);
        }
    };
    fill(&mut routing.department, &option.department);
    fill(&mut routing.queue, &option.queue);
    fill(&mut routing.priority, &option.priority);
    for tag in &option.tags {
        if !routing.tags.contains(tag) {
            routing.tags.push(tag.clone());
        }
    }
}
