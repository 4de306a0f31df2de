//! Files: a reference to stored bytes, never only a provider's URL (those expire).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::open_enum::open_enum;

open_enum! {
    /// Where the bytes are.
    FetchState {
        /// In the blob store: `blob` tells where.
        Stored = "stored",
        /// Ordered; an `attachment.stored` or `attachment.failed` event follows.
        Pending = "pending",
        /// Could not be had; `reason` says why.
        Failed = "failed",
        /// Larger than the cap; not stored.
        TooLarge = "too_large",
        /// The provider has no bytes for it: a link elsewhere, or removed.
        External = "external",
    }
}

open_enum! {
    /// Whether the file belongs inside the text.
    Disposition {
        Attachment = "attachment",
        Inline = "inline",
    }
}

/// Stored bytes, addressed by their content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlobRef {
    /// Path under the blob store's root (`sha256/ab/abcdef…`); the store's base URL is in the record header `inlet-blob-base`.
    pub path: String,
    /// Lower-case hex.
    pub sha256: String,
    pub size_bytes: u64,
}

/// One file of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attachment {
    /// The provider's id of the file, or a position within the message (`1`, `2.1`); unique in the event.
    pub id: String,
    pub fetch_state: FetchState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// File name, decoded and cleaned of control characters and path separators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// File name as it came, where decoding or cleaning changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name_raw: Option<String>,
    /// Media type that the sender declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Media type recognised from the first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type_sniffed: Option<String>,
    /// Size that the sender or provider declared, in bytes; the stored size is in `blob`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// MIME Content-ID without angle brackets, to resolve `cid:` links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
    /// The provider's URL, without secrets; may expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_url: Option<String>,
}

impl Attachment {
    pub fn new(id: impl Into<String>, fetch_state: FetchState) -> Self {
        Self {
            id: id.into(),
            fetch_state,
            reason: None,
            blob: None,
            file_name: None,
            file_name_raw: None,
            media_type: None,
            media_type_sniffed: None,
            size_bytes: None,
            disposition: None,
            content_id: None,
            provider_url: None,
        }
    }
}
