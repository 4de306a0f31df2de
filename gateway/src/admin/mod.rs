//! For operators: `/healthz`, `/readyz`, `/metrics`, `/api/status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::response::Response;
use connector_sdk::Timestamp;
use http::{Request, StatusCode};
use serde::Serialize;

use crate::intake::health::{Health, InstanceStatus};
use crate::reload::{LastReload, ReloadStatus};
use crate::spool::{Spool, SpoolState};
use crate::telemetry::counters::Metrics;

/// What `/api/status` shows of Kafka and the lanes; made anew for each request.
pub type LanesStatus = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The admin listener's answers.
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub health: Health,
    pub lanes: LanesStatus,
    pub kafka: Arc<dyn Fn() -> KafkaStatus + Send + Sync>,
    /// Listeners are bound and the process is not draining (D14: Kafka is not in it).
    pub ready: Arc<AtomicBool>,
    /// Where push input is safe while Kafka is away; readiness wants it writable.
    pub spool: Option<Spool>,
    pub started_at: Timestamp,
    pub reload: LastReload,
}

/// Kafka as this process sees it.
#[derive(Clone, Debug, Serialize)]
pub struct KafkaStatus {
    pub up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    started_at: Timestamp,
    ready: bool,
    kafka: KafkaStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<SpoolState>,
    lanes: serde_json::Value,
    /// How the configuration was read again last.
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<ReloadStatus>,
    instances: BTreeMap<String, InstanceStatus>,
}

impl Admin {
    fn readiness(&self) -> Result<(), &'static str> {
        if !self.ready.load(Ordering::Relaxed) {
            return Err("starting or draining");
        }
        match self.spool.as_ref().map(Spool::figures) {
            Some(spool) if spool.is_full() => Err("the spool is full"),
            Some(spool) if !spool.is_writable() => Err("the spool cannot be written"),
            _ => Ok(()),
        }
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request<Body>) -> Response {
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "text/plain", "alive\n".into()),
            "/readyz" => match self.readiness() {
                Ok(()) => text(StatusCode::OK, "text/plain", "ready\n".into()),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("not ready: {why}\n")),
            },
            "/metrics" => {
                self.metrics.kafka_up.set((self.kafka)().up.into());
                let lanes = (self.lanes)();
                let shards = lanes.pointer("/replay/shards").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
                self.metrics.replay_shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
                let hung = lanes.pointer("/replay/hung_calls").and_then(serde_json::Value::as_i64);
                self.metrics.replay_hung_calls.set(hung.unwrap_or(0));
                self.metrics.reload_refused.set(self.reload.get().is_some_and(|last| !last.ok).into());
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                text(StatusCode::OK, content_type, self.metrics.render())
            }
            "/api/status" => {
                let status = Status {
                    version: env!("CARGO_PKG_VERSION"),
                    started_at: self.started_at,
                    ready: self.readiness().is_ok(),
                    kafka: (self.kafka)(),
                    spool: self.spool.as_ref().map(|spool| spool.figures().state(crate::clock::now())),
                    lanes: (self.lanes)(),
                    reload: self.reload.get(),
                    instances: self.health.all(),
                };
                let body = serde_json::to_string_pretty(&status).unwrap_or_else(|error| error.to_string());
                text(StatusCode::OK, "application/json", body + "\n")
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "here are /healthz, /readyz, /metrics and /api/status\n".into(),
            ),
        }
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    response
}
