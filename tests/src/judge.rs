//! What must hold of the records on Kafka: nothing lost, nothing invented, nothing twice, nothing out of order.

use crate::consume::Record;
use crate::corpus::Identity;
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many examples a verdict shows.
const EXAMPLES: usize = 10;

/// The corpus mail that an event is about.
pub fn identity(record: &Record) -> Option<Identity> {
    record.text("/provenance/message_ids/0").as_deref().and_then(Identity::of_message_id)
}

/// Exactly these mails, each once, each with an id of its own, and rising within each thread as a consumer of the
/// thread's partition sees them.
pub fn exactly_once(records: &[Record], expected: impl IntoIterator<Item = Identity>) -> Result<()> {
    let expected: BTreeSet<Identity> = expected.into_iter().collect();
    let mut seen: BTreeMap<Identity, usize> = BTreeMap::new();
    let mut strange = Vec::new();
    for record in records {
        match identity(record).filter(|identity| expected.contains(identity)) {
            Some(identity) => *seen.entry(identity).or_default() += 1,
            None => strange.push(String::from_utf8_lossy(&record.value).chars().take(300).collect::<String>()),
        }
    }
    let missing: Vec<_> = expected.iter().filter(|identity| !seen.contains_key(identity)).collect();
    let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).map(|(identity, _)| identity).collect();
    if !(missing.is_empty() && doubled.is_empty() && strange.is_empty()) {
        bail!(
            "of {} mails {} are missing {:?}, {} came more than once {:?}, and {} records are strange {:?}",
            expected.len(),
            missing.len(),
            &missing[..missing.len().min(EXAMPLES)],
            doubled.len(),
            &doubled[..doubled.len().min(EXAMPLES)],
            strange.len(),
            &strange[..strange.len().min(EXAMPLES)],
        );
    }
    distinct_ids(records)?;
    rising(records)
}

/// As many ids as records, and the header says the same as the value.
pub fn distinct_ids(records: &[Record]) -> Result<()> {
    let mut ids = BTreeSet::new();
    for record in records {
        let Some(id) = record.header("ce_id") else { bail!("a record without ce_id") };
        ensure!(record.text("/id").as_deref() == Some(id), "ce_id {id} is not the event's id");
        ensure!(ids.insert(id.to_owned()), "the id {id} came twice");
    }
    Ok(())
}

/// Each thread lies in one partition, and its sequence rises there.
pub fn rising(records: &[Record]) -> Result<()> {
    let mut ordered: Vec<_> = records.iter().collect();
    ordered.sort_by_key(|record| (record.partition, record.offset));
    let mut last: HashMap<usize, (i32, usize)> = HashMap::new();
    for record in ordered {
        let Some(Identity { thread, sequence, .. }) = identity(record) else { continue };
        if let Some((partition, previous)) = last.insert(thread, (record.partition, sequence)) {
            ensure!(partition == record.partition, "thread {thread} is spread over partitions");
            ensure!(previous < sequence, "thread {thread}: {sequence} came after {previous}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, identity: Identity, id: &str) -> Record {
        let value = serde_json::json!({"id": id, "provenance": {"message_ids": [identity.message_id()]}});
        let headers = [("ce_id".to_owned(), id.to_owned())].into();
        Record { partition: 0, offset, key: None, headers, value: value.to_string().into_bytes() }
    }

    #[test]
    fn each_fault_is_seen() {
        let mail = |id: usize| Identity { id, thread: 0, sequence: id };
        let good = [record(0, mail(0), "a"), record(1, mail(1), "b")];
        assert!(exactly_once(&good, [mail(0), mail(1)]).is_ok());
        assert!(exactly_once(&good, [mail(0), mail(1), mail(2)]).is_err(), "missing");
        assert!(exactly_once(&good, [mail(0)]).is_err(), "invented");
        let doubled = [record(0, mail(0), "a"), record(1, mail(0), "b")];
        assert!(exactly_once(&doubled, [mail(0)]).is_err(), "doubled");
        let same_id = [record(0, mail(0), "a"), record(1, mail(1), "a")];
        assert!(exactly_once(&same_id, [mail(0), mail(1)]).is_err(), "one id for two");
        let falling = [record(0, mail(1), "a"), record(1, mail(0), "b")];
        assert!(exactly_once(&falling, [mail(0), mail(1)]).is_err(), "out of order");
    }
}
