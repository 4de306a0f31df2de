//! The blob store: a local directory or S3, addressed by content.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use connector_sdk::Blob;
use connector_sdk::schemas::BlobRef;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as BlobPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::config::model::Blobs as BlobsConfig;

/// Blobs of one input that are stored at the same time.
const PUTS_AT_ONCE: usize = 4;
/// Below this a look whether a remote store has a blob costs as much as sending it again.
const REMOTE_LOOK_MIN_BYTES: usize = 256 << 10;
/// How long a store may take before what it is given is kept elsewhere, where that is wished.
const PATIENCE: Duration = Duration::from_secs(1);
/// A store that did not take something is not asked again for so long, so that not every input waits for it.
const AWAY: Duration = Duration::from_secs(5);

/// Where unfinished downloads lie.
pub const INCOMING: &str = "incoming";
/// An unfinished download that nobody wrote to for so long was left behind by a process that died.
const INCOMING_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The store does not take or give a blob now; the input is not safe.
#[derive(Clone, Debug, thiserror::Error)]
#[error("blob store: {0}")]
pub struct BlobFault(pub String);

/// Where bytes are kept. Cheap to clone.
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<Shared>,
    /// Takes what the store does not.
    kept: Option<Kept>,
}

/// In one piece: it is cloned for every input, by all processors.
struct Shared {
    store: Arc<dyn ObjectStore>,
    base: String,
    /// Local files are synced to disk before a put counts as stored.
    local: Option<PathBuf>,
    /// Unix milliseconds until which the store counts as away.
    away_until: AtomicI64,
}

/// Blobs that a store did not take.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<Blob>>>);

impl Kept {
    pub fn take(&self) -> Vec<Blob> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, blob: Blob) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(blob);
    }
}

impl BlobStore {
    /// Opens the configured store; checks what can be checked without writing.
    pub fn open(config: &BlobsConfig, data_dir: &Path) -> Result<Self, String> {
        match config.url.as_deref() {
            None => Self::open_local(&data_dir.join("blobs")),
            Some(url) => match url.split_once("://") {
                Some(("file", path)) => Self::open_local(Path::new(path)),
                Some(("s3", rest)) => Self::open_s3(url, rest, config),
                _ => Err(format!("blobs.url '{url}': write file:///path or s3://bucket/prefix")),
            },
        }
    }

    fn open_local(dir: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|e| format!("blob directory {}: {e}", dir.display()))?;
        let dir = dir.canonicalize().map_err(|e| format!("blob directory {}: {e}", dir.display()))?;
        let store = LocalFileSystem::new_with_prefix(&dir).map_err(|e| e.to_string())?;
        Ok(Self::new(Arc::new(store), format!("file://{}", dir.display()), Some(dir)))
    }

    fn open_s3(url: &str, rest: &str, config: &BlobsConfig) -> Result<Self, String> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket);
        for (key, value) in &config.options {
            let key = key.parse().map_err(|_| format!("blobs.options.{key} is not a setting of the S3 client"))?;
            builder = builder.with_config(key, value.expose());
        }
        let store = builder.build().map_err(|e| format!("blobs.url {url}: {e}"))?;
        let store: Arc<dyn ObjectStore> = match prefix.trim_matches('/') {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        Ok(Self::new(store, url.trim_end_matches('/').to_owned(), None))
    }

    fn new(store: Arc<dyn ObjectStore>, base: String, local: Option<PathBuf>) -> Self {
        let shared = Shared { store, base, local, away_until: AtomicI64::new(0) };
        Self { shared: Arc::new(shared), kept: None }
    }

    /// The same store, except that what it does not take in time is kept in memory and counts as stored: for whoever
    /// makes it safe some other way.
    pub fn keeping(&self) -> (Self, Kept) {
        let kept = Kept::default();
        (Self { kept: Some(kept.clone()), ..self.clone() }, kept)
    }

    /// URL under which [`BlobRef::path`] is found.
    pub fn base(&self) -> &str {
        &self.shared.base
    }

    /// Whether other machines can reach the store at this URL (`blobs.url`).
    pub fn is_url_shared(url: Option<&str>) -> bool {
        url.is_some_and(|url| !url.starts_with("file://"))
    }

    /// Whether other machines can read it.
    pub fn is_shared(&self) -> bool {
        self.shared.local.is_none()
    }

    /// Stores bytes; `Ok` = safe. What is there already is not written again.
    pub async fn put(&self, reference: &BlobRef, bytes: Bytes) -> Result<(), BlobFault> {
        let Some(kept) = &self.kept else { return self.store_now(reference, bytes).await };
        let now = || crate::clock::now().unix_millis();
        if self.shared.away_until.load(Ordering::Relaxed) <= now() {
            let why = match tokio::time::timeout(PATIENCE, self.store_now(reference, bytes.clone())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(fault)) => fault.to_string(),
                Err(_) => format!("no answer within {PATIENCE:?}"),
            };
            tracing::warn!(reason = %why, "the blob store does not take blobs; for now they go into the spool");
            self.shared.away_until.store(now() + AWAY.as_millis() as i64, Ordering::Relaxed);
        }
        kept.put(Blob { reference: reference.clone(), bytes });
        Ok(())
    }

    async fn store_now(&self, reference: &BlobRef, bytes: Bytes) -> Result<(), BlobFault> {
        let path = BlobPath::from(reference.path.as_str());
        if !self.has(&path, bytes.len()).await {
            self.shared
                .store
                .put(&path, PutPayload::from_bytes(bytes))
                .await
                .map_err(|error| BlobFault(error.to_string()))?;
        }
        // Also where it is there already: whoever wrote it may not have come to this yet.
        self.sync(&reference.path).await
    }

    /// Stores several blobs, a few at a time: the wait for the disk (or the store) is most of the cost.
    pub async fn put_all(&self, blobs: Vec<Blob>) -> Result<(), BlobFault> {
        let puts = blobs.into_iter().map(|Blob { reference, bytes }| async move { self.put(&reference, bytes).await });
        futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).try_collect().await
    }

    /// Whether the content is there, whole: its address names the bytes, and a file that a crash cut short has another
    /// size. A wrong `false` costs a write and nothing else.
    async fn has(&self, path: &BlobPath, size_bytes: usize) -> bool {
        if self.shared.local.is_none() && size_bytes < REMOTE_LOOK_MIN_BYTES {
            return false;
        }
        self.shared.store.head(path).await.is_ok_and(|meta| meta.size == size_bytes as u64)
    }

    /// Moves a finished temporary object to its content address.
    pub async fn adopt(&self, temporary: &str, reference: &BlobRef) -> Result<(), BlobFault> {
        let (from, to) = (BlobPath::from(temporary), BlobPath::from(reference.path.as_str()));
        self.shared.store.rename(&from, &to).await.map_err(|error| BlobFault(error.to_string()))?;
        self.sync(&reference.path).await
    }

    /// The bytes of a blob.
    pub async fn get(&self, reference: &BlobRef) -> Result<Bytes, BlobFault> {
        let path = BlobPath::from(reference.path.as_str());
        let found = self.shared.store.get(&path).await.map_err(|error| BlobFault(error.to_string()))?;
        found.bytes().await.map_err(|error| BlobFault(error.to_string()))
    }

    /// Removes what processes that died left of their downloads, from a local store; buckets have rules for that
    /// (unfinished multipart uploads). Returns how many.
    pub fn sweep(&self) -> usize {
        let Some(root) = &self.shared.local else { return 0 };
        let Ok(entries) = std::fs::read_dir(root.join(INCOMING)) else { return 0 };
        let is_old = |entry: &std::fs::DirEntry| {
            let written = entry.metadata().and_then(|meta| meta.modified()).ok();
            written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > INCOMING_LIFE)
        };
        entries.flatten().filter(is_old).filter(|entry| std::fs::remove_file(entry.path()).is_ok()).count()
    }

    /// Takes a blob away for good; one that is gone already is no error.
    pub async fn remove(&self, path: &str) -> Result<(), BlobFault> {
        match self.shared.store.delete(&BlobPath::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobFault(error.to_string())),
        }
    }

    /// The store itself, for streamed uploads.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.store
    }

    /// The store renames a finished file into place but leaves it to the kernel when it reaches the disk; a reference on
    /// Kafka must not outlive its bytes in a power cut. Nor must the directories above, which may be new.
    async fn sync(&self, path: &str) -> Result<(), BlobFault> {
        let Some(root) = self.shared.local.clone() else { return Ok(()) };
        let file = root.join(path);
        let synced = tokio::task::spawn_blocking(move || {
            file.ancestors().take_while(|step| step.starts_with(&root)).try_for_each(|step| {
                let opened = std::fs::File::open(step)?;
                opened.sync_all()
            })
        });
        match synced.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BlobFault(error.to_string())),
            Err(error) => Err(BlobFault(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::parse::blob_ref;

    #[tokio::test]
    async fn stores_and_gives_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&BlobsConfig::default(), dir.path()).unwrap();
        let bytes = Bytes::from_static(b"hello");
        let reference = blob_ref(&bytes);
        store.put(&reference, bytes.clone()).await.unwrap();
        store.put(&reference, bytes.clone()).await.unwrap();
        assert_eq!(store.get(&reference).await.unwrap(), bytes);
        let on_disk = std::fs::read(dir.path().join("blobs").join(&reference.path)).unwrap();
        assert_eq!(on_disk, b"hello");
    }

    #[tokio::test]
    async fn what_is_there_is_not_written_again_unless_it_is_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&BlobsConfig::default(), dir.path()).unwrap();
        let bytes = Bytes::from_static(b"hello");
        let reference = blob_ref(&bytes);
        store.put(&reference, bytes.clone()).await.unwrap();
        let file = dir.path().join("blobs").join(&reference.path);
        let written = |file: &Path| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(file).unwrap().ino()
        };
        let first = written(&file);
        store.put(&reference, bytes.clone()).await.unwrap();
        assert_eq!(written(&file), first);
        std::fs::write(&file, b"he").unwrap();
        store.put(&reference, bytes.clone()).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"hello");
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_kept_where_that_is_wished() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&BlobsConfig::default(), dir.path()).unwrap();
        let bytes = Bytes::from_static(b"hello");
        let reference = blob_ref(&bytes);
        let (keeping, kept) = store.keeping();
        keeping.put(&reference, bytes.clone()).await.unwrap();
        assert!(kept.take().is_empty(), "the store takes it");
        std::fs::remove_dir_all(dir.path().join("blobs")).unwrap();
        std::fs::write(dir.path().join("blobs"), b"").unwrap();
        assert!(store.put(&reference, bytes.clone()).await.is_err());
        keeping.put(&reference, bytes.clone()).await.unwrap();
        keeping.put(&reference, bytes.clone()).await.unwrap();
        let blobs = kept.take();
        assert_eq!(blobs.len(), 2);
        assert_eq!((&blobs[0].reference, &blobs[0].bytes), (&reference, &bytes));
    }

    #[tokio::test]
    async fn many_are_stored_and_one_that_cannot_be_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&BlobsConfig::default(), dir.path()).unwrap();
        let blob = |n: usize| {
            let bytes = Bytes::from(n.to_string());
            Blob { reference: blob_ref(&bytes), bytes }
        };
        store.put_all((0..20).map(blob).collect()).await.unwrap();
        for n in 0..20 {
            assert_eq!(store.get(&blob(n).reference).await.unwrap(), n.to_string());
        }
        // A file stands where the directory would have to be.
        let bad = blob(20);
        let place = dir.path().join("blobs").join(&bad.reference.path);
        std::fs::remove_dir_all(place.parent().unwrap()).ok();
        std::fs::write(place.parent().unwrap(), b"").unwrap();
        assert!(store.put_all(vec![blob(21), bad, blob(22)]).await.is_err());
    }
}
