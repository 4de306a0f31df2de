//! Something changed: go and get it.

use std::sync::Arc;

use async_trait::async_trait;
use inlet_schemas::{BlobRef, FetchState, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::IntakeError;
use crate::io::{Http, HttpFault, HttpRequest};
use crate::raw::RawEvent;

/// An order to fetch something with the instance's credentials; carried by `inlet.fetches`, so it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchOrder {
    /// Orders with the same id (within an instance) are for the same thing and coalesce.
    pub id: String,
    /// What sort of thing, in the connector's words (`media`, `lead`).
    pub kind: String,
    /// What the connector needs to fetch it and to say afterwards what it belongs to.
    pub params: Value,
    /// When the provider stops giving it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Carries out orders. What comes back enters the line as raw events of wire [`crate::Wire::Fetched`].
#[async_trait]
pub trait Fetch: Send + Sync {
    /// `Retry` = the driver tries again until the order expires; any other error, or expiry, makes the driver call
    /// [`Fetch::failed`].
    async fn fetch(&self, order: &FetchOrder, io: &FetchIo) -> Result<Vec<RawEvent>, IntakeError>;

    /// The raw event that says that the order was given up, for `attachment.failed`; usually [`FetchedMedia::failed`].
    fn failed(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent;

    /// The same for what is larger than the cap; usually [`FetchedMedia::too_large`].
    fn too_large(&self, order: &FetchOrder, reason: &str, now: Timestamp) -> RawEvent {
        FetchedMedia::too_large(order, reason).into_raw(now)
    }
}

/// Stores what a fetch downloads.
#[async_trait]
pub trait Download: Send + Sync {
    /// Streams the answer into the blob store under a cap in bytes; nothing of a failed download stays.
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault>;
}

/// An answer whose body is in the blob store.
#[derive(Clone, Debug)]
pub struct Downloaded {
    pub status: u16,
    /// Media type that the server declared, without parameters.
    pub media_type: Option<String>,
    /// Media type recognised from the first bytes.
    pub sniffed: Option<String>,
    pub retry_after: Option<std::time::Duration>,
    /// Only for a 2xx.
    pub blob: Option<BlobRef>,
}

/// A redirect's own body; larger ones are none.
const REDIRECT_MAX_BYTES: usize = 256 << 10;

/// What a fetch may do.
#[derive(Clone)]
pub struct FetchIo {
    pub http: Arc<dyn Http>,
    pub download: Arc<dyn Download>,
    pub now: Timestamp,
}

impl FetchIo {
    /// Downloads. A redirect is followed once, to an https URL that `allowed` lets through, without the request's
    /// headers: credentials stay with the host that they are for.
    pub async fn download_redirected(
        &self,
        request: HttpRequest,
        allowed: impl Fn(&str) -> bool + Send,
    ) -> Result<Downloaded, HttpFault> {
        let first = self.download.download(request.clone()).await?;
        if !(300..400).contains(&first.status) {
            return Ok(first);
        }
        let again = HttpRequest { max_bytes: REDIRECT_MAX_BYTES, ..request.clone() };
        let answer = match self.http.send(again).await {
            // No redirect any more; whoever called sees what came first.
            Err(HttpFault::TooLarge { .. }) => return Ok(first),
            answer => answer?,
        };
        let location = answer.headers.get("location").and_then(|to| url::Url::parse(&request.url).ok()?.join(to).ok());
        match location {
            Some(to) if to.scheme() == "https" && allowed(to.as_str()) => {
                self.download.download(HttpRequest { url: to.into(), headers: Vec::new(), ..request }).await
            }
            _ => Ok(first),
        }
    }
}

/// What came of an order for media: the body of a raw event of wire `Fetched`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedMedia {
    pub order: FetchOrder,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sniffed: Option<String>,
    /// Why there is no blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// There is no blob because the cap in bytes was reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_large: bool,
}

impl FetchedMedia {
    pub fn stored(order: &FetchOrder, downloaded: Downloaded) -> Self {
        Self {
            order: order.clone(),
            blob: downloaded.blob,
            media_type: downloaded.media_type,
            sniffed: downloaded.sniffed,
            failure: None,
            too_large: false,
        }
    }

    pub fn failed(order: &FetchOrder, reason: &str) -> Self {
        let order = order.clone();
        Self { order, blob: None, media_type: None, sniffed: None, failure: Some(reason.to_owned()), too_large: false }
    }

    /// More bytes than may be fetched; `reason` says how many those are.
    pub fn too_large(order: &FetchOrder, reason: &str) -> Self {
        Self { too_large: true, ..Self::failed(order, reason) }
    }

    /// What became of the attachment.
    pub fn state(&self) -> FetchState {
        match (&self.blob, self.too_large) {
            (Some(_), _) => FetchState::Stored,
            (None, true) => FetchState::TooLarge,
            (None, false) => FetchState::Failed,
        }
    }

    /// As an input for the line.
    pub fn into_raw(self, now: Timestamp) -> RawEvent {
        // Serialising plain data to JSON cannot fail; a null would be dead-lettered, not lost.
        let body = serde_json::to_vec(&self).unwrap_or_else(|_| b"null".to_vec());
        RawEvent::new(crate::raw::Wire::Fetched, body, now)
    }
}
