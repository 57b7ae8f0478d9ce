//! What to do with what can't be handled as usual: the table `[on]` of the configuration.

use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::source::oplog::{Fault, FaultKind};

/// What to do in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// With an entry that can't be understood.
    pub unknown: OnFault,
    /// With damaged bytes, and with what the format can't write.
    pub unreadable: OnFault,
    /// With an event that is larger than the sink takes.
    pub too_large: OnTooLarge,
    /// With an event of a namespace that has no place in the sink.
    pub unroutable: OnFault,
    /// With a collection whose contents were replaced by some that no events have told.
    pub replaced: OnReplaced,
}

/// What to do with what can't become an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// Stop, with its position: leaving it out would lose data, such as with the next version of the server.
    #[default]
    Stop,
    /// Publish it, in its place, as a dead letter: its bytes and what is wrong with them.
    DeadLetter,
    /// Leave it out, log it, count it.
    Skip,
}

/// What to do with an event that is larger than the sink takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTooLarge {
    /// Stop before it.
    #[default]
    Stop,
    /// Publish what the oplog has of it, in its place, as a dead letter.
    DeadLetter,
    /// Publish it without its document, and say so.
    HeaderOnly,
}

/// What to do with a collection whose contents were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReplaced {
    /// Say so in the event.
    #[default]
    Mark,
    /// Stop before it.
    Stop,
}

/// Why an operation is not published as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It can't be understood.
    Unknown,
    /// It is damaged, or the format can't write it.
    Unreadable,
    /// The sink has no room for it.
    TooLarge,
    /// Its namespace has no place in the sink.
    Unroutable,
}

impl Reason {
    /// A short name, for metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => FaultKind::Unknown.name(),
            Self::Unreadable => FaultKind::Unreadable.name(),
            Self::TooLarge => "too_large",
            Self::Unroutable => "unroutable",
        }
    }
}

impl Policies {
    /// What to do with what can't be published for that reason.
    pub fn on(&self, reason: Reason) -> OnFault {
        match reason {
            Reason::Unknown => self.unknown,
            Reason::Unreadable => self.unreadable,
            Reason::TooLarge => match self.too_large {
                OnTooLarge::DeadLetter => OnFault::DeadLetter,
                // What comes here has no room even without its document.
                OnTooLarge::Stop | OnTooLarge::HeaderOnly => OnFault::Stop,
            },
            Reason::Unroutable => self.unroutable,
        }
    }
}

/// An operation that can't be published as usual.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) at: Position,
    pub(super) reason: Reason,
    pub(super) ns: String,
    pub(super) what: String,
    /// The error that stops a pipeline at it.
    pub(super) error: Error,
}

impl Aside {
    pub(super) fn new(reason: Reason, kind: ErrorKind, at: Position, ns: String, what: String) -> Self {
        let error = Error::new(kind, format!("oplog entry {at} of {ns}: {what}"));
        Self { at, reason, ns, what, error }
    }
}

impl From<Fault> for Aside {
    fn from(fault: Fault) -> Self {
        let (reason, kind) = match fault.kind {
            FaultKind::Unknown => (Reason::Unknown, ErrorKind::Unknown),
            FaultKind::Unreadable => (Reason::Unreadable, ErrorKind::Unreadable),
        };
        let error = Error::new(kind, fault.to_string());
        Self { at: fault.at, reason, ns: fault.ns, what: fault.what, error }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use bytes::Bytes;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use serde_json::{Value, json};

    use super::{OnFault, OnReplaced, OnTooLarge, Policies};
    use crate::bson::extjson::parse;
    use crate::error::{Error, ErrorKind};
    use crate::event::Namespace;
    use crate::format::{Addressing, Format, Route, To};
    use crate::pipeline::{Faults, RecordBatch, Router, Stage};
    use crate::source::Namespaces;
    use crate::source::oplog::{Cut, Cutter};

    /// A topic for each namespace, but for `shop.nowhere`.
    #[derive(Debug, Default)]
    struct Topics {
        bytes_max: usize,
        asked: AtomicU32,
    }

    impl Topics {
        fn topic(&self, name: String) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
            let route = Route::new(name, Addressing::Partitions(1000));
            futures::future::ok(Arc::new(Route { bytes_max: self.bytes_max, ..route })).boxed()
        }
    }

    impl Router for Topics {
        fn route<'a>(&'a self, ns: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if ns.coll == "nowhere" {
                let error = Error::new(ErrorKind::Refused, "the topic shop.nowhere does not exist");
                return futures::future::err(error).boxed();
            }
            self.topic(ns.to_string())
        }

        fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
            self.topic("dead".to_owned())
        }

        fn watermark_routes(&self) -> Vec<Arc<Route>> {
            Vec::new()
        }
    }

    fn entry(i: u32, members: &str) -> Vec<u8> {
        parse(&format!(r#"{{"ts": {{"$timestamp": {{"t": 5, "i": {i}}}}}, "t": 3, {members}}}"#)).unwrap()
    }

    fn insert(i: u32) -> Vec<u8> {
        entry(i, r#""op": "i", "ns": "shop.a", "o": {"_id": 1}"#)
    }

    fn unknown(i: u32) -> Vec<u8> {
        entry(i, r#""op": "z", "ns": "shop.a", "o": {"n": {"$numberLong": "1"}}"#)
    }

    /// An insert whose document is damaged.
    fn unreadable(i: u32) -> Vec<u8> {
        let mut bytes = entry(i, r#""op": "i", "ns": "shop.b.c", "o": {"_id": 1, "x~": 2}"#);
        let name = bytes.windows(2).position(|two| two == b"x~").unwrap();
        bytes[name - 1] = 0x55;
        bytes
    }

    /// An entry that is damaged as a whole, and an `applyOps` whose array is.
    fn damaged(i: u32) -> [Vec<u8>; 2] {
        [
            r#""op": "i", "o": {"_id": 1}, "x~": 2"#,
            r#""op": "c", "ns": "admin.$cmd", "o": {"applyOps": [{}, 1], "x~": 2}"#,
        ]
        .map(|members| {
            let mut bytes = entry(i, members);
            let name = bytes.windows(2).position(|two| two == b"x~").unwrap();
            bytes[name - 1] = 0x55;
            bytes
        })
    }

    fn prepare(entries: &[Vec<u8>], policies: Policies, bytes_max: usize) -> Result<RecordBatch, Error> {
        let router = Arc::new(Topics { bytes_max, ..Topics::default() });
        prepare_on(&stage(router, policies), entries)
    }

    fn stage(router: Arc<Topics>, policies: Policies) -> Stage {
        let namespaces = Arc::new(Namespaces::default());
        Stage::new("rs0".into(), namespaces, router, Format::Json.encoder(), policies)
    }

    fn prepare_on(stage: &Stage, entries: &[Vec<u8>]) -> Result<RecordBatch, Error> {
        let bytes = Bytes::from(entries.concat());
        let mut end = 0;
        let ranges = entries.iter().map(|entry| {
            end += entry.len();
            Ok(end - entry.len()..end)
        });
        let mut cuts = Cutter::new(None).cut(&bytes, ranges).unwrap();
        let (Some(Cut::Chunk(chunk)), true) = (cuts.pop(), cuts.is_empty()) else { panic!("not one chunk") };
        stage.prepare(chunk).now_or_never().expect("no I/O")
    }

    /// Topic, key and value of each record.
    fn records(batch: &RecordBatch) -> Vec<(&str, &str, Value)> {
        let text = |range: &std::ops::Range<u32>| {
            std::str::from_utf8(&batch.bytes[range.start as usize..range.end as usize]).unwrap()
        };
        let parts = batch.records.iter().map(|record| {
            let value = serde_json::from_str(text(record.value.as_ref().unwrap())).unwrap();
            (record.route.name.as_str(), text(&record.key), value)
        });
        parts.collect()
    }

    fn both(policy: OnFault) -> Policies {
        Policies { unknown: policy, unreadable: policy, ..Policies::default() }
    }

    #[test]
    fn by_default_it_stops_and_says_where_at_what_and_how_to_go_on() {
        for (bad, kind, words) in [
            (unknown(2), ErrorKind::Unknown, ["of shop.a: unknown operation `z`", "[on] unknown = "]),
            (unreadable(2), ErrorKind::Unreadable, ["of shop.b.c: malformed BSON", "[on] unreadable = "]),
        ] {
            let error = prepare(&[insert(1), bad], Policies::default(), usize::MAX).unwrap_err();
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with("oplog entry 0000000005-0000000002-0000000000 "), "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }

    #[test]
    fn each_sort_of_fault_has_its_own_policy() {
        let policies = Policies { unknown: OnFault::Skip, ..Policies::default() };
        let batch = prepare(&[insert(1), unknown(2), insert(3)], policies, usize::MAX).unwrap();
        assert_eq!(records(&batch).len(), 2);
        let counts = (batch.counts.inserts, batch.counts.skipped, batch.counts.dead_letters);
        assert_eq!(counts, (2, Faults { unknown: 1, ..Faults::default() }, Faults::default()));
        let error = prepare(&[unknown(1), unreadable(2)], policies, usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable);
    }

    #[test]
    fn a_dead_letter_stands_in_its_place_and_has_all_the_bytes() {
        let entries = [insert(1), unknown(2), unreadable(3), insert(4)];
        let batch = prepare(&entries, both(OnFault::DeadLetter), usize::MAX).unwrap();
        assert_eq!(batch.counts.dead_letters, Faults { unknown: 1, unreadable: 1, ..Faults::default() });
        assert_eq!((batch.counts.inserts, batch.counts.skipped), (2, Faults::default()));
        let records = records(&batch);
        let topics: Vec<&str> = records.iter().map(|(topic, ..)| *topic).collect();
        assert_eq!(topics, ["shop.a", "dead", "dead", "shop.a"]);
        let (_, key, letter) = &records[1];
        assert_eq!(*key, "0000000005-0000000002-0000000000");
        let bytes = BASE64_STANDARD.encode(&entries[1]);
        let entry = json!({
            "ts": { "$timestamp": { "t": 5, "i": 2 } },
            "t": { "$numberInt": "3" },
            "op": "z",
            "ns": "shop.a",
            "o": { "n": { "$numberLong": "1" } }
        });
        let expected = json!({
            "op": "deadLetter", "ns": { "db": "shop", "coll": "a" }, "reason": "unknown",
            "what": "unknown operation `z`", "position": key, "clusterTime": { "$timestamp": { "t": 5, "i": 2 } },
            "source": "rs0", "size": entries[1].len(), "entry": entry, "bytes": bytes
        });
        assert_eq!(*letter, expected);
        let (_, _, letter) = &records[2];
        assert_eq!(letter["ns"], json!({ "db": "shop", "coll": "b.c" }));
        assert_eq!((&letter["reason"], &letter["entry"]), (&json!("unreadable"), &Value::Null));
        assert_eq!(letter["bytes"], BASE64_STANDARD.encode(&entries[2]));
        // Its key picks one partition, as a document's does.
        assert!(batch.records.iter().all(|record| matches!(record.to, To::Partition(_))));
    }

    #[test]
    fn a_damaged_entry_follows_the_policy_as_a_whole() {
        for bad in damaged(2) {
            let entries = [insert(1), bad.clone(), insert(3)];
            let error = prepare(&entries, Policies::default(), usize::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreadable);
            let text = error.to_string();
            assert!(text.starts_with("oplog entry 0000000005-0000000002-0000000000"), "{text}");
            assert!(text.contains(": malformed BSON"), "{text}");
            let batch = prepare(&entries, both(OnFault::Skip), usize::MAX).unwrap();
            assert_eq!(
                (batch.counts.inserts, batch.counts.skipped),
                (2, Faults { unreadable: 1, ..Faults::default() })
            );
            let batch = prepare(&entries, both(OnFault::DeadLetter), usize::MAX).unwrap();
            let (topic, _, letter) = &records(&batch)[1];
            assert_eq!((*topic, &letter["reason"]), ("dead", &json!("unreadable")));
            assert_eq!(letter["bytes"], BASE64_STANDARD.encode(&bad));
        }
    }

    #[test]
    fn a_dead_letter_of_an_operation_holds_that_operation() {
        let elements = r#"{"op": "z", "ns": "shop.a"}, {"op": "i", "ns": "shop.a", "o": {"_id": 1}}, 7"#;
        let entry = entry(1, &format!(r#""op": "c", "ns": "admin.$cmd", "o": {{"applyOps": [{elements}]}}"#));
        let batch = prepare(&[entry], both(OnFault::DeadLetter), usize::MAX).unwrap();
        let records = records(&batch);
        let found: Vec<_> = records.iter().map(|(topic, _, value)| (*topic, &value["position"])).collect();
        let position = |ordinal: u32| json!(format!("0000000005-0000000001-000000000{ordinal}"));
        let expected = [("dead", position(0)), ("shop.a", position(1)), ("dead", position(2))];
        assert_eq!(found, expected.each_ref().map(|(topic, position)| (*topic, position)));
        assert_eq!(records[0].2["entry"], json!({ "op": "z", "ns": "shop.a" }));
        // No document at all: its bytes are an int32's.
        assert_eq!((&records[2].2["entry"], &records[2].2["bytes"]), (&Value::Null, &json!("BwAAAA==")));
        assert_eq!(records[2].2["ns"], json!({ "db": "" }));
    }

    #[test]
    fn a_dead_letter_that_would_be_too_large_has_its_bytes_alone_or_none_and_is_never_cut() {
        let large = entry(1, &format!(r#""op": "z", "ns": "shop.a", "o": {{"x": "{}"}}"#, "x".repeat(3000)));
        let letter = |bytes_max| prepare(std::slice::from_ref(&large), both(OnFault::DeadLetter), bytes_max);
        for (bytes_max, has_entry) in [(9000, true), (6000, false)] {
            let batch = letter(bytes_max).unwrap();
            assert!(batch.bytes.len() <= bytes_max);
            let (_, _, value) = &records(&batch)[0];
            assert_eq!(value["entry"].is_object(), has_entry);
            assert_eq!(value["bytes"], BASE64_STANDARD.encode(&large));
        }
        let batch = letter(4000).unwrap();
        let (_, _, value) = &records(&batch)[0];
        assert_eq!((&value["entry"], &value["bytes"]), (&Value::Null, &Value::Null), "no room for either");
        assert_eq!(value["size"], large.len());
        let error = letter(300).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("dead takes 300 at most"), "{error}");
    }

    /// An insert of 3000 bytes.
    fn large(i: u32) -> Vec<u8> {
        entry(i, &format!(r#""op": "i", "ns": "shop.a", "o": {{"_id": "l", "x": "{}"}}"#, "x".repeat(3000)))
    }

    #[test]
    fn an_event_that_is_too_large_stops_it_by_default() {
        let error = prepare(&[insert(1), large(2)], Policies::default(), 2000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let text = error.to_string();
        for words in
            ["0000000005-0000000002-0000000000 of shop.a: ", "shop.a takes 2000 at most", "[on] too_large = "]
        {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn an_event_that_is_too_large_becomes_a_dead_letter_with_its_key() {
        let policies = Policies { too_large: OnTooLarge::DeadLetter, ..Policies::default() };
        let batch = prepare(&[insert(1), large(2), insert(3)], policies, 3100).unwrap();
        assert_eq!(batch.counts.dead_letters, Faults { too_large: 1, ..Faults::default() });
        assert_eq!(batch.counts.inserts, 2);
        let records = records(&batch);
        let topics: Vec<&str> = records.iter().map(|(topic, ..)| *topic).collect();
        assert_eq!(topics, ["shop.a", "dead", "shop.a"]);
        let (_, key, letter) = &records[1];
        assert_eq!(*key, "0000000005-0000000002-0000000000");
        assert_eq!((&letter["reason"], &letter["key"]), (&json!("too_large"), &json!({ "_id": "l" })));
        // Its own topic has no more room.
        assert_eq!((&letter["bytes"], &letter["size"]), (&Value::Null, &json!(large(2).len())));
    }

    #[test]
    fn an_event_that_is_too_large_goes_without_its_document_and_says_so() {
        let policies = Policies { too_large: OnTooLarge::HeaderOnly, ..Policies::default() };
        let batch = prepare(&[insert(1), large(2), insert(3)], policies, 2000).unwrap();
        assert_eq!((batch.counts.inserts, batch.counts.header_only), (3, 1));
        assert_eq!((batch.counts.skipped, batch.counts.dead_letters), Default::default());
        let found = records(&batch);
        let size = prepare(&[large(2)], Policies::default(), usize::MAX).unwrap().bytes.len();
        let (topic, key, value) = &found[1];
        assert_eq!((*topic, *key), ("shop.a", r#"{"_id":"l"}"#));
        let expected = json!({
            "op": "insert", "ns": { "db": "shop", "coll": "a" }, "key": { "_id": "l" },
            "tooLarge": { "bytes": size, "limit": 2000 }, "position": "0000000005-0000000002-0000000000",
            "clusterTime": { "$timestamp": { "t": 5, "i": 2 } }, "source": "rs0"
        });
        assert_eq!(*value, expected);
        assert!(batch.bytes.len() < 1500, "nothing of it is left behind");
        assert_eq!(found[2].2["after"], json!({ "_id": 1 }));

        // A key alone may be too much, and a command has none.
        let key = entry(2, &format!(r#""op": "i", "ns": "shop.a", "o": {{"_id": "{}"}}"#, "x".repeat(3000)));
        let command = format!(r#"{{"create": "a", "validator": {{"x": "{}"}}}}"#, "x".repeat(3000));
        let command = entry(2, &format!(r#""op": "c", "ns": "shop.$cmd", "o": {command}"#));
        for large in [key, command] {
            assert_eq!(prepare(&[insert(1), large], policies, 2000).unwrap_err().kind(), ErrorKind::TooLarge);
        }
    }

    #[test]
    fn a_namespace_without_a_place_stops_it_by_default_and_says_why() {
        let nowhere = entry(2, r#""op": "i", "ns": "shop.nowhere", "o": {"_id": 1}"#);
        let error = prepare(&[insert(1), nowhere.clone()], Policies::default(), 2000).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Refused, "the topic shop.nowhere does not exist")
        );
        let policies = Policies { unroutable: OnFault::DeadLetter, ..Policies::default() };
        let batch = prepare(&[insert(1), nowhere, insert(3)], policies, 2000).unwrap();
        assert_eq!(batch.counts.dead_letters, Faults { unroutable: 1, ..Faults::default() });
        let (topic, _, letter) = &records(&batch)[1];
        assert_eq!(
            (*topic, &letter["reason"], &letter["key"]),
            ("dead", &json!("unroutable"), &json!({ "_id": { "$numberInt": "1" } }))
        );
        assert_eq!(letter["what"], "the topic shop.nowhere does not exist");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_there_is_not_is_looked_for_again_after_a_while_only() {
        let router = Arc::new(Topics { bytes_max: 2000, ..Topics::default() });
        let policies = Policies { unroutable: OnFault::Skip, ..Policies::default() };
        let stage = stage(Arc::clone(&router), policies);
        let nowhere = [1, 2].map(|i| entry(i, r#""op": "i", "ns": "shop.nowhere", "o": {"_id": 1}"#));
        let skip = || {
            let batch = prepare_on(&stage, &nowhere).unwrap();
            assert_eq!((batch.records.len(), batch.counts.skipped.unroutable), (0, 2));
            router.asked.load(Ordering::Relaxed)
        };
        assert_eq!((skip(), skip()), (1, 1));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(skip(), 2);
    }

    #[test]
    fn contents_that_no_events_have_told_are_marked_or_stop_it() {
        let rename = entry(
            2,
            r#""op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.tmp.agg_out.1", "to": "shop.a"}"#,
        );
        let batch = prepare(&[insert(1), rename.clone()], Policies::default(), usize::MAX).unwrap();
        let records = records(&batch);
        // The temporary collection has no place.
        let found: Vec<_> = records.iter().map(|(topic, _, value)| (*topic, &value["op"])).collect();
        assert_eq!(found, [("shop.a", &json!("insert")), ("shop.a", &json!("rename"))]);
        assert_eq!(records[1].2["replaced"], true);

        let stop = Policies { replaced: OnReplaced::Stop, ..Policies::default() };
        let error = prepare(&[insert(1), rename], stop, usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Replaced);
        let text = error.to_string();
        for words in ["shop.a", "0000000005-0000000002-0000000000", "[on] replaced = \"mark\""] {
            assert!(text.contains(words), "{text}");
        }
    }
}
