//! What everything that talks to Kafka shares: clients that log through `tracing`, what Kafka's error codes mean here, topics.
//!
//! It stands below the adapters, which never import each other.

mod client;
mod errors;
mod token;
mod topics;
pub(crate) mod transactions;

pub(crate) use client::{Background, Cluster, Context, Poller, blocking};
pub(crate) use errors::{code_of, config_error, kafka_error, may_pass, verdict};
pub(crate) use topics::{Description, NewTopicSpec, Topics, partition_count};

use std::time::Duration;

/// How long brokers may take to answer. Longer than an election of a new leader usually takes, short enough that `check`
/// and a first start say soon what is wrong.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
