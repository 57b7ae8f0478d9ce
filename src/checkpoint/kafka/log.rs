//! What stands in the topic: claims and checkpoints, and which of them count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use serde::{Deserialize, Serialize};

use super::PARTITION;
use super::acknowledged::Ends;
use crate::error::{Error, ErrorKind};
use crate::kafka::{ANSWER_TIMEOUT, Context, kafka_error, may_pass};
use crate::pipeline::{Checkpoint, Stored};

/// The version of the records that are written here, and the only one that is read.
const VERSION: u32 = 1;

/// How far to read.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// To that offset, which exists.
    Offset(i64),
    /// To what is the end now.
    End,
}

/// The records of one pipeline.
pub(super) struct Log {
    pipeline: String,
    claimed: Option<i64>,
    /// By epoch: the last record of each that was not removed.
    checkpoints: BTreeMap<i64, Entry>,
}

/// A checkpoint as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) value: Vec<u8>,
}

impl Log {
    pub(super) fn new(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), claimed: None, checkpoints: BTreeMap::new() }
    }

    /// Reads the topic from its beginning. Blocks; fails when nothing comes for [`ANSWER_TIMEOUT`].
    pub(super) fn read(
        mut self,
        consumer: &BaseConsumer<Context>,
        topic: &str,
        until: Until,
    ) -> Result<Self, Error> {
        let what = format!("can't read the topic {topic}");
        let mut assignment = TopicPartitionList::new();
        assignment
            // Unlike the word for the beginning, the number of the first offset need not be looked up, which takes half a second.
            .add_partition_offset(topic, PARTITION, Offset::Offset(0))
            .and_then(|()| consumer.assign(&assignment))
            .map_err(|error| kafka_error(&what, &error))?;
        let mut deadline = Instant::now() + ANSWER_TIMEOUT;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match consumer.poll(left) {
                Some(Ok(message)) => {
                    self.see(message.key(), message.offset(), message.payload());
                    if matches!(until, Until::Offset(last) if message.offset() >= last) {
                        return Ok(self);
                    }
                    deadline = Instant::now() + ANSWER_TIMEOUT;
                }
                Some(Err(KafkaError::PartitionEOF(_))) if matches!(until, Until::End) => return Ok(self),
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                // Connections come and go; the time limit decides.
                Some(Err(error)) if may_pass(&error) => {}
                Some(Err(error)) => return Err(kafka_error(&what, &error)),
            }
        }
        Err(Error::new(ErrorKind::StoreUnavailable, format!("{what}: no answer in time")))
    }

    /// Sees what has come since; does not wait.
    pub(super) fn follow(&mut self, consumer: &BaseConsumer<Context>) {
        while let Some(polled) = consumer.poll(Duration::ZERO) {
            if let Ok(message) = polled {
                self.see(message.key(), message.offset(), message.payload());
            }
        }
    }

    fn see(&mut self, key: Option<&[u8]>, offset: i64, value: Option<&[u8]>) {
        let ours = key
            .and_then(|key| str::from_utf8(key).ok())
            .and_then(|key| key.strip_prefix(self.pipeline.as_str())?.strip_prefix('/'));
        match (ours, value) {
            (Some("claim"), Some(_)) => self.claimed = Some(offset),
            (Some(epoch), value) => {
                let Ok(epoch) = epoch.parse() else { return };
                match value {
                    Some(value) => self.checkpoints.insert(epoch, Entry { offset, value: value.to_vec() }),
                    None => self.checkpoints.remove(&epoch),
                };
            }
            (None, _) => {}
        }
    }

    /// The offset of the newest claim.
    pub(super) fn claimed(&self) -> Option<i64> {
        self.claimed
    }

    /// The checkpoint that counts.
    pub(super) fn newest(&self) -> Option<&Entry> {
        self.checkpoints.values().next_back()
    }

    /// The epochs that have checkpoints.
    pub(super) fn epochs(&self) -> Vec<i64> {
        self.checkpoints.keys().copied().collect()
    }
}

pub(super) fn claim_key(pipeline: &str) -> String {
    format!("{pipeline}/claim")
}

pub(super) fn checkpoint_key(pipeline: &str, epoch: i64) -> String {
    format!("{pipeline}/{epoch}")
}

/// The value of a claim: that it is there says everything.
pub(super) fn claim_value() -> Vec<u8> {
    format!(r#"{{"version":{VERSION}}}"#).into_bytes()
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The checkpoint.
    pub(crate) stored: Stored,
    /// How many transactions of Kafka hold what is done of the MongoDB transaction in whose middle the checkpoint lies; 0 where it lies
    /// between two.
    pub(crate) parts: u32,
    /// What must be in the sink.
    pub(crate) ends: Ends,
}

impl From<Stored> for Kept {
    fn from(stored: Stored) -> Self {
        Self { stored, parts: 0, ends: Ends::default() }
    }
}

/// The value of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Value {
    version: u32,
    claim: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cleared: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    parts: u32,
    #[serde(default, skip_serializing_if = "Ends::is_empty")]
    ends: Ends,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is readable in every version.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

pub(super) fn encode(claim: i64, kept: &Kept) -> Vec<u8> {
    let checkpoint = kept.stored.checkpoint().cloned();
    let cleared = checkpoint.is_none();
    let (parts, ends) = (kept.parts, kept.ends.clone());
    serde_json::to_vec(&Value { version: VERSION, claim, checkpoint, cleared, parts, ends })
        .expect("plain data is always JSON")
}

/// Reads a value, or says what is wrong with it.
pub(super) fn decode(value: &[u8]) -> Result<Kept, String> {
    let damaged = |error: serde_json::Error| format!("is damaged: {error}");
    let Version { version } = serde_json::from_slice(value).map_err(damaged)?;
    if version != VERSION {
        return Err(format!(
            "has format version {version}, this program knows {VERSION}: use the program that wrote it"
        ));
    }
    let Value { checkpoint, cleared, parts, ends, .. } = serde_json::from_slice(value).map_err(damaged)?;
    let stored = match (checkpoint, cleared) {
        (Some(checkpoint), false) => Stored::Checkpoint(checkpoint),
        (None, true) => Stored::Cleared,
        _ => return Err("is damaged: it neither is a checkpoint nor says that it was cleared".to_owned()),
    };
    Ok(Kept { stored, parts, ends })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

    fn stored(t: u32) -> Stored {
        let at = Position { t, i: 1, ordinal: 2 };
        Stored::Checkpoint(Checkpoint { at, term: Some(3), source: "rs0/1".to_owned() })
    }

    fn see(log: &mut Log, key: &str, offset: i64, value: Option<&[u8]>) {
        log.see(Some(key.as_bytes()), offset, value);
    }

    #[test]
    fn the_greatest_epoch_counts_whatever_earlier_ones_write_late() {
        let mut log = Log::new("events");
        see(&mut log, "events/claim", 10, Some(b"{}"));
        see(&mut log, "events/10", 11, Some(b"a"));
        see(&mut log, "events/claim", 12, Some(b"{}"));
        see(&mut log, "events/10", 13, Some(b"b"));
        // The later claim has saved nothing: what the earlier one knew still holds.
        assert_eq!(log.newest(), Some(&Entry { offset: 13, value: b"b".to_vec() }));
        see(&mut log, "events/12", 14, Some(b"c"));
        see(&mut log, "events/10", 15, Some(b"late"));
        assert_eq!(log.newest(), Some(&Entry { offset: 14, value: b"c".to_vec() }));
        see(&mut log, "events/10", 16, None);
        assert_eq!((log.epochs(), log.claimed()), (vec![12], Some(12)));
    }

    #[test]
    fn other_pipelines_of_the_topic_are_left_alone() {
        let mut log = Log::new("events");
        for key in
            ["other/claim", "events2/claim", "events/x/claim", "x/events/claim", "events", "events/x", ""]
        {
            see(&mut log, key, 1, Some(b"{}"));
        }
        log.see(None, 2, Some(b"{}"));
        assert_eq!((log.claimed(), log.newest()), (None, None));
    }

    #[test]
    fn values_round_trip_and_anything_else_is_refused() {
        let split = Kept { parts: 2, ..stored(1_795_393_406).into() };
        for kept in [stored(1_795_393_406).into(), Stored::Cleared.into(), split] {
            assert_eq!(decode(&encode(7, &kept)), Ok(kept));
        }
        let text = String::from_utf8(encode(7, &stored(1_795_393_406).into())).expect("text");
        assert_eq!(
            text,
            r#"{"version":1,"claim":7,"checkpoint":{"at":"1795393406-0000000001-0000000002","term":3,"source":"rs0/1"}}"#
        );
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"version":1,"claim":1}"#,
            r#"{"version":1,"claim":1,"checkpoint":{"at":"x"}}"#,
        ] {
            assert!(decode(damaged.as_bytes()).is_err_and(|why| why.starts_with("is damaged")), "{damaged}");
        }
        let newer = decode(br#"{"version":2,"anything":[]}"#).expect_err("newer");
        assert!(newer.contains("version 2"), "{newer}");
    }
}
