//! Calling the Bot API. The token is part of every URL, so no URL is ever put into an error, an event or a log.

use std::time::Duration;

use connector_sdk::{ConfigError, Http, HttpRequest, HttpResponse, IntakeError, Secret};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Telegram;

pub const PUBLIC_API: &str = "https://api.telegram.org";
/// For methods that answer at once.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer of the Bot API.
#[derive(Deserialize)]
pub struct Answer<'a> {
    ok: bool,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error_code: Option<u16>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    retry_after: Option<u64>,
}

/// The configured address, checked; without a slash at the end.
pub fn base(api_url: &str) -> Result<String, ConfigError> {
    let wrong = |what: &str| ConfigError::new("api_url", what.to_owned());
    let url = url::Url::parse(api_url).map_err(|_| wrong("must be a URL (https://api.telegram.org)"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(wrong("must start with https:// (or http:// for a server of your own)"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold neither credentials nor a query"));
    }
    Ok(api_url.trim_end_matches('/').to_owned())
}

/// URL of a method.
pub fn method_url(api_url: &str, token: &Secret, method: &str) -> String {
    format!("{api_url}/bot{}/{method}", token.expose())
}

/// URL of a file by the path that `getFile` gave.
pub fn file_url(api_url: &str, token: &Secret, file_path: &str) -> String {
    format!("{api_url}/file/bot{}/{file_path}", token.expose())
}

impl Telegram {
    pub(crate) fn token(&self) -> Result<&Secret, IntakeError> {
        self.bot_token.as_ref().ok_or_else(|| IntakeError::Unauthorised("no `bot_token` is configured".to_owned()))
    }

    /// What a method answers that answers at once.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        http: &dyn Http,
        method: &str,
        parameters: &Value,
    ) -> Result<T, IntakeError> {
        let url = method_url(&self.api_url, self.token()?, method);
        let response = call(http, url, parameters, CALL_TIMEOUT).await?;
        serde_json::from_str(result(method, &response)?.get())
            .map_err(|_| IntakeError::Broken(format!("{method} answered without what it should tell")))
    }
}

/// Calls a method with JSON parameters.
pub async fn call(
    http: &dyn Http,
    url: String,
    parameters: &Value,
    timeout: Duration,
) -> Result<HttpResponse, IntakeError> {
    let mut request = HttpRequest::post(url, "application/json", parameters.to_string());
    request.timeout = timeout;
    Ok(http.send(request).await?)
}

/// The result of a call, as it came. Errors say what to do; the description is the server's and holds no token.
pub fn result<'a>(method: &str, response: &'a HttpResponse) -> Result<&'a RawValue, IntakeError> {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&response.body) else {
        // A proxy or an outage answers with a page.
        response.clone().ok(method)?;
        return Err(IntakeError::retry(format!("{method} answered something that is not JSON")));
    };
    if answer.ok {
        return answer.result.ok_or_else(|| IntakeError::Broken(format!("{method} answered without a result")));
    }
    let code = answer.error_code.unwrap_or(response.status);
    let description = connector_sdk::text::one_line(answer.description.as_deref().unwrap_or("no reason given"));
    let what = format!("{method} answered {code}: {description}");
    Err(match code {
        // 404 is what a token that is none gets.
        401 | 403 | 404 => IntakeError::Unauthorised(what),
        409 => conflict(&description),
        429 | 500..=599 => {
            let after = answer.parameters.and_then(|p| p.retry_after).map(Duration::from_secs);
            IntakeError::Retry { after: after.or(response.retry_after()), source: what.into() }
        }
        _ => IntakeError::Broken(what),
    })
}

/// Somebody else takes this bot's updates.
fn conflict(description: &str) -> IntakeError {
    if description.contains("webhook") {
        return IntakeError::Broken(format!(
            "a webhook takes this bot's updates; call deleteWebhook (keep drop_pending_updates off) or set \
             `mode: webhook` ({description})"
        ));
    }
    // Also seen for a moment while ownership moves to another replica: worth trying again, not at once.
    IntakeError::retry_after(
        CONFLICT_PAUSE,
        format!("another program polls this bot's updates; only one may ({description})"),
    )
}

/// Pause after another poller was met: polling at once would only throw it out, and it us.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);
