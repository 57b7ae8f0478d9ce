//! The last record of this connector that a cluster holds. Looked for only where the checkpoint is missing.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};

use crate::checkpoint::kafka::Partition;
use crate::error::{Error, ErrorKind};
use crate::format::Header;
use crate::kafka::{ANSWER_TIMEOUT, Cluster, Context, kafka_error, may_pass};
use crate::pipeline::{Checkpoint, SinkTail};

/// What lies at the end of a partition is nearly always a record of ours.
const AT_THE_END: i64 = 1;

/// But it may be somebody else's, the end of a transaction, or nothing that compaction has left: then this far back.
const FURTHER_BACK: i64 = 1000;

/// The end of a partition is told when a fetch comes back empty: the broker need not wait for more.
const READ_WAIT: Duration = Duration::from_millis(10);

const WHAT: &str = "can't read the last records of this connector's topics";

/// The partitions of the topics that `ours` picks by name.
pub(super) fn partitions(metadata: &Metadata, ours: impl Fn(&str) -> bool) -> Vec<Partition> {
    let picked = metadata.topics().iter().filter(|topic| ours(topic.name()));
    picked
        .flat_map(|topic| {
            topic.partitions().iter().map(|partition| (topic.name().to_owned(), partition.id()))
        })
        .collect()
}

/// Reads the last record of each partition, and returns the largest position among them. Records without our header are foreign.
/// Blocks for some round trips; fails if nothing comes for [`ANSWER_TIMEOUT`].
pub(super) fn find(cluster: &Cluster, partitions: &[Partition]) -> Result<SinkTail, Error> {
    if partitions.is_empty() {
        return Ok(SinkTail::Empty);
    }
    let consumer = cluster.consumer("latest", READ_WAIT)?;
    let mut last = Last::default();
    let ends = ends(&consumer, partitions).map_err(|error| kafka_error(WHAT, &error))?;
    let rest = read(&consumer, ends, AT_THE_END, &mut last)?;
    for topic in by_topic(rest) {
        read(&consumer, topic, FURTHER_BACK, &mut last)?;
    }
    Ok(last.header.map_or(SinkTail::Empty, |header| {
        SinkTail::At(Checkpoint { at: header.at, term: header.term, source: header.source })
    }))
}

/// Offsets by partition.
type Ends = HashMap<Partition, i64>;

/// Where partitions begin, or end.
pub(super) fn offsets<'p>(
    consumer: &BaseConsumer<Context>,
    partitions: impl IntoIterator<Item = &'p Partition>,
    at: Offset,
) -> KafkaResult<Ends> {
    // The time that means the beginning or the end: one request for each broker, instead of two for each partition.
    let mut times = TopicPartitionList::new();
    for (topic, partition) in partitions {
        times.add_partition_offset(topic, *partition, at)?;
    }
    let found = consumer.offsets_for_times(times, ANSWER_TIMEOUT)?;
    let offset = |found: &TopicPartitionListElem<'_>| {
        found.error()?;
        Ok(((found.topic().to_owned(), found.partition()), found.offset().to_raw().unwrap_or_default()))
    };
    found.elements().iter().map(offset).collect()
}

/// Where those partitions end that are not empty.
fn ends(consumer: &BaseConsumer<Context>, partitions: &[Partition]) -> KafkaResult<Ends> {
    let begins = offsets(consumer, partitions, Offset::Beginning)?;
    let mut ends = offsets(consumer, partitions, Offset::End)?;
    ends.retain(|partition, end| begins.get(partition).is_none_or(|begin| begin < end));
    Ok(ends)
}

fn by_topic(partitions: Ends) -> Vec<Ends> {
    let mut topics: HashMap<String, Ends> = HashMap::new();
    for ((topic, partition), end) in partitions {
        topics.entry(topic.clone()).or_default().insert((topic, partition), end);
    }
    topics.into_values().collect()
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

/// Reads partitions from `back` offsets before their ends. Returns those that had no record of ours there.
fn read(
    consumer: &BaseConsumer<Context>,
    partitions: Ends,
    back: i64,
    last: &mut Last,
) -> Result<Ends, Error> {
    let mut assignment = TopicPartitionList::with_capacity(partitions.len());
    for ((topic, partition), end) in &partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::Offset((end - back).max(0)))
            .map_err(|error| kafka_error(WHAT, &error))?;
    }
    consumer.assign(&assignment).map_err(|error| kafka_error(WHAT, &error))?;

    let mut pending: HashSet<&Partition> = partitions.keys().collect();
    let mut open: HashMap<i32, usize> = HashMap::new();
    for (_, number) in partitions.keys() {
        *open.entry(*number).or_default() += 1;
    }
    let mut ours = HashSet::new();
    let mut deadline = Instant::now() + ANSWER_TIMEOUT;
    while !pending.is_empty() {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            let what = format!("{WHAT}: {} of {} partitions did not answer", pending.len(), partitions.len());
            return Err(Error::new(ErrorKind::SinkUnavailable, what));
        };
        match consumer.poll(left) {
            Some(Ok(message)) => {
                deadline = Instant::now() + ANSWER_TIMEOUT;
                let partition = (message.topic().to_owned(), message.partition());
                if partitions.get(&partition).is_some_and(|end| message.offset() >= end - 1) {
                    pending.remove(&partition);
                }
                if last.see(&message) {
                    ours.insert(partition);
                }
            }
            // Only the number is told: when as many have ended as there are topics, all have. Should one of them have ended twice,
            // because somebody writes there, another seems to have no record, and is read again with its topic alone.
            Some(Err(KafkaError::PartitionEOF(number))) => {
                let open = open.entry(number).or_default();
                *open = open.saturating_sub(1);
                if *open == 0 {
                    pending.retain(|(_, other)| *other != number);
                }
            }
            // Connections come and go; the time limit decides.
            Some(Err(error)) if may_pass(&error) => {}
            Some(Err(error)) => return Err(kafka_error(WHAT, &error)),
            None => {}
        }
    }
    Ok(partitions.into_iter().filter(|(partition, _)| !ours.contains(partition)).collect())
}
