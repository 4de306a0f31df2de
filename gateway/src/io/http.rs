//! Outgoing HTTP calls to configured providers.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use connector_sdk::{Headers, Http, HttpFault, HttpRequest, HttpResponse, async_trait};
use futures::StreamExt;

use super::guard::{self, Guard};

/// HTTP client with TLS over the system's roots; follows no redirects (a token must not travel).
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    /// For calls to what a payload names.
    guard: Option<Guard>,
}

/// Sent with every call.
const USER_AGENT: &str = concat!("inlet/", env!("CARGO_PKG_VERSION"));

impl Client {
    /// For calls to what the configuration names.
    pub fn new() -> Result<Self, String> {
        Self::build(None)
    }

    /// For calls that fetch orders lead to. Proxies of the environment are not asked: they would resolve names for us.
    pub fn guarded(guard: Guard) -> Result<Self, String> {
        Self::build(Some(guard))
    }

    fn build(guard: Option<Guard>) -> Result<Self, String> {
        let tls = connector_sdk::net::client_config(None).map_err(|e| e.to_string())?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(USER_AGENT)
            .connect_timeout(connector_sdk::net::CONNECT_TIMEOUT);
        if let Some(guard) = &guard {
            builder = builder.no_proxy().dns_resolver(Arc::new(guard.clone()));
        }
        Ok(Self { client: builder.build().map_err(|e| e.to_string())?, guard })
    }

    /// Sends and gives the answer with its body unread.
    pub async fn open(&self, request: HttpRequest) -> Result<(reqwest::Response, String), HttpFault> {
        let host = host(&request.url);
        if let Some(guard) = &self.guard {
            guard.check(&request.url)?;
        }
        let mut builder = self.client.request(request.method, &request.url).timeout(request.timeout).body(request.body);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        match builder.send().await {
            Ok(response) => Ok((response, host)),
            Err(error) => Err(fault(host, &error, request.timeout.as_secs())),
        }
    }
}

/// An error without its URL: that may hold a token.
pub fn fault(host: String, error: &reqwest::Error, seconds: u64) -> HttpFault {
    if let Some(reason) = guard::refused(error) {
        return HttpFault::Forbidden { host, reason };
    }
    if error.is_timeout() {
        return HttpFault::Timeout { host, seconds };
    }
    let mut reason = if error.is_connect() { "connection failed".to_owned() } else { "exchange failed".to_owned() };
    let mut source = std::error::Error::source(error);
    // Only the innermost causes (I/O, TLS) are free of the URL.
    while let Some(inner) = source {
        if inner.source().is_none() {
            reason = format!("{reason}: {inner}");
        }
        source = inner.source();
    }
    HttpFault::Transport { host, reason }
}

/// Host and port of a URL, for messages.
pub fn host(url: &str) -> String {
    url::Url::parse(url)
        .ok()
        .and_then(|url| {
            let host = url.host_str()?.to_owned();
            Some(url.port().map_or(host.clone(), |port| format!("{host}:{port}")))
        })
        .unwrap_or_else(|| "(no valid URL)".to_owned())
}

#[async_trait]
impl Http for Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let (limit_bytes, seconds) = (request.max_bytes, request.timeout.as_secs());
        let (response, host) = self.open(request).await?;
        let status = response.status().as_u16();
        let mut headers = Headers::default();
        for (name, value) in response.headers() {
            headers.push(name.as_str(), Bytes::copy_from_slice(value.as_bytes()));
        }
        let mut body = BytesMut::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| fault(host.clone(), &error, seconds))?;
            if body.len() + chunk.len() > limit_bytes {
                return Err(HttpFault::TooLarge { host, limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status, headers, body: body.freeze() })
    }
}
