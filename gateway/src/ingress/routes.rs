//! `/in/{instance}` and `/forms/{instance}`: which instance a request is for, and its answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use connector_sdk::{Headers, Mount, RawEvent, Reply, Wire};
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use http_body::Body as _;

use super::body::{BodyFault, BodyLimits, Held, read};
use super::peer::{Network, client};
use crate::config::model::{self, Limits};
use crate::intake::push::{PushLine, RETRY_AFTER};
use crate::intake::shares::Pool;
use crate::intake::webhook::Hook;
use crate::telemetry::counters::Metrics;

/// The webhook instances by name.
pub type Hooks = HashMap<String, Arc<Hook>>;

/// Bytes of bodies that all requests together hold, beyond the first of each ([`super::body`]); who finds no room is told
/// to come again. One request's cap times the number of requests at once would be more memory than machines have.
const BUFFERED_MAX_BYTES: usize = 512 << 20;

/// A rest of a body that comes along with its head: whoever refuses it need not end the connection.
const DRAINED_MAX_BYTES: u64 = 4096;

/// All that answers requests on the public listener.
pub struct Ingress {
    hooks: ArcSwap<Hooks>,
    push: PushLine,
    metrics: Arc<Metrics>,
    limits: Limits,
    public_url: Option<String>,
    trusted: Vec<Network>,
    in_flight: Pool,
    buffers: Pool,
    /// Refuse new input: the end of a drain.
    pub closing: AtomicBool,
}

impl Ingress {
    /// Fails for a proxy that is no network.
    pub fn new(config: &model::Ingress, hooks: Hooks, push: PushLine, metrics: Arc<Metrics>) -> Result<Self, String> {
        let trusted = config.trusted_proxies.iter().map(|text| Network::parse(text)).collect::<Result<_, _>>()?;
        let ingress = Self {
            hooks: ArcSwap::default(),
            push,
            metrics,
            limits: config.limits.clone(),
            public_url: config.public_url.clone(),
            trusted,
            in_flight: Pool::among(config.limits.in_flight, 1),
            buffers: Pool::among(BUFFERED_MAX_BYTES, 1),
            closing: AtomicBool::new(false),
        };
        ingress.replace(hooks);
        Ok(ingress)
    }

    /// The instances that there are now.
    pub fn hooks(&self) -> Arc<Hooks> {
        self.hooks.load_full()
    }

    /// Other instances from now on; requests under way end as they began.
    pub fn replace(&self, hooks: Hooks) {
        self.in_flight.resize(self.limits.in_flight, hooks.len());
        self.buffers.resize(BUFFERED_MAX_BYTES, hooks.len());
        hooks.values().for_each(|hook| hook.divide(self.in_flight.most()));
        self.hooks.store(Arc::new(hooks));
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>, peer: IpAddr) -> Response {
        let closes = request.version() < Version::HTTP_2
            && request.body().size_hint().upper().is_none_or(|bytes| bytes > DRAINED_MAX_BYTES);
        let mut is_read = false;
        let mut response = {
            // In its place, here and below: moving it to where it is waited for copies all of it.
            let dispatching = std::pin::pin!(self.dispatch(request, peer, &mut is_read));
            dispatching.await
        };
        if closes && !is_read {
            // The connection ends with a body that nobody reads: its next request would be lost.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn dispatch(&self, request: Request<Body>, peer: IpAddr, is_read: &mut bool) -> Response {
        let (mount, name) = match split(request.uri().path()) {
            Some(found) => found,
            None => {
                return plain(
                    StatusCode::NOT_FOUND,
                    "nothing here; inputs go to /in/{instance}, forms to /forms/{instance}\n",
                );
            }
        };
        let hook = match self.hooks.load().get(name).filter(|hook| hook.webhook.mount() == mount) {
            Some(hook) => hook.clone(),
            None => {
                self.metrics.unknown_instance.inc();
                return plain(StatusCode::NOT_FOUND, "no such instance\n");
            }
        };
        let method = request.method().as_str();
        let methods = hook.webhook.methods();
        if !(methods.contains(&method) || method == "HEAD" && methods.contains(&"GET")) {
            let allow = HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("POST"));
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response.headers_mut().insert("allow", allow);
            return response;
        }
        let taking = std::pin::pin!(self.take(&hook, request, peer, is_read));
        taking.await
    }

    async fn take(&self, hook: &Hook, request: Request<Body>, peer: IpAddr, is_read: &mut bool) -> Response {
        let (parts, body) = request.into_parts();
        let mut raw = self.raw(&parts, peer);
        let party = hook.instance.name.as_str();
        let place = self.in_flight.take(party, 1);
        if self.closing.load(Ordering::Relaxed) || place.is_none() {
            self.metrics.overload.inc();
            return respond(hook.not_now(&raw, RETRY_AFTER));
        }
        let sent_bytes = hook.webhook.body_max_bytes().unwrap_or(self.limits.body.0);
        let limits = BodyLimits {
            sent_bytes,
            decompressed_bytes: self.limits.body_decompressed.0.max(sent_bytes),
            time: self.body_time(sent_bytes),
        };
        let encoding = raw.headers.get("content-encoding").map(str::to_owned);
        drop(parts);
        let mut held = Held::of(&self.buffers, party);
        // Gone before the next step begins: what waits holds no more room than it needs.
        let read = {
            let reading = std::pin::pin!(read(body, encoding.as_deref(), limits, &mut held));
            reading.await
        };
        match read {
            Ok(body) => (raw.body, *is_read) = (body, true),
            Err(BodyFault::NoRoom) => {
                self.metrics.overload.inc();
                return respond(hook.not_now(&raw, RETRY_AFTER));
            }
            Err(BodyFault::TooLarge { limit_bytes }) => return respond(hook.too_large(&raw, limit_bytes)),
            Err(BodyFault::Slow) => return plain(StatusCode::REQUEST_TIMEOUT, "body did not come in time\n"),
            Err(BodyFault::Broken) => return plain(StatusCode::BAD_REQUEST, "body is damaged\n"),
            Err(BodyFault::Encoding) => {
                return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding not known; use gzip or none\n");
            }
        }
        let deadline = self.deadline(raw.body.len());
        let handling = std::pin::pin!(hook.handle(raw, &self.push, deadline));
        respond(handling.await)
    }

    /// Large inputs get time in proportion, at the pace of a slow store: only people's uploads are that large, and people
    /// wait, where the providers of webhooks would have given up.
    fn deadline(&self, body_bytes: usize) -> Duration {
        const SLOWEST_BYTES_PER_SECOND: usize = 4 << 20;
        const USUAL_MAX_BYTES: usize = 4 << 20;
        let seconds = body_bytes.saturating_sub(USUAL_MAX_BYTES).div_ceil(SLOWEST_BYTES_PER_SECOND);
        self.limits.deadline.0 + Duration::from_secs(seconds as u64)
    }

    /// Large uploads (forms with files) get time in proportion, at the speed of a slow phone.
    fn body_time(&self, cap_bytes: usize) -> Duration {
        const SLOWEST_BYTES_PER_SECOND: usize = 128 << 10;
        self.limits.read_timeout.0
            + Duration::from_secs((cap_bytes.saturating_sub(4 << 20) / SLOWEST_BYTES_PER_SECOND) as u64)
    }

    fn raw(&self, parts: &http::request::Parts, peer: IpAddr) -> RawEvent {
        let mut raw = RawEvent::new(Wire::Http, Bytes::new(), crate::clock::now());
        raw.method = parts.method.as_str().to_owned();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        raw.uri = match &self.public_url {
            Some(base) => [base.trim_end_matches('/'), target].concat(),
            None => {
                let host = parts.headers.get("host").and_then(|host| host.to_str().ok());
                let host = host.or_else(|| parts.uri.authority().map(|a| a.as_str())).unwrap_or("localhost");
                ["http://", host, target].concat()
            }
        };
        raw.peer = Some(client(peer, &parts.headers, &self.trusted));
        let lines = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        // Inlet's own headers on a raw input tell where it stood; a stranger must not write them.
        raw.headers = Headers::copied(lines.filter(|(name, _)| !name.starts_with("inlet-")));
        raw
    }
}

/// The mount and instance of a path.
fn split(path: &str) -> Option<(Mount, &str)> {
    let mut steps = path.strip_prefix('/')?.splitn(3, '/');
    let mount = match steps.next()? {
        "in" => Mount::In,
        "forms" => Mount::Forms,
        _ => return None,
    };
    steps.next().filter(|name| !name.is_empty()).map(|name| (mount, name))
}

fn respond(reply: Reply) -> Response {
    let body = if reply.body.is_empty() { Body::empty() } else { Body::from(reply.body) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    respond(Reply::text(status.as_u16(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_mount_and_an_instance() {
        assert_eq!(split("/in/a"), Some((Mount::In, "a")));
        assert_eq!(split("/forms/a/embed.js"), Some((Mount::Forms, "a")));
        for path in ["/", "/in", "/in/", "/x/a", "in/a", ""] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
