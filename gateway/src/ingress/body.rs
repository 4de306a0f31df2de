//! Reading a body within its limits: compressed, decompressed, and in time.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::intake::shares::Taken;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    TooLarge {
        limit_bytes: usize,
    },
    /// Not all of it came in time.
    Slow,
    /// The connection broke, or the chunking or compression is damaged.
    Broken,
    /// A Content-Encoding that is not spoken here.
    Encoding,
    /// Too much is being read already.
    NoRoom,
}

/// Bytes that one request's body holds of the room for all; given back when dropped.
pub type Held = Taken<Arc<str>>;

fn hold(held: &mut Held, bytes: usize) -> Result<(), BodyFault> {
    if held.add(bytes) { Ok(()) } else { Err(BodyFault::NoRoom) }
}

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub sent_bytes: usize,
    pub decompressed_bytes: usize,
    pub time: Duration,
}

/// The whole body, decompressed.
pub async fn read(
    body: axum::body::Body,
    encoding: Option<&str>,
    limits: BodyLimits,
    held: &mut Held,
) -> Result<Bytes, BodyFault> {
    let collected = tokio::time::timeout(limits.time, collect(body, limits.sent_bytes, held)).await;
    let raw = collected.map_err(|_| BodyFault::Slow)??;
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(raw),
        "gzip" | "x-gzip" => inflate(flate2::read::MultiGzDecoder::new(&raw[..]), limits.decompressed_bytes, held),
        "deflate" => inflate(flate2::read::ZlibDecoder::new(&raw[..]), limits.decompressed_bytes, held),
        _ => Err(BodyFault::Encoding),
    }
}

async fn collect(mut body: axum::body::Body, limit_bytes: usize, held: &mut Held) -> Result<Bytes, BodyFault> {
    let hint = http_body::Body::size_hint(&body);
    if hint.lower() > limit_bytes as u64 {
        return Err(BodyFault::TooLarge { limit_bytes });
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len() > limit_bytes {
            return Err(BodyFault::TooLarge { limit_bytes });
        }
        hold(held, data.len())?;
        // Most webhooks come in one frame, which then needs no copy.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn inflate(reader: impl Read, limit_bytes: usize, held: &mut Held) -> Result<Bytes, BodyFault> {
    let mut out = Vec::new();
    reader.take(limit_bytes as u64 + 1).read_to_end(&mut out).map_err(|_| BodyFault::Broken)?;
    if out.len() > limit_bytes {
        return Err(BodyFault::TooLarge { limit_bytes });
    }
    hold(held, out.len())?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::shares::Pool;
    use std::io::Write;

    const LIMITS: BodyLimits = BodyLimits { sent_bytes: 1000, decompressed_bytes: 5000, time: Duration::from_secs(5) };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[tokio::test]
    async fn caps_hold_compressed_and_not() {
        let buffers = Pool::among(10_000, 1);
        let read = |body: Vec<u8>, encoding| {
            let mut held = buffers.hold(&"".into());
            async move { read(body.into(), encoding, LIMITS, &mut held).await }
        };
        assert_eq!(read(vec![1; 1000], None).await.unwrap().len(), 1000);
        assert_eq!(read(vec![1; 1001], None).await, Err(BodyFault::TooLarge { limit_bytes: 1000 }));
        assert_eq!(read(gzip(&[7; 5000]), Some(" GZip")).await.unwrap().len(), 5000);
        assert_eq!(read(gzip(&[7; 5001]), Some("gzip")).await, Err(BodyFault::TooLarge { limit_bytes: 5000 }));
        assert_eq!(read(b"nope".to_vec(), Some("gzip")).await, Err(BodyFault::Broken));
        assert_eq!(read(b"x".to_vec(), Some("br")).await, Err(BodyFault::Encoding));
        assert!(buffers.take(&"".into(), 10_000).is_some(), "all of it was given back");
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let (buffers, party) = (Pool::among(10_000, 1), Arc::from(""));
        let first = buffers.take(&party, 9000).unwrap();
        let mut second = buffers.hold(&party);
        let body = || axum::body::Body::from(vec![1; 1000]);
        assert_eq!(read(body(), None, LIMITS, &mut second).await.unwrap().len(), 1000);
        assert_eq!(read(body(), None, LIMITS, &mut buffers.hold(&party)).await, Err(BodyFault::NoRoom));
        drop(first);
        assert_eq!(read(body(), None, LIMITS, &mut buffers.hold(&party)).await.unwrap().len(), 1000);
    }
}
