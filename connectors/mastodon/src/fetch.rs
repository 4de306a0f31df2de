//! Media: which hosts may be asked, the orders, and their carrying out. The token is never sent with them.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::{Attachment, FetchState};
use connector_sdk::{
    Fetch, FetchIo, FetchOrder, FetchedMedia, HttpRequest, IntakeError, RawEvent, Timestamp, async_trait, json, text,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::Options;

/// `kind` of every order.
const MEDIA: &str = "media";

/// What an order carries: the file, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    pub url: String,
    pub status: String,
    pub attachment: String,
    pub account: String,
    pub conversation: String,
    pub visibility: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

/// What an order belongs to.
pub struct Owner<'a> {
    pub status: &'a str,
    pub account: &'a str,
    pub conversation: &'a str,
    pub visibility: &'a str,
}

/// Fills in where a MediaAttachment's bytes are, and orders them where their host is allowed.
pub fn order(options: &Options, owner: &Owner<'_>, media: &Value, attachment: &mut Attachment) -> Option<FetchOrder> {
    let urls: Vec<&str> = ["/url", "/remote_url"].iter().filter_map(|at| json::text(media, at)).collect();
    let Some(first) = urls.first() else {
        attachment.fetch_state = FetchState::Failed;
        attachment.reason = Some("the server has no address for it (still being processed, or removed)".into());
        return None;
    };
    let url = urls.iter().find(|url| allowed(options, url)).unwrap_or(first);
    attachment.provider_url = Some((*url).to_owned());
    attachment.file_name = Url::parse(url).ok().and_then(|url| text::file_name(url.path()));
    if !allowed(options, url) {
        attachment.fetch_state = FetchState::External;
        attachment.reason = Some("its host is not among media_hosts".into());
        return None;
    }
    attachment.fetch_state = FetchState::Pending;
    let params = Params {
        url: (*url).to_owned(),
        status: owner.status.to_owned(),
        attachment: attachment.id.clone(),
        account: owner.account.to_owned(),
        conversation: owner.conversation.to_owned(),
        visibility: owner.visibility.to_owned(),
        file_name: attachment.file_name.clone(),
    };
    Some(FetchOrder {
        id: format!("{MEDIA}/{}/{}", owner.status, attachment.id),
        kind: MEDIA.into(),
        params: serde_json::to_value(params).ok()?,
        expires_at: None,
    })
}

/// Largest file; servers take videos of 99 MB unless they are changed. Bytes.
const FILE_MAX_BYTES: usize = 256 << 20;
/// For one download.
const FILE_TIMEOUT: Duration = Duration::from_secs(300);

/// Whether a URL may be fetched: https (or the server's own scheme) on the server's host or one of `media_hosts`.
fn allowed(options: &Options, url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let Some(host) = url.host_str() else { return false };
    let own = host == options.host;
    let scheme = url.scheme() == "https" || (own && options.base_url.starts_with(&format!("{}://", url.scheme())));
    scheme
        && url.username().is_empty()
        && (own
            || options.media_hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
                Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
                None => host == pattern,
            }))
}

/// Downloads what was ordered.
pub struct MediaFetch {
    options: Arc<Options>,
}

impl MediaFetch {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Fetch for MediaFetch {
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let params = Params::deserialize(&order.params)
            .map_err(|e| IntakeError::Broken(format!("order {} is not readable: {e}", order.id)))?;
        // Orders lie on a topic: the configuration of today decides, not that of the day on which they were written.
        if !allowed(&self.options, &params.url) {
            return Err(IntakeError::Broken("its host is not among media_hosts".into()));
        }
        let downloaded = {
            let mut request = HttpRequest::get(params.url);
            (request.max_bytes, request.timeout) = (FILE_MAX_BYTES, FILE_TIMEOUT);
            io.download.download(request).await?
        };
        match downloaded.status {
            200..=299 => {}
            408 | 425 | 429 | 500..=599 => {
                return Err(IntakeError::Retry {
                    after: downloaded.retry_after,
                    source: format!("media host answered {}", downloaded.status).into(),
                });
            }
            status => return Err(IntakeError::Broken(format!("media host answered {status}"))),
        }
        let page = |kind: &Option<String>| kind.as_deref() == Some("text/html");
        let media = if downloaded.blob.is_none() {
            FetchedMedia::failed(order, "the answer had no body")
        } else if page(&downloaded.media_type) || page(&downloaded.sniffed) {
            FetchedMedia::failed(order, "the media host answered with a web page instead of the file")
        } else {
            FetchedMedia::stored(order, downloaded)
        };
        Ok(vec![media.into_raw(io.now)])
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::failed(order, reason).into_raw(now)
    }
}
