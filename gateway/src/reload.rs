//! A new configuration for a running gateway: only the instances that it changes start again.
//!
//! Whatever is wrong with it leaves the running one in place. What belongs to the process as a whole (addresses, Kafka,
//! the stores) needs a restart and is refused by name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use connector_sdk::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::drivers::Changes;

/// The section that may change while the gateway runs.
const INSTANCES: &str = "instances";

/// How the last reload went, for `/api/status`.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadStatus {
    pub at: Timestamp,
    pub ok: bool,
    /// Why the running configuration stayed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// Where the last reload is shown. Clones share it.
#[derive(Clone, Default)]
pub struct LastReload(Arc<Mutex<Option<ReloadStatus>>>);

impl LastReload {
    pub fn get(&self) -> Option<ReloadStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes and logs the outcome.
    pub fn note(&self, outcome: &Result<Changes, String>) {
        let (ok, error, changes) = match outcome {
            Ok(changes) => (true, None, changes.clone()),
            Err(error) => (false, Some(error.clone()), Changes::default()),
        };
        match &error {
            Some(error) => tracing::error!(error, "the new configuration is not taken; the running one stays"),
            None if changes.is_empty() => tracing::info!("configuration read again: nothing has changed"),
            None => {
                let Changes { added, changed, removed } = &changes;
                tracing::info!(?added, ?changed, ?removed, "configuration read again");
            }
        }
        let Changes { added, changed, removed } = changes;
        let status = ReloadStatus { at: crate::clock::now(), ok, error, added, changed, removed };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// Fields outside the instances that differ: those need a restart. Two levels deep, so that they can be found.
pub fn needs_restart(before: &Value, after: &Value) -> Vec<String> {
    let mut differing = BTreeSet::new();
    differ("", before, after, &mut differing);
    differing.into_iter().collect()
}

fn differ(path: &str, before: &Value, after: &Value, differing: &mut BTreeSet<String>) {
    const DEPTH: usize = 2;
    let depth = path.split('.').filter(|step| !step.is_empty()).count();
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) if depth < DEPTH => {
            for key in old.keys().chain(new.keys()) {
                if depth == 0 && key == INSTANCES {
                    continue;
                }
                let child = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                differ(&child, &of(old), &of(new), differing);
            }
        }
        _ => {
            differing.insert(path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn d15_what_needs_a_restart_is_named() {
        let before = json!({"kafka": {"brokers": ["a:1"]}, "ingress": {"listen": "x", "limits": {"body": 1}}, "instances": {"a": 1}});
        let named = |after: Value| needs_restart(&before, &after);
        assert!(
            named(json!({"kafka": {"brokers": ["a:1"]}, "ingress": {"listen": "x", "limits": {"body": 1}}})).is_empty()
        );
        assert_eq!(
            named(json!({"kafka": {"brokers": ["b:1"]}, "ingress": {"listen": "y", "limits": {"body": 2}}, "log": {}})),
            ["ingress.limits", "ingress.listen", "kafka.brokers", "log"]
        );
    }
}
