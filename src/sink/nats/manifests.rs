//! Manifests: what the stream holds of them already, and how long it keeps them.
//!
//! Those of a namespace have a subject of their own, so the last message there is the current one. What it says is read before the
//! namespace's first event, and not written again. A stream that forgets old messages gets a manifest again before it has forgotten it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RawMessageErrorKind, State, Stream};
use bytes::Bytes;

use super::errors;
use crate::error::{Error, ErrorKind};
use crate::format::{Manifest, Record};

/// About what a message takes in the stream beside its parts in the batch.
const MESSAGE_BYTES: u64 = 160;

/// The manifests of a stream, for the life of one chain.
pub(super) struct Manifests {
    /// Only the chain keeps its connection open.
    stream: Weak<Stream>,
    /// The number of the stream's last message when the chain began. What an earlier chain has left under way comes behind it, and is what
    /// this one writes in its place.
    end: u64,
    told: Mutex<Told>,
}

impl Manifests {
    /// Those of a stream whose last message has that number.
    pub(super) fn new(stream: &Arc<Stream>, end: u64) -> Self {
        let info = stream.cached_info();
        Self { stream: Arc::downgrade(stream), end, told: Mutex::new(Told::new(&info.config, &info.state)) }
    }

    /// Finds out what the stream says on that subject; asks it once.
    pub(super) async fn look_up(&self, subject: &str) -> Result<(), Error> {
        if self.told().last.contains_key(subject) {
            return Ok(());
        }
        let gone = || Error::new(ErrorKind::SinkUnavailable, "the connection to NATS was given up before");
        let stream = self.stream.upgrade().ok_or_else(gone)?;
        let last = match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Some(message).filter(|message| message.sequence <= self.end),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => None,
            Err(error) => {
                return Err(errors::reading(
                    format!("can't read the manifests in the stream {}", stream.cached_info().config.name),
                    error,
                ));
            }
        };
        let mut told = self.told();
        let last =
            last.map_or_else(Last::default, |message| Last::found(&message, &stream.cached_info().state));
        // Who was faster may have told something since.
        told.last.entry(subject.to_owned()).or_insert(last);
        Ok(())
    }

    /// Leaves out what the stream holds already, and keeps holding for a while. Records come in their order here.
    pub(super) fn keep_news(&self, bytes: &Bytes, records: &mut Vec<Record>) {
        let now = SystemTime::now();
        let mut told = self.told();
        told.passed.add(bytes.len(), records.len());
        records.retain(|record| match &record.value {
            Some(value) if record.is_manifest => told.is_news(&record.route.name, slice(bytes, value), now),
            _ => true,
        });
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests").field("end", &self.end).finish_non_exhaustive()
    }
}

fn slice<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    &bytes[range.start as usize..range.end as usize]
}

/// What was told last on each subject, and when the stream may forget it. Pure.
#[derive(Debug)]
struct Told {
    /// After so long, or behind so much, a message is forgotten; none: never.
    age_max: Option<Duration>,
    passed_max: [Option<u64>; 2],
    /// How much has gone into the stream, as far as it is known.
    passed: Passed,
    last: HashMap<String, Last>,
}

/// What was told on a subject; nothing by default.
#[derive(Debug)]
struct Last {
    value: Box<[u8]>,
    at: SystemTime,
    /// How much had gone into the stream by then.
    passed: Passed,
}

/// Bytes and messages.
#[derive(Clone, Copy, Debug, Default)]
struct Passed([u64; 2]);

impl Passed {
    fn add(&mut self, bytes: usize, messages: usize) {
        let messages = messages as u64;
        let Self([all_bytes, all_messages]) = self;
        *all_bytes += bytes as u64 + messages * MESSAGE_BYTES;
        *all_messages += messages;
    }
}

impl Default for Last {
    fn default() -> Self {
        Self { value: Box::default(), at: SystemTime::UNIX_EPOCH, passed: Passed::default() }
    }
}

impl Last {
    /// A message that the stream holds. How much is behind it can only be guessed.
    fn found(message: &StreamMessage, state: &State) -> Self {
        let behind = state.last_sequence.saturating_sub(message.sequence);
        let all = state.last_sequence.saturating_sub(state.first_sequence).saturating_add(1);
        let before = |held: u64| {
            let behind = u128::from(held) * u128::from(behind) / u128::from(all);
            held.saturating_sub(u64::try_from(behind).unwrap_or(u64::MAX))
        };
        let passed = Passed([state.bytes, state.messages].map(before));
        Self { value: Box::from(&*message.payload), at: message.time.into(), passed }
    }
}

impl Told {
    fn new(config: &Config, state: &State) -> Self {
        let limit = |limit: i64| {
            u64::try_from(limit).ok().filter(|limit| *limit > 0 && config.discard == DiscardPolicy::Old)
        };
        Self {
            age_max: Some(config.max_age).filter(|age| !age.is_zero()),
            passed_max: [limit(config.max_bytes), limit(config.max_messages)],
            passed: Passed([state.bytes, state.messages]),
            last: HashMap::new(),
        }
    }

    fn is_news(&mut self, subject: &str, value: &[u8], now: SystemTime) -> bool {
        let known = self.last.get(subject);
        if known.is_some_and(|last| Manifest::tells_all_of(&last.value, value) && !self.fades(last, now)) {
            return false;
        }
        let last = Last { value: value.into(), at: now, passed: self.passed };
        self.last.insert(subject.to_owned(), last);
        true
    }

    /// Whether half of the way to its end is behind it.
    fn fades(&self, last: &Last, now: SystemTime) -> bool {
        let age = now.duration_since(last.at).unwrap_or_default();
        let passed = self.passed.0.iter().zip(last.passed.0).zip(self.passed_max);
        self.age_max.is_some_and(|max| age > max / 2)
            || passed
                .into_iter()
                .any(|((now, then), max)| max.is_some_and(|max| now.saturating_sub(then) > max / 2))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let time = "2026-11-24T00:00:00Z";
        serde_json::from_value(json!({
            "messages": 100, "bytes": 10_000, "first_seq": 1, "first_ts": time, "last_seq": 100, "last_ts": time,
            "consumer_count": 0
        }))
        .unwrap()
    }

    fn message(sequence: u64, time: SystemTime) -> StreamMessage {
        StreamMessage {
            subject: "m._namespaces.a.b".into(),
            sequence,
            headers: async_nats::HeaderMap::new(),
            payload: "{v}".into(),
            time: time.into(),
        }
    }

    /// Whether what the stream holds under that number, from so long ago, is to be told once more when so much has passed since.
    fn fades(config: &Config, sequence: u64, age: u64, passed: (usize, usize)) -> bool {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut told = Told::new(config, &state());
        let last = Last::found(&message(sequence, now - Duration::from_secs(age)), &state());
        told.last.insert("s".to_owned(), last);
        told.passed.add(passed.0, passed.1);
        let is_news = told.is_news("s", b"{v}", now);
        assert!(!told.is_news("s", b"{v}", now), "it was told just now");
        assert!(told.is_news("s", b"{w}", now));
        is_news
    }

    #[test]
    fn a_stream_that_forgets_gets_its_manifests_again_in_time() {
        let keeps_all = Config::default();
        assert!(!fades(&keeps_all, 1, 900_000, (1 << 40, 1 << 30)));
        let by_age = Config { max_age: Duration::from_secs(100), ..Config::default() };
        assert!(!fades(&by_age, 1, 50, (1 << 40, 0)));
        assert!(fades(&by_age, 1, 51, (0, 0)));
        let by_bytes = Config { max_bytes: 10_000, ..Config::default() };
        // A tenth of what there is stands behind it.
        assert!(!fades(&by_bytes, 90, 900_000, (4_000, 0)));
        assert!(fades(&by_bytes, 90, 0, (4_001, 0)));
        assert!(fades(&by_bytes, 49, 0, (0, 0)));
        let by_number = Config { max_messages: 100, ..Config::default() };
        assert!(!fades(&by_number, 60, 0, (0, 10)));
        assert!(fades(&by_number, 60, 0, (0, 11)));
        let refuses = Config { discard: DiscardPolicy::New, ..by_number };
        assert!(!fades(&refuses, 1, 0, (0, 1 << 30)), "it forgets nothing");
    }

    #[test]
    fn what_was_never_told_is_news() {
        let mut told = Told::new(&Config::default(), &state());
        told.last.insert("s".to_owned(), Last::default());
        let now = SystemTime::now();
        assert!(told.is_news("s", b"{v}", now));
        assert!(told.is_news("t", b"{v}", now));
        assert!(!told.is_news("t", b"{v}", now));
    }
}
