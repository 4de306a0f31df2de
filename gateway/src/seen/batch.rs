//! What replicas tell each other on `inlet.seen`: ids in the value, sixteen bytes each; the rest in headers.

use bytes::Bytes;

use super::id::{ID_BYTES, SeenId};
use crate::pipeline::record::{Record, TopicRole};

/// Ids of one record: 64 KiB.
pub const BATCH_IDS_MAX: usize = 4096;

const WATERMARK: &str = "inlet-watermark";
const END: &str = "inlet-end";

/// Why nothing more is to be expected from a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended in order and told everything before.
    Goodbye,
    /// It was silent; another replica read from `inlet.events` what it had not told, and told it.
    Repaired,
}

/// One record on `inlet.seen`. Without ids it says that its replica is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which process: made anew at each start.
    pub replica: String,
    /// Milliseconds since 1970: every id whose event was sent before this moment by this replica, and confirmed, is in
    /// this batch or an earlier one.
    pub watermark_millis: i64,
    pub end: Option<End>,
    pub ids: Vec<SeenId>,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Repaired => "repaired",
        }
    }
}

impl Batch {
    pub fn to_record(&self) -> Record {
        let mut headers = vec![(WATERMARK, self.watermark_millis.to_string())];
        headers.extend(self.end.map(|end| (END, end.as_str().to_owned())));
        let value: Vec<u8> = self.ids.iter().flat_map(|id| id.0).collect();
        Record { topic: TopicRole::Seen, key: self.replica.clone(), value: Bytes::from(value), headers }
    }

    /// `None` for what is no record of this kind.
    pub fn read<'h>(key: &[u8], headers: impl Iterator<Item = (&'h str, &'h [u8])>, value: &[u8]) -> Option<Self> {
        let replica = std::str::from_utf8(key).ok().filter(|key| !key.is_empty())?.to_owned();
        let (mut watermark, mut end) = (None, None);
        for (name, text) in headers {
            match (name, std::str::from_utf8(text).ok()?) {
                (WATERMARK, text) => watermark = text.parse().ok(),
                (END, text) => end = [End::Goodbye, End::Repaired].into_iter().find(|end| end.as_str() == text),
                _ => {}
            }
        }
        let (ids, rest) = value.as_chunks::<ID_BYTES>();
        let whole = rest.is_empty();
        whole.then_some(Self {
            replica,
            watermark_millis: watermark?,
            end,
            ids: ids.iter().map(|bytes| SeenId(*bytes)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &Record) -> Option<Batch> {
        let headers = record.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        Batch::read(record.key.as_bytes(), headers, &record.value)
    }

    #[test]
    fn batches_are_read_as_they_were_written() {
        for end in [None, Some(End::Goodbye), Some(End::Repaired)] {
            for ids in [vec![], vec![SeenId([7; 16]), SeenId([9; 16])]] {
                let batch = Batch { replica: "r".to_owned(), watermark_millis: 1_700_000_000_123, end, ids };
                assert_eq!(read(&batch.to_record()), Some(batch));
            }
        }
    }

    #[test]
    fn what_is_no_batch_is_passed_over() {
        let batch = Batch { replica: "r".to_owned(), watermark_millis: 1, end: None, ids: vec![SeenId([7; 16])] };
        let good = batch.to_record();
        assert_eq!(read(&Record { value: good.value.slice(..7), ..good.clone() }), None);
        assert_eq!(read(&Record { headers: Vec::new(), ..good.clone() }), None);
        assert_eq!(read(&Record { key: String::new(), ..good }), None);
    }
}
