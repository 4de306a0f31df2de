//! What a client error says about a record: try again, or never.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What to do with a record that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same record may be sent again later.
    Later,
    /// Kafka will never take this record.
    Never,
}

/// Only what is wrong with the record itself is final. Missing topics, missing rights and full brokers are repaired by
/// people, and then the same record is taken.
pub(super) fn verdict(code: RDKafkaErrorCode) -> Verdict {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidRecord
        | RDKafkaErrorCode::InvalidTimestamp => Verdict::Never,
        _ => Verdict::Later,
    }
}

/// The code of a failed delivery or send.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}

/// The error as an operator reads it, with what to do where that is known.
pub(super) fn explain(error: &KafkaError, topic: &str) -> String {
    match code(error) {
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => {
            format!("topic {topic} does not exist; `inlet topics print` says how to create it")
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            format!("no right to write to topic {topic}; `inlet topics print` lists the ACLs")
        }
        Some(
            code @ (RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed),
        ) => format!("{code}; `inlet topics print` lists the ACLs"),
        Some(RDKafkaErrorCode::MessageTimedOut) => "not confirmed in time".to_owned(),
        Some(RDKafkaErrorCode::QueueFull) => "too much is waiting for Kafka already".to_owned(),
        Some(RDKafkaErrorCode::NotEnoughReplicas | RDKafkaErrorCode::NotEnoughReplicasAfterAppend) => {
            format!("topic {topic} has fewer in-sync replicas than min.insync.replicas")
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => format!("larger than topic {topic} takes (max.message.bytes)"),
        Some(code) => format!("{code}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_the_record_are_final() {
        assert_eq!(verdict(RDKafkaErrorCode::MessageSizeTooLarge), Verdict::Never);
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::QueueFull,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::UnknownTopic,
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::Fatal,
        ] {
            assert_eq!(verdict(code), Verdict::Later, "{code}");
        }
    }
}
