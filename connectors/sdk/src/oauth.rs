//! OAuth 2.0 refresh (RFC 6749, section 6): an access token that is always fresh, a rotated refresh token that is never lost.

use std::time::Duration;

use inlet_schemas::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::error::IntakeError;
use crate::io::{HttpRequest, Io};
use crate::key::content_key;
use crate::secret::Secret;

/// A token is replaced so long before it expires.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_secs(300);
/// Lifetime where the provider names none.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// Cap of a token endpoint's answer.
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// Name under which the rotated refresh token is kept.
const STATE_NAME: &str = "oauth-refresh-token";

/// How to get access tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuthConfig {
    /// The provider's token endpoint (`https://oauth2.googleapis.com/token`,
    /// `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`).
    pub token_endpoint: String,
    /// Of the application that was registered at the provider.
    pub client_id: String,
    /// Absent for public clients.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// The first refresh token. Where the provider rotates it, the newest one is kept in `data_dir`; a changed value here
    /// wins over what is kept.
    pub refresh_token: Secret,
    /// Space-separated scopes, where the provider wants them at refresh.
    #[serde(default)]
    pub scope: Option<String>,
}

/// Hands out access tokens of one grant. One of it per instance: two would rotate the refresh token under each other.
#[derive(Debug)]
pub struct TokenSource {
    config: OAuthConfig,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    access: Option<(Secret, Timestamp)>,
    refresh: Option<Secret>,
}

/// What is kept of a rotated refresh token.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Hash of the configured token that this one descends from.
    configured: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
    #[serde(default)]
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl TokenSource {
    pub fn new(config: OAuthConfig) -> Self {
        Self { config, current: Mutex::default() }
    }

    /// An access token that is good for some minutes more.
    ///
    /// `Unauthorised` where the grant is gone (`invalid_grant`: revoked, expired, password changed): somebody has to
    /// consent again; `Retry` where the endpoint is away.
    pub async fn access_token(&self, io: &Io, now: Timestamp) -> Result<Secret, IntakeError> {
        // Held over the exchange, so that callers at the same time share one refresh.
        let mut current = self.current.lock().await;
        if let Some((token, until)) = &current.access
            && now.plus(REFRESH_BEFORE_EXPIRY) < *until
        {
            return Ok(token.clone());
        }
        let refresh = match &current.refresh {
            Some(token) => token.clone(),
            None => self.kept(io).await?.unwrap_or_else(|| self.config.refresh_token.clone()),
        };
        let granted = self.exchange(io, &refresh).await?;
        if let Some(rotated) = granted.refresh_token.filter(|token| !token.is_empty() && token != refresh.expose()) {
            // Before the new token is used: the old one may be dead already.
            self.keep(io, &rotated).await?;
            current.refresh = Some(Secret::new(rotated));
        } else {
            current.refresh = Some(refresh);
        }
        let lifetime = granted.expires_in.as_ref().and_then(seconds).map_or(DEFAULT_LIFETIME, Duration::from_secs);
        let token = Secret::new(granted.access_token);
        current.access = Some((token.clone(), now.plus(lifetime)));
        Ok(token)
    }

    /// Forgets an access token that the service refused, so that the next call fetches another.
    pub async fn invalidate(&self, token: &Secret) {
        let mut current = self.current.lock().await;
        if current.access.as_ref().is_some_and(|(have, _)| have == token) {
            current.access = None;
        }
    }

    async fn exchange(&self, io: &Io, refresh: &Secret) -> Result<Granted, IntakeError> {
        let form = self.form(refresh);
        let mut request =
            HttpRequest::post(self.config.token_endpoint.clone(), "application/x-www-form-urlencoded", form)
                .header("accept", "application/json");
        request.max_bytes = MAX_ANSWER_BYTES;
        let answer = io.http.send(request).await?;
        if matches!(answer.status, 400 | 401) {
            let reason = serde_json::from_slice::<Denied>(&answer.body).map(|denied| denied.error);
            return Err(denied(reason.as_deref().unwrap_or("no reason given")));
        }
        let answer = answer.ok("the token endpoint")?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| IntakeError::retry("the token endpoint's answer is not JSON with an access_token"))
    }

    fn form(&self, refresh: &Secret) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh.expose())
            .append_pair("client_id", &self.config.client_id);
        if let Some(secret) = &self.config.client_secret {
            form.append_pair("client_secret", secret.expose());
        }
        if let Some(scope) = &self.config.scope {
            form.append_pair("scope", scope);
        }
        form.finish()
    }

    async fn kept(&self, io: &Io) -> Result<Option<Secret>, IntakeError> {
        let Some(bytes) = io.state.load(STATE_NAME).await? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&bytes)
            .map_err(|_| IntakeError::Broken(format!("stored state '{STATE_NAME}' is not readable; remove it")))?;
        Ok((kept.configured == self.fingerprint()).then(|| Secret::new(kept.refresh_token)))
    }

    async fn keep(&self, io: &Io, token: &str) -> Result<(), IntakeError> {
        let kept = Kept { configured: self.fingerprint(), refresh_token: token.to_owned() };
        let bytes = serde_json::to_vec(&kept).map_err(|e| IntakeError::Broken(e.to_string()))?;
        io.state.save(STATE_NAME, &bytes).await
    }

    fn fingerprint(&self) -> String {
        content_key(&[self.config.client_id.as_bytes(), self.config.refresh_token.expose().as_bytes()])
    }
}

/// `expires_in` is a number, at some providers as text.
fn seconds(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The provider's error code only: its description may quote the token.
fn denied(code: &str) -> IntakeError {
    let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
    match code.as_str() {
        "temporarily_unavailable" | "server_error" => IntakeError::retry(format!("the token endpoint answered {code}")),
        "invalid_grant" => IntakeError::Unauthorised(
            "the refresh token is expired or revoked (invalid_grant): consent again and configure the new one"
                .to_owned(),
        ),
        _ => IntakeError::Unauthorised(format!("the token endpoint refused the refresh: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::io::{Http, HttpFault, HttpResponse, StateStore};

    #[derive(Default)]
    struct World {
        answers: Mutex<Vec<(u16, &'static str)>>,
        asked: Mutex<Vec<String>>,
        stored: Mutex<HashMap<String, Vec<u8>>>,
    }

    #[async_trait]
    impl Http for World {
        async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
            self.asked.lock().unwrap().push(String::from_utf8_lossy(&request.body).into_owned());
            let (status, body) = self.answers.lock().unwrap().remove(0);
            Ok(HttpResponse { status, headers: crate::Headers::default(), body: Bytes::from_static(body.as_bytes()) })
        }
    }

    #[async_trait]
    impl StateStore for World {
        async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
            Ok(self.stored.lock().unwrap().get(name).cloned())
        }
        async fn save(&self, name: &str, bytes: &[u8]) -> Result<(), IntakeError> {
            self.stored.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }
    }

    fn world(answers: &[(u16, &'static str)]) -> (Arc<World>, Io) {
        let world = Arc::new(World { answers: Mutex::new(answers.to_vec()), ..World::default() });
        (world.clone(), Io { http: world.clone(), state: world })
    }

    fn source(refresh: &str) -> TokenSource {
        TokenSource::new(OAuthConfig {
            token_endpoint: "https://token.example/t".to_owned(),
            client_id: "c&1".to_owned(),
            client_secret: Some(Secret::new("s")),
            refresh_token: Secret::new(refresh),
            scope: None,
        })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    const FIRST: (u16, &str) = (200, r#"{"access_token":"a1","expires_in":"3600","refresh_token":"r2"}"#);
    const SECOND: (u16, &str) = (200, r#"{"access_token":"a2","expires_in":3600}"#);

    #[tokio::test]
    async fn refreshes_before_expiry_and_keeps_the_rotated_token() {
        let (world, io) = world(&[FIRST, SECOND, SECOND, SECOND]);
        let tokens = source("r1");
        assert_eq!(tokens.access_token(&io, at(0)).await.unwrap().expose(), "a1");
        assert_eq!(tokens.access_token(&io, at(3000)).await.unwrap().expose(), "a1");
        assert_eq!(tokens.access_token(&io, at(3400)).await.unwrap().expose(), "a2");
        // After a restart the kept token is used, and a newly configured one wins over it.
        source("r1").access_token(&io, at(0)).await.unwrap();
        source("r9").access_token(&io, at(0)).await.unwrap();
        let asked = world.asked.lock().unwrap().clone();
        assert!(asked[0].contains("refresh_token=r1") && asked[0].contains("client_id=c%261"), "{asked:?}");
        assert!(asked[1].contains("refresh_token=r2") && asked[2].contains("refresh_token=r2"), "{asked:?}");
        assert!(asked[3].contains("refresh_token=r9"), "{asked:?}");
    }

    #[tokio::test]
    async fn refusals_say_what_to_do_and_outages_are_retried() {
        let (_, io) = world(&[(400, r#"{"error":"invalid_grant","error_description":"r1"}"#), (503, "")]);
        let tokens = source("r1");
        let error = tokens.access_token(&io, at(0)).await.unwrap_err();
        assert!(matches!(&error, IntakeError::Unauthorised(text) if text.contains("consent again")), "{error}");
        assert!(matches!(tokens.access_token(&io, at(0)).await, Err(IntakeError::Retry { .. })));
    }

    #[tokio::test]
    async fn a_refused_token_is_fetched_again() {
        let (_, io) = world(&[FIRST, SECOND]);
        let tokens = source("r1");
        let first = tokens.access_token(&io, at(0)).await.unwrap();
        tokens.invalidate(&Secret::new("other")).await;
        assert_eq!(tokens.access_token(&io, at(1)).await.unwrap(), first);
        tokens.invalidate(&first).await;
        assert_eq!(tokens.access_token(&io, at(2)).await.unwrap().expose(), "a2");
    }
}
