//! Attachments by URL, from hosts that the recipe or the instance allows.

use std::time::Duration;

use connector_sdk::{
    Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia, HttpRequest, IntakeError, RawEvent, Secret, Timestamp,
    async_trait,
};
use serde::{Deserialize, Serialize};

/// Largest file. Bytes.
const FILE_MAX_BYTES: usize = 256 << 20;
/// For one download.
const FILE_TIMEOUT: Duration = Duration::from_secs(300);

/// Parameters of an order. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileParams {
    pub url: String,
    pub provider: String,
    pub account: String,
    pub channel: String,
    pub conversation: String,
    pub key_basis: String,
    pub attachment_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// Downloads files.
pub struct FileFetch {
    hosts: Vec<String>,
    token: Option<Secret>,
}

impl FileFetch {
    pub fn new(hosts: Vec<String>, token: Option<Secret>) -> Self {
        Self { hosts, token }
    }
}

#[async_trait]
impl Fetch for FileFetch {
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError> {
        let params = FileParams::deserialize(&order.params)
            .map_err(|error| IntakeError::Broken(format!("file order cannot be read: {error}")))?;
        // Checked again: the order may be older than the configuration.
        if !allowed(&params.url, &self.hosts) {
            return Err(IntakeError::Broken("the file's host is not in attachment_hosts".into()));
        }
        let mut request = HttpRequest::get(&params.url);
        if let Some(token) = &self.token {
            request = request.bearer(token);
        }
        request.max_bytes = FILE_MAX_BYTES;
        request.timeout = FILE_TIMEOUT;
        let downloaded = io.download_redirected(request, |url| allowed(url, &self.hosts)).await?;
        let raw = match downloaded.status {
            200..=299 if is_page(&params, &downloaded) => {
                FetchedMedia::failed(order, "a web page came instead of the file")
            }
            200..=299 => FetchedMedia::stored(order, downloaded),
            404 | 410 => FetchedMedia::failed(order, "the file is gone at its source"),
            401 | 403 => return Err(IntakeError::Unauthorised("the file's host refused the download".into())),
            status @ (408 | 425 | 429 | 500..=599) => {
                let source = format!("the file's host answered {status}").into();
                return Err(IntakeError::Retry { after: downloaded.retry_after, source });
            }
            status => return Err(IntakeError::Broken(format!("the file's host answered {status}"))),
        };
        Ok(vec![raw.into_raw(io.now)])
    }

    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::failed(order, reason).into_raw(now)
    }
}

/// A log-in page with status 200, where another type was announced.
fn is_page(params: &FileParams, downloaded: &Downloaded) -> bool {
    let html = |media_type: &Option<String>| media_type.as_deref() == Some("text/html");
    (html(&downloaded.sniffed) || html(&downloaded.media_type)) && !html(&params.media_type)
}

/// Whether a file may be downloaded: https, a host of the list or below `*.` of one, no user, and a port only where the
/// list names it (`files.example.com:8443`).
pub fn allowed(url: &str, hosts: &[String]) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    plain
        && hosts.iter().any(|allowed| match allowed.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.')),
            None => host == *allowed,
        })
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn only_listed_hosts() {
        let hosts = ["files.example.com".to_owned(), "*.cdn.example".to_owned(), "own.example:8443".to_owned()];
        for good in [
            "https://files.example.com/a",
            "https://Files.Example.com?x",
            "https://a.cdn.example/x",
            "https://own.example:8443/x",
        ] {
            assert!(allowed(good, &hosts), "{good}");
        }
        for bad in [
            "http://files.example.com/a",
            "https://files.example.com.evil.example/",
            "https://files.example.com@evil.example/",
            "https://cdn.example/x",
            "https://evilcdn.example/x",
            "https://127.0.0.1/x",
            "https://files.example.com:8443/x",
            "https://own.example/x",
        ] {
            assert!(!allowed(bad, &hosts), "{bad}");
        }
    }
}
