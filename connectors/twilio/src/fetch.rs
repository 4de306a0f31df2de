//! Media and recordings, which are behind the account's credentials.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{
    Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpRequest, IntakeError, RawEvent, Timestamp, async_trait,
    verify,
};
use serde::Deserialize;

use crate::Config;
use crate::parse::MediaParams;

/// Largest file; long recordings stay well below it. Bytes.
const MEDIA_MAX_BYTES: usize = 256 << 20;
/// For one download.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(300);
/// Hosts that get the credentials: the API, by whatever edge or region. A file's URL comes from the payload.
const HOST: &str = "api.twilio.com";
const HOST_SUFFIX: &str = ".twilio.com";
const HOST_PREFIX: &str = "api.";

/// Downloads with the account's credentials.
pub struct MediaFetch {
    config: Arc<Config>,
}

impl MediaFetch {
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// `authorization` values to try: the API key, or the auth tokens, of which the old one may still be the valid one
    /// while they are being rotated.
    fn credentials(&self, account: &str) -> Vec<String> {
        let basic = |user: &str, password: &str| {
            format!("Basic {}", verify::to_base64(format!("{user}:{password}").as_bytes()))
        };
        match &self.config.api_key {
            Some(key) => vec![basic(&key.sid, key.secret.expose())],
            None => self.config.auth_token.iter().map(|token| basic(account, token.expose())).collect(),
        }
    }
}

#[async_trait]
impl Fetch for MediaFetch {
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let params = MediaParams::deserialize(&order.params)
            .map_err(|error| IntakeError::Broken(format!("media order cannot be read: {error}")))?;
        if !is_provider_url(&params.url) {
            return Err(IntakeError::Broken("the media URL is not one of Twilio's API".into()));
        }
        let mut refused = 0;
        for authorization in self.credentials(&params.account) {
            let mut request = HttpRequest::get(&params.url).header("authorization", authorization);
            request.max_bytes = MEDIA_MAX_BYTES;
            request.timeout = MEDIA_TIMEOUT;
            // The API answers with a signed URL at the storage of its choice, good for a short time.
            let downloaded = io.download_redirected(request, |_| true).await?;
            match downloaded.status {
                401 | 403 => refused = downloaded.status,
                _ => return outcome(order, &params, downloaded, io.now),
            }
        }
        Err(IntakeError::Unauthorised(format!("Twilio answered {refused} to a media download")))
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::failed(order, reason).into_raw(now)
    }
}

fn outcome(
    order: &FetchOrder,
    params: &MediaParams,
    downloaded: Downloaded,
    now: Timestamp,
) -> Result<Vec<RawEvent>, IntakeError> {
    match downloaded.status {
        200..=299 if is_page(params, &downloaded) => {
            Ok(vec![FetchedMedia::failed(order, "a web page came instead of the file").into_raw(now)])
        }
        200..=299 => Ok(vec![FetchedMedia::stored(order, downloaded).into_raw(now)]),
        404 | 410 => Ok(vec![FetchedMedia::failed(order, "the file was deleted at Twilio").into_raw(now)]),
        status @ (408 | 425 | 429 | 500..=599) => Err(IntakeError::Retry {
            after: downloaded.retry_after,
            source: format!("Twilio answered {status} to a media download").into(),
        }),
        status => Err(IntakeError::Broken(format!("Twilio answered {status} to a media download"))),
    }
}

/// A log-in or error page with status 200, where the message announced something else.
fn is_page(params: &MediaParams, downloaded: &Downloaded) -> bool {
    let html = |media_type: &Option<String>| media_type.as_deref() == Some("text/html");
    (html(&downloaded.sniffed) || html(&downloaded.media_type)) && !html(&params.media_type)
}

/// Whether the credentials may go there: https, the API's host, no user or port of its own.
fn is_provider_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    plain && (host == HOST || (host.starts_with(HOST_PREFIX) && host.ends_with(HOST_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::is_provider_url;

    #[test]
    fn credentials_go_to_the_provider_alone() {
        for good in ["https://api.twilio.com/2010-04-01/x", "https://api.dublin.ie1.twilio.com/x"] {
            assert!(is_provider_url(good), "{good}");
        }
        for bad in [
            "http://api.twilio.com/x",
            "https://api.twilio.com.evil.example/x",
            "https://api.twilio.com@evil.example/x",
            "https://evil.example/api.twilio.com",
            "https://api.evil.example?.twilio.com",
            "https://api.twilio.com:8443/x",
            "https://api.twilio.com\\@evil.example/",
        ] {
            assert!(!is_provider_url(bad), "{bad}");
        }
    }
}
