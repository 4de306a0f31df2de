//! Fetching files with `getFile`, and trying the token. The download's URL holds the token: it is made here, used and
//! forgotten.
//!
//! Source: core.telegram.org/bots/api#getfile.

use std::time::Duration;

use connector_sdk::{
    Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpRequest, IntakeError, Io, Probe, ProbeReport, RawEvent,
    Timestamp, async_trait,
};
use serde::Deserialize;
use serde_json::json;

use crate::media::{ORDER_KIND, Order};
use crate::upkeep::WebhookInfo;
use crate::{Telegram, api};

/// A server of one's own hands out files of up to 2 GB; that is the cap here too.
const FILE_MAX_BYTES: usize = 2 << 30;
const FILE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const HTML: &str = "text/html";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    file_path: Option<String>,
}

#[derive(Deserialize)]
struct Me {
    #[serde(default)]
    username: Option<String>,
}

#[async_trait]
impl Fetch for Telegram {
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let token = self.token()?;
        if order.kind != ORDER_KIND {
            return Err(IntakeError::Broken(format!("orders of kind {} are not Telegram's", order.kind)));
        }
        let params = Order::deserialize(&order.params)
            .map_err(|_| IntakeError::Broken("the fetch order's parameters cannot be read".to_owned()))?;
        let file: File = self.ask(&*io.http, "getFile", &json!({ "file_id": params.file_id })).await?;
        let path = file.file_path.filter(|path| is_relative(path)).ok_or_else(|| {
            IntakeError::Broken(
                "getFile gave no path to download from (a Bot API server in --local mode keeps files on its own disk)"
                    .to_owned(),
            )
        })?;
        let mut request = HttpRequest::get(api::file_url(&self.api_url, token, &path));
        request.max_bytes = FILE_MAX_BYTES;
        request.timeout = FILE_TIMEOUT;
        let downloaded = check(io.download.download(request).await?, params.media_type.as_deref())?;
        let mut named = order.clone();
        if params.file_name.is_none()
            && let Some(name) = connector_sdk::text::file_name(&path)
        {
            named.params = serde_json::to_value(Order { file_name: Some(name), ..params })
                .map_err(|e| IntakeError::Broken(e.to_string()))?;
        }
        Ok(vec![FetchedMedia::stored(&named, downloaded).into_raw(io.now)])
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::failed(order, reason).into_raw(now)
    }
}

#[async_trait]
impl Probe for Telegram {
    async fn probe(&self, io: &Io) -> Result<ProbeReport, IntakeError> {
        let me: Me = self.ask(&*io.http, "getMe", &json!({})).await?;
        let webhook = WebhookInfo::of(self, io).await?;
        let way = if webhook.url.is_empty() { "no webhook is set" } else { "a webhook is set" };
        let mut lines = vec![
            format!("bot @{} ({})", me.username.as_deref().unwrap_or(""), self.bot_id),
            format!("{way}, {} updates wait", webhook.pending_update_count),
        ];
        lines.extend(webhook.last_error().map(|error| format!("last webhook error: {error}")));
        Ok(ProbeReport { lines })
    }
}

/// A path below the server's file root and nothing else.
fn is_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|step| !step.is_empty() && step != "..")
        && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b'%'))
}

fn check(downloaded: Downloaded, declared: Option<&str>) -> Result<Downloaded, IntakeError> {
    let what = format!("the file answered {}", downloaded.status);
    match downloaded.status {
        200..=299 => {}
        401 | 403 => return Err(IntakeError::Unauthorised(what)),
        // A path is good for an hour: a new getFile gives a new one.
        404 | 429 | 500..=599 => return Err(IntakeError::Retry { after: downloaded.retry_after, source: what.into() }),
        _ => return Err(IntakeError::Broken(what)),
    }
    let is_html = |media_type: Option<&str>| media_type.is_some_and(|media_type| media_type.starts_with(HTML));
    if (is_html(downloaded.media_type.as_deref()) || is_html(downloaded.sniffed.as_deref())) && !is_html(declared) {
        return Err(IntakeError::Broken(
            "a page came instead of the file: something between answers for Telegram".to_owned(),
        ));
    }
    if downloaded.blob.is_none() {
        return Err(IntakeError::retry("the download brought no bytes"));
    }
    Ok(downloaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths() {
        assert!(is_relative("photos/file_12.jpg"));
        for path in ["", "/var/lib/x", "a/../b", "a//b", "a?b", "a b", "a%2e"] {
            assert!(!is_relative(path), "{path}");
        }
    }
}
