//! What the spool asks of the way to Kafka: sends that outlive their caller.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::delivery::PublishError;
use crate::delivery::push::Sending;
use crate::pipeline::record::Record;

/// Records on their way; clones are the same records.
pub type Sent = Arc<Sending>;

/// Kafka's producer, as the spool uses it: it never gives records up by itself, it keeps their order, and it says whether
/// trying is worth the wait.
#[async_trait]
pub trait Lane: Send + Sync {
    /// Puts the records of some inputs into the queue, in order, without waiting. Fails before any is sent when one of
    /// them can never be; its index counts all.
    fn send(&self, inputs: &[&[Record]]) -> Result<Vec<Sent>, PublishError>;

    /// One record at a time: which of them is refused shows only so.
    async fn send_alone(&self, records: &[Record]) -> Result<(), PublishError>;

    /// Neither known to be away nor stalled.
    fn is_usable(&self) -> bool;

    /// Something waited in vain: not usable until something is confirmed.
    fn stalled(&self);

    /// Tells all who wait when the lane is found to be away.
    fn went_away(&self) -> &Notify;
}
