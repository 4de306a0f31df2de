//! Downloads into the blob store, streamed under a cap.

use connector_sdk::fetch::{Download, Downloaded};
use connector_sdk::parse::blob_path;
use connector_sdk::schemas::BlobRef;
use connector_sdk::{HttpFault, HttpRequest, async_trait};
use futures::StreamExt;
use object_store::path::Path as BlobPath;
use object_store::{ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};

use super::http::{Client, fault};
use crate::pipeline::blobs::{BlobStore, INCOMING};

/// Enough to recognise any media type.
const SNIFF_BYTES: usize = 8192;
/// Part size of a streamed upload: S3's minimum, and what a local disk likes.
const PART_BYTES: usize = 5 << 20;
const LOCAL_PART_BYTES: usize = 1 << 20;
/// Parts on their way to the store at once, beside the one that is being filled; what comes faster waits.
const PARTS_AT_ONCE: usize = 1;

/// Downloads for fetch orders.
#[derive(Clone)]
pub struct Downloader {
    pub client: Client,
    pub blobs: BlobStore,
    /// Cap of a file over that of the connector.
    pub max_bytes: usize,
}

#[async_trait]
impl Download for Downloader {
    async fn download(&self, request: HttpRequest) -> Result<Downloaded, HttpFault> {
        let (limit_bytes, seconds) = (request.max_bytes.min(self.max_bytes), request.timeout.as_secs());
        let (response, host) = self.client.open(request).await?;
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let mut done = Downloaded {
            status: response.status().as_u16(),
            media_type: header("content-type")
                .map(|value| value.split(';').next().unwrap_or(&value).trim().to_ascii_lowercase()),
            sniffed: None,
            retry_after: header("retry-after").and_then(|v| v.parse().ok()).map(std::time::Duration::from_secs),
            blob: None,
        };
        if !response.status().is_success() {
            return Ok(done);
        }
        if response.content_length().is_some_and(|length| length > limit_bytes as u64) {
            return Err(HttpFault::TooLarge { host, limit_bytes });
        }
        let store_fault = |reason: String| HttpFault::Transport { host: "blob store".into(), reason };
        let temporary = BlobPath::from(format!("{INCOMING}/{}", uuid::Uuid::new_v4()));
        let upload = self.blobs.store().put_multipart(&temporary).await.map_err(|e| store_fault(e.to_string()))?;
        let mut upload = WriteMultipart::new_with_chunk_size(
            upload,
            if self.blobs.is_shared() { PART_BYTES } else { LOCAL_PART_BYTES },
        );
        let (mut hash, mut size, mut head) = (Sha256::new(), 0usize, Vec::new());
        let mut stream = response.bytes_stream();
        let outcome = loop {
            match stream.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(fault(host.clone(), &error, seconds)),
                Some(Ok(chunk)) => {
                    size += chunk.len();
                    if size > limit_bytes {
                        break Err(HttpFault::TooLarge { host: host.clone(), limit_bytes });
                    }
                    hash.update(&chunk);
                    let missing = SNIFF_BYTES.saturating_sub(head.len()).min(chunk.len());
                    head.extend_from_slice(&chunk[..missing]);
                    if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                        break Err(store_fault(error.to_string()));
                    }
                    upload.put(chunk);
                }
            }
        };
        if let Err(error) = outcome {
            // What cannot be aborted is an orphan under incoming/, harmless.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.finish().await.map_err(|e| store_fault(e.to_string()))?;
        let sha256 = hex::encode(hash.finalize());
        let blob = BlobRef { path: blob_path(&sha256), sha256, size_bytes: size as u64 };
        self.blobs.adopt(temporary.as_ref(), &blob).await.map_err(|e| store_fault(e.to_string()))?;
        done.sniffed = infer::get(&head).map(|kind| kind.mime_type().to_owned());
        done.blob = Some(blob);
        Ok(done)
    }
}
