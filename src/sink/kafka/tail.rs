//! The last record of this connector that a cluster holds. Looked for only where the checkpoint is missing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::{Metadata, MetadataPartition};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::error::{Error, ErrorKind};
use crate::format::Header;
use crate::kafka::{ANSWER_TIMEOUT, Cluster, Context, kafka_error, may_pass};
use crate::pipeline::{Checkpoint, SinkTail};

/// How far to look back from a partition's end. What is there is nearly always a record of ours, but may be somebody else's, the end of
/// a transaction, or nothing that compaction has left.
const STEPS_BACK: [i64; 2] = [1, 1000];

/// The end of a partition is told when a fetch comes back empty: the broker need not wait for more.
const READ_WAIT: Duration = Duration::from_millis(10);

/// A topic and the numbers of its partitions.
pub(super) type Topic = (String, Vec<i32>);

/// The topics that `ours` picks by name.
pub(super) fn topics(metadata: &Metadata, ours: impl Fn(&str) -> bool) -> Vec<Topic> {
    let picked = metadata.topics().iter().filter(|topic| ours(topic.name()));
    picked
        .map(|topic| {
            (topic.name().to_owned(), topic.partitions().iter().map(MetadataPartition::id).collect())
        })
        .collect()
}

/// Reads the last record of each partition, and returns the largest position among them. Records without our header are foreign.
/// Blocks, for a few round trips a topic; fails if a topic could not be read within [`ANSWER_TIMEOUT`].
pub(super) fn find(cluster: &Cluster, topics: &[Topic]) -> Result<SinkTail, Error> {
    let mut last = Last::default();
    if topics.is_empty() {
        return Ok(SinkTail::Empty);
    }
    let consumer = cluster.consumer("latest", READ_WAIT)?;
    // One topic after the other: the end of a partition is told by its number alone.
    for (topic, partitions) in topics {
        let mut unread: HashSet<i32> = partitions.iter().copied().collect();
        for back in STEPS_BACK {
            if !unread.is_empty() {
                unread = read(&consumer, topic, &unread, back, &mut last)?;
            }
        }
    }
    Ok(last.header.map_or(SinkTail::Empty, |header| {
        SinkTail::At(Checkpoint { at: header.at, term: header.term, source: header.source })
    }))
}

#[derive(Default)]
struct Last {
    header: Option<Header>,
}

impl Last {
    /// Whether it is a record of ours.
    fn see(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let header = message
            .headers()
            .and_then(|headers| headers.iter().find(|header| header.key == Header::NAME))
            .and_then(|header| str::from_utf8(header.value?).ok()?.parse::<Header>().ok());
        let Some(header) = header else { return false };
        if self.header.as_ref().is_none_or(|last| last.at < header.at) {
            self.header = Some(header);
        }
        true
    }
}

/// Reads partitions from `back` offsets before their end to their end. Returns those that had no record of ours
/// there.
fn read(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: &HashSet<i32>,
    back: i64,
    last: &mut Last,
) -> Result<HashSet<i32>, Error> {
    let what = format!("can't read the last records of the topic {topic}");
    let mut assignment = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::OffsetTail(back))
            .map_err(|error| kafka_error(&what, &error))?;
    }
    consumer.assign(&assignment).map_err(|error| kafka_error(&what, &error))?;

    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut pending = partitions.clone();
    let mut without = partitions.clone();
    while !pending.is_empty() {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            let what = format!("{what}: {} of its partitions did not answer in time", pending.len());
            return Err(Error::new(ErrorKind::SinkUnavailable, what));
        };
        match consumer.poll(left) {
            Some(Ok(message)) => {
                if last.see(&message) {
                    without.remove(&message.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                pending.remove(&partition);
            }
            Some(Err(error)) if !may_pass(&error) => return Err(kafka_error(&what, &error)),
            // Connections come and go; the time limit decides.
            Some(Err(_)) | None => {}
        }
    }
    Ok(without)
}
