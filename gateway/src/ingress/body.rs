//! Reading a body within its limits: compressed, decompressed, and in time.

use std::future::poll_fn;
use std::io::Read;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::intake::shares::{Pool, Taken};

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

/// Of each body so much is not counted: the number of requests at once bounds that.
const UNHELD_BYTES: usize = 16 << 10;

/// Bytes that one request's body holds of the room for all; given back when dropped.
pub struct Held<'p> {
    taken: Taken<'p>,
    party: &'p str,
}

impl<'p> Held<'p> {
    /// Nothing yet.
    pub fn of(room: &'p Pool, party: &'p str) -> Self {
        Self { taken: room.hold(), party }
    }

    fn add(&mut self, bytes: usize) -> Result<(), BodyFault> {
        if self.taken.add(self.party, bytes) { Ok(()) } else { Err(BodyFault::NoRoom) }
    }
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
    held: &mut Held<'_>,
) -> Result<Bytes, BodyFault> {
    let raw = {
        let mut collecting = pin!(collect(body, limits.sent_bytes, held));
        // Most bodies come along with their heads, and hyper hands them on in its next step: no clock is needed.
        let mut came = futures::poll!(collecting.as_mut());
        if came.is_pending() {
            next_step().await;
            came = futures::poll!(collecting.as_mut());
        }
        match came {
            Poll::Ready(collected) => collected?,
            Poll::Pending => timeout(limits.time, collecting).await.map_err(|_| BodyFault::Slow)??,
        }
    };
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(raw),
        "gzip" | "x-gzip" => inflate(flate2::read::MultiGzDecoder::new(&raw[..]), limits.decompressed_bytes, held),
        "deflate" => inflate(flate2::read::ZlibDecoder::new(&raw[..]), limits.decompressed_bytes, held),
        _ => Err(BodyFault::Encoding),
    }
}

/// Lets the task begin once more; unlike a yield, before all others.
async fn next_step() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn collect(mut body: axum::body::Body, limit_bytes: usize, held: &mut Held<'_>) -> Result<Bytes, BodyFault> {
    let hint = http_body::Body::size_hint(&body);
    if hint.lower() > limit_bytes as u64 {
        return Err(BodyFault::TooLarge { limit_bytes });
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        let before = first.as_ref().map_or(0, Bytes::len) + rest.len();
        let whole = before + data.len();
        if whole > limit_bytes {
            return Err(BodyFault::TooLarge { limit_bytes });
        }
        if whole > UNHELD_BYTES {
            held.add(whole - before.max(UNHELD_BYTES))?;
        }
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

fn inflate(reader: impl Read, limit_bytes: usize, held: &mut Held<'_>) -> Result<Bytes, BodyFault> {
    let mut out = Vec::new();
    reader.take(limit_bytes as u64 + 1).read_to_end(&mut out).map_err(|_| BodyFault::Broken)?;
    if out.len() > limit_bytes {
        return Err(BodyFault::TooLarge { limit_bytes });
    }
    held.add(out.len())?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIMITS: BodyLimits =
        BodyLimits { sent_bytes: 100_000, decompressed_bytes: 500_000, time: Duration::from_secs(5) };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[tokio::test]
    async fn caps_hold_compressed_and_not() {
        let (buffers, party) = (Pool::among(1_000_000, 1), "");
        let read = |body: Vec<u8>, encoding| {
            let mut held = Held::of(&buffers, party);
            async move { read(body.into(), encoding, LIMITS, &mut held).await }
        };
        assert_eq!(read(vec![1; 100_000], None).await.unwrap().len(), 100_000);
        assert_eq!(read(vec![1; 100_001], None).await, Err(BodyFault::TooLarge { limit_bytes: 100_000 }));
        assert_eq!(read(gzip(&[7; 500_000]), Some(" GZip")).await.unwrap().len(), 500_000);
        assert_eq!(read(gzip(&[7; 500_001]), Some("gzip")).await, Err(BodyFault::TooLarge { limit_bytes: 500_000 }));
        assert_eq!(read(b"nope".to_vec(), Some("gzip")).await, Err(BodyFault::Broken));
        assert_eq!(read(b"x".to_vec(), Some("br")).await, Err(BodyFault::Encoding));
        assert!(buffers.take(party, 1_000_000).is_some(), "all of it was given back");
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let (buffers, party) = (Pool::among(200_000, 1), "");
        let first = buffers.take(party, 100_000).unwrap();
        let mut second = Held::of(&buffers, party);
        let body = |bytes| axum::body::Body::from(vec![1; bytes]);
        assert_eq!(read(body(100_000), None, LIMITS, &mut second).await.unwrap().len(), 100_000);
        let mut third = Held::of(&buffers, party);
        assert_eq!(read(body(100_000), None, LIMITS, &mut third).await, Err(BodyFault::NoRoom));
        let mut small = Held::of(&buffers, party);
        assert_eq!(
            read(body(UNHELD_BYTES), None, LIMITS, &mut small).await.unwrap().len(),
            UNHELD_BYTES,
            "is not counted"
        );
        drop(first);
        let mut fourth = Held::of(&buffers, party);
        assert_eq!(read(body(100_000), None, LIMITS, &mut fourth).await.unwrap().len(), 100_000);
    }
}
