//! Records: what a sink sends, as ranges of one buffer.

use std::ops::Range;
use std::sync::Arc;

use super::header::{Header, position_in, write_position};
use super::memo::Memo;
use super::name::murmur2;
use crate::event::{Change, ChangeEvent, Key, Position};

/// Where the events of a namespace go: found once, on first sight of the namespace.
#[derive(Debug)]
pub struct Route {
    /// The topic, or the subject where it is the same for all events; for messages to people.
    pub name: String,
    /// How a single record finds its place there.
    pub addressing: Addressing,
    /// The largest record, key and value and header together, that the sink takes; in bytes.
    pub bytes_max: usize,
    /// Whether a delete is followed by a tombstone: a record with the same key and no value.
    pub tombstones: bool,
    /// Whether nothing is kept there before a document's last event: then an update without the whole document can't be published.
    pub whole_documents: bool,
}

impl Route {
    /// A route that keeps every event and takes records of any size.
    pub fn new(name: impl Into<String>, addressing: Addressing) -> Self {
        Self {
            name: name.into(),
            addressing,
            bytes_max: usize::MAX,
            tombstones: false,
            whole_documents: false,
        }
    }
}

/// How a record finds its place on a route.
#[derive(Debug)]
pub enum Addressing {
    /// One line after the other.
    Lines,
    /// By the murmur2 hash of the key, as Kafka's Java client does; commands and watermarks go to every partition.
    Partitions(u32),
    /// By a NATS subject.
    Subject(Vec<SubjectPart>),
}

/// A part of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectPart {
    /// The same for every event of the route.
    Literal(String),
    /// The token of the document's `_id`; for an event without document `_` and its `op`, which no `_id` has as its token.
    Id,
    /// The event's `op`.
    Op,
    /// The event's position.
    Position,
}

/// A record's place on its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The next line.
    Line,
    /// That partition.
    Partition(i32),
    /// Every partition.
    Every,
    /// The subject in that range of the batch's bytes.
    Subject(Range<u32>),
}

/// One record, as ranges of its batch's bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// Topic or subject.
    pub route: Arc<Route>,
    /// Its place there.
    pub to: To,
    /// The value of the header [`Header::NAME`].
    pub header: Range<u32>,
    /// The key.
    pub key: Range<u32>,
    /// The value; none is a tombstone.
    pub value: Option<Range<u32>>,
    /// The event's position.
    pub at: Position,
    /// Whether it says that the document of its key is gone.
    pub deletes: bool,
    /// Whether it is a namespace's manifest, which a sink leaves out where it says what the last one has said.
    pub is_manifest: bool,
}

/// The records of a batch and the buffer that they lie in.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Headers, subjects, keys and values, one after the other.
    pub bytes: Vec<u8>,
    /// The records, in the order of their events.
    pub records: Vec<Record>,
}

/// Collects records. Used by encoders, one event after the other.
#[derive(Debug, Default)]
pub struct RecordWriter {
    out: Encoded,
    memo: Memo,
    pub(super) scratch: Scratch,
}

/// A place in what was collected.
#[derive(Clone, Copy, Debug)]
pub struct WriterMark {
    bytes: usize,
    records: usize,
}

/// Working space of encoders that make a document before they write it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) document: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) path: Vec<u8>,
}

impl RecordWriter {
    /// A writer with room for about that many bytes and records.
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        let out = Encoded { bytes: Vec::with_capacity(bytes), records: Vec::with_capacity(records) };
        Self { out, ..Self::default() }
    }

    /// Begins a record of `event`: writes its header and its subject. Dropped without [`RecordInProgress::finish`] it leaves nothing.
    pub fn begin<'w>(&'w mut self, event: &ChangeEvent<'_>, route: &'w Arc<Route>) -> RecordInProgress<'w> {
        let start = self.out.bytes.len();
        Header::write(&mut self.out.bytes, event.at, event.term, event.source);
        let header = range(start, self.out.bytes.len());
        let to = match &route.addressing {
            Addressing::Lines => To::Line,
            Addressing::Partitions(_) => To::Every,
            Addressing::Subject(parts) => To::Subject(write_subject(&mut self.out.bytes, parts, event)),
        };
        let key = self.out.bytes.len();
        RecordInProgress {
            spread: event.change.is_document(),
            says: if matches!(event.change, Change::Delete { .. }) { Says::Gone } else { Says::Event },
            route,
            at: event.at,
            start,
            header,
            to,
            key: range(key, key),
            value: None,
            writer: self,
            done: false,
        }
    }

    /// Repeats the last record without its value: by that a compacted topic forgets the key.
    pub fn tombstone(&mut self) {
        if let Some(last) = self.out.records.last().cloned() {
            self.out.records.push(Record { value: None, ..last });
        }
    }

    /// Where it stands, for [`RecordWriter::rewind`].
    pub fn mark(&self) -> WriterMark {
        WriterMark { bytes: self.out.bytes.len(), records: self.out.records.len() }
    }

    /// Forgets everything behind a mark.
    pub fn rewind(&mut self, mark: WriterMark) {
        self.out.bytes.truncate(mark.bytes);
        self.out.records.truncate(mark.records);
        self.memo.forget();
    }

    /// The bytes behind a mark.
    pub fn size_since(&self, mark: WriterMark) -> usize {
        self.out.bytes.len() - mark.bytes
    }

    /// What was collected.
    pub fn finish(self) -> Encoded {
        self.out
    }

    /// The number of bytes collected so far.
    pub fn len(&self) -> usize {
        self.out.bytes.len()
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.out.records.is_empty()
    }
}

/// What stands in the buffer before a record's value, and may be copied into it.
#[derive(Debug)]
pub(super) struct Before<'w> {
    /// The text of the event's position.
    pub(super) position: Range<usize>,
    /// The record's key.
    pub(super) key: Range<usize>,
    /// What events of the batch have in common.
    pub(super) memo: &'w mut Memo,
}

/// A record that is being written: first the key, then the value.
#[derive(Debug)]
pub struct RecordInProgress<'w> {
    writer: &'w mut RecordWriter,
    route: &'w Arc<Route>,
    at: Position,
    says: Says,
    start: usize,
    header: Range<u32>,
    to: To,
    key: Range<u32>,
    value: Option<Range<u32>>,
    /// Whether the key picks the partition.
    spread: bool,
    done: bool,
}

/// What a record says, where a sink must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Event,
    /// The document is gone.
    Gone,
    Manifest,
}

impl RecordInProgress<'_> {
    /// Writes the key with `write`, which appends to the buffer.
    pub fn key<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.key = self.append(write)?;
        Ok(())
    }

    /// Writes the value with `write`; without this call the record is a tombstone.
    pub fn value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.value = Some(self.append(write)?);
        Ok(())
    }

    /// Lets the key pick the partition, as a document's does.
    pub(super) fn spread_by_key(mut self) -> Self {
        self.spread = true;
        self
    }

    /// Says that it is a manifest.
    pub(super) fn manifest(mut self) -> Self {
        self.says = Says::Manifest;
        self.spread_by_key()
    }

    /// Adds the record to the batch.
    pub fn finish(mut self) {
        if let (Addressing::Partitions(count), true) = (&self.route.addressing, self.spread) {
            let key = &self.writer.out.bytes[self.key.start as usize..self.key.end as usize];
            self.to = To::Partition(partition(key, *count));
        }
        self.writer.out.records.push(Record {
            route: Arc::clone(self.route),
            to: self.to.clone(),
            header: self.header.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            at: self.at,
            deletes: self.says == Says::Gone,
            is_manifest: self.says == Says::Manifest,
        });
        self.done = true;
    }

    /// The same, for a value that repeats what the record, or the one before it, has already.
    pub(super) fn value_from<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, Before<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = |range: &Range<u32>| range.start as usize..range.end as usize;
        let (position, key) = (position_in(place(&self.header)), place(&self.key));
        let RecordWriter { out, memo, .. } = &mut *self.writer;
        let start = out.bytes.len();
        write(&mut out.bytes, Before { position, key, memo })?;
        self.value = Some(range(start, out.bytes.len()));
        Ok(())
    }

    fn append<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Range<u32>, E> {
        let start = self.writer.out.bytes.len();
        write(&mut self.writer.out.bytes)?;
        Ok(range(start, self.writer.out.bytes.len()))
    }
}

impl Drop for RecordInProgress<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.writer.out.bytes.truncate(self.start);
            self.writer.memo.forget();
        }
    }
}

/// The partition that Kafka's Java client picks for a key.
fn partition(key: &[u8], count: u32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive % count.max(1)).unwrap_or(0)
}

fn write_subject(out: &mut Vec<u8>, parts: &[SubjectPart], event: &ChangeEvent<'_>) -> Range<u32> {
    let start = out.len();
    for part in parts {
        match part {
            SubjectPart::Literal(text) => out.extend_from_slice(text.as_bytes()),
            SubjectPart::Op => out.extend_from_slice(event.change.name().as_bytes()),
            SubjectPart::Position => write_position(out, event.at),
            SubjectPart::Id => {
                if let Some(id) = event.change.key().and_then(Key::id) {
                    super::name::write_id_token(out, id);
                } else {
                    out.push(b'_');
                    out.extend_from_slice(event.change.name().as_bytes());
                }
            }
        }
    }
    range(start, out.len())
}

/// A batch holds at most a few chunks' worth of text: `u32` is enough, and `stage` ends a batch long before.
fn range(start: usize, end: usize) -> Range<u32> {
    let bound = |offset: usize| u32::try_from(offset).expect("a batch stays far below 4 GiB");
    bound(start)..bound(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::RawDoc;
    use crate::bson::extjson::parse;
    use crate::event::{Images, Namespace};

    fn event(change: Change<'_>) -> ChangeEvent<'_> {
        ChangeEvent {
            at: Position { t: 5, i: 6, ordinal: 7 },
            term: None,
            wall_ms: None,
            ns: Namespace { db: "db", coll: "c" },
            collection_id: None,
            change,
            images: Images::default(),
            txn: None,
            source: "rs0",
        }
    }

    fn route(addressing: Addressing) -> Arc<Route> {
        Arc::new(Route { bytes_max: 1000, ..Route::new("route", addressing) })
    }

    fn write(
        out: &mut RecordWriter,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        key: &[u8],
        value: Option<&[u8]>,
    ) {
        let append = |text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(text);
            Ok::<(), ()>(())
        };
        let mut record = out.begin(event, route);
        record.key(|out| append(key, out)).unwrap();
        if let Some(value) = value {
            record.value(|out| append(value, out)).unwrap();
        }
        record.finish();
    }

    #[test]
    fn a_records_parts_lie_in_one_buffer_and_a_tombstone_has_no_value() {
        let key = parse(r#"{"_id":"a b"}"#).unwrap();
        let delete = event(Change::Delete { key: Key::Document(RawDoc::new(&key).unwrap()) });
        let subject = route(Addressing::Subject(vec![
            SubjectPart::Literal("p.db.".into()),
            SubjectPart::Id,
            SubjectPart::Literal(".".into()),
            SubjectPart::Op,
        ]));
        let mut writer = RecordWriter::with_capacity(100, 2);
        assert!(writer.is_empty());
        write(&mut writer, &delete, &subject, b"key", Some(b"value"));
        write(&mut writer, &event(Change::Watermark), &subject, b"", None);
        let length = writer.len();
        let Encoded { bytes, records } = writer.finish();
        assert_eq!(length, bytes.len());
        let text = |range: &Range<u32>| {
            std::str::from_utf8(&bytes[range.start as usize..range.end as usize]).unwrap()
        };
        let subjects: Vec<&str> = records
            .iter()
            .map(|record| match &record.to {
                To::Subject(range) => text(range),
                to => panic!("{to:?}"),
            })
            .collect();
        assert_eq!(subjects, ["p.db.s=a=20b.delete", "p.db._watermark.watermark"]);
        assert_eq!(
            (text(&records[0].header), text(&records[0].key)),
            ("v1 0000000005-0000000006-0000000007 - rs0", "key")
        );
        assert_eq!(records[0].value.as_ref().map(text), Some("value"));
        assert_eq!(records[1].value, None);
        assert_eq!((records[0].deletes, records[1].deletes), (true, false));
    }

    #[test]
    fn the_key_picks_the_partition_as_kafkas_java_client_does() {
        // 479470107 % 12, and -790332482 without its sign bit % 12.
        assert_eq!(partition(b"abc", 12), 3);
        assert_eq!(partition(b"foobar", 12), 6);
        assert_eq!(partition(b"abc", 0), 0);
    }

    #[test]
    fn a_record_that_is_not_finished_leaves_nothing() {
        let mut writer = RecordWriter::default();
        let lines = route(Addressing::Lines);
        write(&mut writer, &event(Change::Watermark), &lines, b"k", Some(b"v"));
        let before = writer.len();
        let mut record = writer.begin(&event(Change::Watermark), &lines);
        record
            .key(|out| {
                out.push(1);
                Err(())
            })
            .unwrap_err();
        drop(record);
        assert_eq!(writer.len(), before);
        let records = writer.finish().records;
        assert_eq!((records.len(), &records[0].to), (1, &To::Line));
    }
}
