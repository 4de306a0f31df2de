//! What connectors may do to the outside world, given to them by the gateway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::IntakeError;

/// An outgoing HTTP request.
#[derive(Clone)]
pub struct HttpRequest {
    pub method: http::Method,
    /// Absolute URL; may hold a secret, so it is never logged whole.
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// For the whole exchange.
    pub timeout: Duration,
    /// Cap of the answer's body in bytes.
    pub max_bytes: usize,
}

/// Default time for an exchange.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// Default cap of an API answer.
pub const HTTP_MAX_BYTES: usize = 8 << 20;

impl HttpRequest {
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: http::Method::GET,
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: HTTP_TIMEOUT,
            max_bytes: HTTP_MAX_BYTES,
        }
    }

    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut request = Self::get(url);
        request.method = http::Method::POST;
        request.headers.push(("content-type", content_type.to_owned()));
        request.body = body.into();
        request
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn bearer(self, token: &crate::Secret) -> Self {
        self.header("authorization", format!("Bearer {}", token.expose()))
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: crate::Headers,
    pub body: Bytes,
}

impl HttpResponse {
    /// Retry-After in seconds form.
    pub fn retry_after(&self) -> Option<Duration> {
        self.headers.get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }

    /// 2xx as it is; 401/403 as `Unauthorised`; 429 and 5xx as `Retry`, honouring Retry-After; others as `Broken`.
    pub fn ok(self, what: &str) -> Result<Self, IntakeError> {
        match self.status {
            200..=299 => Ok(self),
            401 | 403 => Err(IntakeError::Unauthorised(format!("{what} answered {}", self.status))),
            408 | 425 | 429 | 500..=599 => Err(IntakeError::Retry {
                after: self.retry_after(),
                source: format!("{what} answered {}", self.status).into(),
            }),
            status => Err(IntakeError::Broken(format!("{what} answered {status}"))),
        }
    }
}

/// Why an exchange gave no answer. The text names the host at most, never path, query or credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpFault {
    #[error("cannot reach {host}: {reason}")]
    Transport { host: String, reason: String },
    #[error("{host} did not answer within {seconds} s")]
    Timeout { host: String, seconds: u64 },
    #[error("answer of {host} is over {limit_bytes} bytes")]
    TooLarge { host: String, limit_bytes: usize },
    /// The address is not allowed: not https, a private range, or a host outside the allow-list.
    #[error("refused to call {host}: {reason}")]
    Forbidden { host: String, reason: String },
}

impl From<HttpFault> for IntakeError {
    fn from(fault: HttpFault) -> Self {
        match fault {
            HttpFault::Forbidden { .. } => IntakeError::Broken(fault.to_string()),
            HttpFault::TooLarge { .. } => IntakeError::TooLarge(fault.to_string()),
            _ => IntakeError::retry(fault),
        }
    }
}

/// Outgoing HTTP for API calls to the configured provider.
#[async_trait]
pub trait Http: Send + Sync {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault>;
}

/// Small state that must survive a restart and is not a position: a rotated refresh token. Local to the gateway's
/// `data_dir`, readable by its user alone, written atomically.
#[async_trait]
pub trait StateStore: Send + Sync {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, IntakeError>;
    async fn save(&self, name: &str, bytes: &[u8]) -> Result<(), IntakeError>;
}

/// The outside world of an instance, cheap to clone.
#[derive(Clone)]
pub struct Io {
    pub http: Arc<dyn Http>,
    pub state: Arc<dyn StateStore>,
}
