//! What Kafka's error codes mean for us, and what the operator can do about each.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::{Disposition, Error, ErrorKind};

/// An error of a call to Kafka. `what` says what was tried.
pub(crate) fn kafka_error(what: impl fmt::Display, error: &KafkaError) -> Error {
    let Some(code) = code_of(error) else {
        return Error::new(ErrorKind::Internal, format!("{what}: {error}"));
    };
    let (kind, next) = verdict(code);
    Error::new(kind, format!("{what}: {code}; {next}"))
}

/// An error of creating a client: settings that librdkafka refuses. Values are left out, they may be secret.
pub(crate) fn config_error(what: impl fmt::Display, error: &KafkaError) -> Error {
    let reason = match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka takes no such value for `{key}`"),
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    };
    Error::new(ErrorKind::Config, format!("{what}: {reason}"))
}

/// The code inside an error.
pub(crate) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The crate's own accessor forgets this one.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Whether an error of a poll may pass by itself, so that a reader goes on until its time is up.
pub(crate) fn may_pass(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{GroupAuthorizationFailed, OffsetOutOfRange};
    code_of(error).is_some_and(|code| {
        // Groups don't matter: none is joined. An offset out of range is replaced by the one that is configured.
        matches!(code, GroupAuthorizationFailed | OffsetOutOfRange)
            || verdict(code).0.disposition() == Disposition::Retry
    })
}

/// The kind of trouble that a code stands for, and the operator's next step.
///
/// What may pass by itself is worth another attempt; what a broker refuses will be refused again.
#[expect(clippy::too_many_lines, reason = "one table")]
pub(crate) fn verdict(code: RDKafkaErrorCode) -> (ErrorKind, &'static str) {
    use ErrorKind::{Collision, Config, Fenced, Internal, Refused, SinkUnavailable, Unauthorized};
    use RDKafkaErrorCode as Code;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::UnknownBroker
        | Code::BrokerDestroy
        | Code::DestroyBroker
        | Code::WaitCache
        | Code::NodeUpdate
        | Code::Interrupted
        | Code::Retry
        | Code::RebootstrapRequired => (
            SinkUnavailable,
            "check that the brokers run and that their advertised listeners can be reached from here",
        ),
        Code::Resolve => (SinkUnavailable, "check the host names in bootstrap_servers and the name service"),
        Code::SSL => (
            SinkUnavailable,
            "check the sink's tls.ca_file, the host names in bootstrap_servers and the brokers' certificates",
        ),
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::StaleBrokerEpoch
        | Code::StaleControllerEpoch
        | Code::NotController
        | Code::ListenerNotFound
        | Code::OffsetNotAvailable
        | Code::ReassignmentInProgress
        | Code::UnknownTopicId => {
            (SinkUnavailable, "a partition has no leader now: wait for the election, or start its brokers")
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => (
            SinkUnavailable,
            "fewer replicas are in sync than min.insync.replicas asks for: start the missing brokers",
        ),
        Code::KafkaStorageError | Code::LogDirNotFound | Code::ThrottlingQuotaExceeded => {
            (SinkUnavailable, "look at the brokers' disks, quotas and logs")
        }
        Code::WaitingForCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::ConcurrentTransactions
        | Code::InProgress
        | Code::PreviousInProgress => (SinkUnavailable, "the coordinator is busy or moves: wait"),
        // The brokers lost or changed what they knew of this producer. A new one, from the last acknowledged position, is right.
        Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping
        | Code::InvalidProducerEpoch
        | Code::Inconsistent
        | Code::Fatal
        | Code::PurgeQueue
        | Code::PurgeInflight => {
            (SinkUnavailable, "sending starts again behind the last acknowledged record")
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::UnacceptableCredential
        | Code::SecurityDisabled
        | Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenExpired
        | Code::DelegationTokenNotFound
        | Code::DelegationTokenAuthorizationFailed => {
            (Unauthorized, "check the sink's user, password and sasl_mechanism, or its token_file")
        }
        Code::TopicAuthorizationFailed => {
            (Refused, "grant this user WRITE and DESCRIBE on the topic, and CREATE where create_topics is on")
        }
        Code::ClusterAuthorizationFailed => (Refused, "grant this user IDEMPOTENT_WRITE on the cluster"),
        Code::GroupAuthorizationFailed => (Refused, "grant this user the right that is missing"),
        Code::TransactionalIdAuthorizationFailed => {
            (Refused, "grant this user WRITE and DESCRIBE on the transactional id mongo-observer.PREFIX.SINK")
        }
        Code::InvalidTransactionTimeout => (
            Refused,
            "set librdkafka.\"transaction.timeout.ms\" to at most the brokers' transaction.max.timeout.ms",
        ),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => (
            Refused,
            "raise the topic's max.message.bytes, or choose in [on] what happens to large documents",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => (
            Refused,
            "the topic or its partition is gone: create it, or let create_topics do it, and start again",
        ),
        Code::InvalidTopic => (
            Collision,
            "the name is not legal, or differs from another topic's only in `.` and `_`: change prefix or topic",
        ),
        Code::PolicyViolation => {
            (Refused, "the cluster's policy forbids it: ask its administrators, or create the topic by hand")
        }
        Code::InvalidRecord | Code::InvalidMessage | Code::InvalidTimestamp | Code::BadMessage => (
            Refused,
            "the broker's log has the reason: a compacted topic, for one, takes no record without a key",
        ),
        Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig => (
            Refused,
            "correct partitions and replication_factor: a cluster can't hold more replicas than it has brokers",
        ),
        Code::GaplessGuarantee => (Refused, "an earlier record was refused; nothing behind it was stored"),
        Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::BadCompression
        | Code::InvalidRequiredAcks
        | Code::InvalidRequest => {
            (Refused, "the brokers are too old for it: they have to be Kafka 2.4 or newer")
        }
        Code::Fenced | Code::ProducerFenced | Code::TransactionCoordinatorFenced | Code::FencedInstanceId => {
            (Fenced, "another instance works under this name")
        }
        Code::InvalidArgument | Code::NotConfigured | Code::FileSystem | Code::CriticalSystemResource => {
            (Config, "correct the settings under librdkafka")
        }
        // The budget bounds what is under way; the queue is configured above it.
        Code::QueueFull => (Internal, "the producer's queue is smaller than the pipeline's budget"),
        // Not known to come here. Trying again loses nothing.
        _ => (SinkUnavailable, "look at the brokers' logs"),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

    use super::{kafka_error, verdict};
    use crate::error::{Disposition, ErrorKind};

    #[test]
    fn what_may_pass_is_tried_again_and_a_refusal_halts() {
        let passing = [
            Code::BrokerTransportFailure,
            Code::NotLeaderForPartition,
            Code::NotEnoughReplicas,
            Code::UnknownProducerId,
        ];
        for code in passing {
            assert_eq!(verdict(code).0.disposition(), Disposition::Retry, "{code}");
        }
        let final_ones = [
            (Code::MessageSizeTooLarge, ErrorKind::Refused),
            (Code::TopicAuthorizationFailed, ErrorKind::Refused),
            (Code::PolicyViolation, ErrorKind::Refused),
            (Code::SaslAuthenticationFailed, ErrorKind::Unauthorized),
            (Code::Fenced, ErrorKind::Fenced),
            (Code::QueueFull, ErrorKind::Internal),
        ];
        for (code, kind) in final_ones {
            assert_eq!(verdict(code).0, kind, "{code}");
            assert_eq!(kind.disposition(), Disposition::Halt, "{code}");
        }
    }

    #[test]
    fn the_code_of_an_admin_operation_is_not_lost() {
        let error = kafka_error("can't create a topic", &KafkaError::AdminOp(Code::PolicyViolation));
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("can't create a topic: PolicyViolation"), "{error}");
    }
}
