//! Fetching files with the bot token, and trying the token.
//!
//! Source: docs.slack.dev `reference/methods/files.info` and `auth.test`. Without the scope `files:read` Slack answers a
//! download with status 200 and its sign-in page.

use std::time::Duration;

use connector_sdk::{
    Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpRequest, IntakeError, Io, Probe, ProbeReport, RawEvent,
    Secret, Timestamp, async_trait, body,
};
use serde::Deserialize;
use serde_json::Value;

use crate::Slack;
use crate::files::{ORDER_KIND, Order};

const API: &str = "https://slack.com/api/";
/// Hosts that get the bot token for a download.
const FILE_HOSTS: &[&str] = &["files.slack.com"];
/// Slack takes files of up to 1 GB.
const FILE_MAX_BYTES: usize = 1 << 30;
const FILE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const HTML: &str = "text/html";
const NO_SCOPE: &str = "Slack answered with its sign-in page instead of the file: the bot token lacks `files:read`";

#[async_trait]
impl Fetch for Slack {
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let token = self.token()?;
        if order.kind != ORDER_KIND {
            return Err(IntakeError::Broken(format!("orders of kind {} are not Slack's", order.kind)));
        }
        let mut params = Order::deserialize(&order.params)
            .map_err(|_| IntakeError::Broken("the fetch order's parameters cannot be read".to_owned()))?;
        let mut completed = order.clone();
        if params.url.is_none() {
            let info = call(io, token, "files.info", &[("file", &params.file_id)]).await?;
            complete(&mut params, info.get("file").unwrap_or(&Value::Null))?;
            completed.params = serde_json::to_value(&params).map_err(|e| IntakeError::Broken(e.to_string()))?;
        }
        let url = params.url.as_deref().unwrap_or_default();
        if !is_slack_file(url) {
            return Err(IntakeError::Broken("the file is not on a host of Slack".to_owned()));
        }
        let mut request = HttpRequest::get(url).bearer(token);
        request.max_bytes = FILE_MAX_BYTES;
        request.timeout = FILE_TIMEOUT;
        let downloaded = check(io.download.download(request).await?, params.media_type.as_deref())?;
        Ok(vec![FetchedMedia::stored(&completed, downloaded).into_raw(io.now)])
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::failed(order, reason).into_raw(now)
    }
}

#[async_trait]
impl Probe for Slack {
    async fn probe(&self, io: &Io) -> Result<ProbeReport, IntakeError> {
        let token = self.token()?;
        let request = api_request(token, "auth.test", &[]);
        let answer = api_answer("auth.test", io.http.send(request).await?)?;
        let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let lines = vec![
            format!("workspace {} ({})", field("team"), field("team_id")),
            format!("bot user {} ({}), bot {}", field("user"), field("user_id"), field("bot_id")),
        ];
        Ok(ProbeReport { lines })
    }
}

impl Slack {
    fn token(&self) -> Result<&Secret, IntakeError> {
        self.bot_token.as_ref().ok_or_else(|| IntakeError::Unauthorised("no `bot_token` is configured".to_owned()))
    }
}

async fn call(io: &FetchIo, token: &Secret, method: &str, fields: &[(&str, &str)]) -> Result<Value, IntakeError> {
    api_answer(method, io.http.send(api_request(token, method, fields)).await?)
}

fn api_request(token: &Secret, method: &str, fields: &[(&str, &str)]) -> HttpRequest {
    let form = body::to_urlencoded(fields.iter().copied());
    HttpRequest::post(format!("{API}{method}"), "application/x-www-form-urlencoded", form).bearer(token)
}

/// The Web API answers errors with status 200 and `ok: false`.
fn api_answer(method: &str, response: connector_sdk::HttpResponse) -> Result<Value, IntakeError> {
    let retry_after = response.retry_after();
    let response = response.ok(method)?;
    let answer: Value = serde_json::from_slice(&response.body)
        .map_err(|_| IntakeError::retry(format!("{method} answered something that is not JSON")))?;
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return Ok(answer);
    }
    let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
    let what = format!("{method} answered {}", connector_sdk::text::one_line(error));
    Err(match error {
        "ratelimited" | "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            IntakeError::Retry { after: retry_after, source: what.into() }
        }
        "invalid_auth" | "not_authed" | "account_inactive" | "token_expired" | "token_revoked" | "missing_scope"
        | "no_permission" | "access_denied" => IntakeError::Unauthorised(what),
        _ => IntakeError::Broken(what),
    })
}

/// Fills in what `files.info` knows.
fn complete(params: &mut Order, file: &Value) -> Result<(), IntakeError> {
    let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    if text("mode").as_deref() == Some("external") {
        return Err(IntakeError::Broken("the file is a link to another service".to_owned()));
    }
    params.url = text("url_private_download").or_else(|| text("url_private"));
    if params.url.is_none() {
        return Err(IntakeError::Broken("files.info names no place to download the file from".to_owned()));
    }
    params.file_name = params.file_name.take().or_else(|| connector_sdk::text::file_name(&text("name")?));
    params.media_type = params.media_type.take().or_else(|| text("mimetype"));
    Ok(())
}

/// Whether the token may be sent there.
fn is_slack_file(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| FILE_HOSTS.contains(&host))
}

fn check(downloaded: Downloaded, declared: Option<&str>) -> Result<Downloaded, IntakeError> {
    match downloaded.status {
        200..=299 => {}
        // To the sign-in page; redirects are never followed with the token.
        300..=399 => return Err(IntakeError::Unauthorised(NO_SCOPE.to_owned())),
        401 | 403 => return Err(IntakeError::Unauthorised(format!("the file answered {}", downloaded.status))),
        429 | 500..=599 => {
            let what = format!("the file answered {}", downloaded.status);
            return Err(IntakeError::Retry { after: downloaded.retry_after, source: what.into() });
        }
        status => return Err(IntakeError::Broken(format!("the file answered {status}"))),
    }
    let is_html = |media_type: Option<&str>| media_type.is_some_and(|media_type| media_type.starts_with(HTML));
    if (is_html(downloaded.media_type.as_deref()) || is_html(downloaded.sniffed.as_deref())) && !is_html(declared) {
        return Err(IntakeError::Unauthorised(NO_SCOPE.to_owned()));
    }
    if downloaded.blob.is_none() {
        return Err(IntakeError::retry("the download brought no bytes"));
    }
    Ok(downloaded)
}
