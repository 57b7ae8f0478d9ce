//! Records: what a sink sends, as ranges of one buffer.

use std::ops::Range;
use std::sync::Arc;

use super::header::Header;
use super::name::murmur2;
use crate::event::{ChangeEvent, Key, Position};

/// Where the events of a namespace go: found once, on first sight of the namespace.
#[derive(Debug)]
pub struct Route {
    /// The topic, or the subject where it is the same for all events; for messages to people.
    pub name: String,
    /// How a single record finds its place there.
    pub addressing: Addressing,
    /// The largest record, key and value and header together, that the sink takes; in bytes.
    pub bytes_max: usize,
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
    /// The token of the document's `_id`; `_` for an event without document.
    Id,
    /// The event's `op`.
    Op,
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
}

impl RecordWriter {
    /// A writer with room for about that many bytes and records.
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        Self { out: Encoded { bytes: Vec::with_capacity(bytes), records: Vec::with_capacity(records) } }
    }

    /// Begins a record of `event`: writes its header and its subject. Dropped without [`RecordInProgress::finish`] it leaves nothing.
    pub fn begin<'w>(&'w mut self, event: &ChangeEvent<'_>, route: &Arc<Route>) -> RecordInProgress<'w> {
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
            route: Arc::clone(route),
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

/// A record that is being written: first the key, then the value.
#[derive(Debug)]
pub struct RecordInProgress<'w> {
    writer: &'w mut RecordWriter,
    route: Arc<Route>,
    at: Position,
    start: usize,
    header: Range<u32>,
    to: To,
    key: Range<u32>,
    value: Option<Range<u32>>,
    /// Whether the key picks the partition.
    spread: bool,
    done: bool,
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

    /// Adds the record to the batch.
    pub fn finish(mut self) {
        if let (Addressing::Partitions(count), true) = (&self.route.addressing, self.spread) {
            let key = &self.writer.out.bytes[self.key.start as usize..self.key.end as usize];
            self.to = To::Partition(partition(key, *count));
        }
        self.writer.out.records.push(Record {
            route: Arc::clone(&self.route),
            to: self.to.clone(),
            header: self.header.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            at: self.at,
        });
        self.done = true;
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
            SubjectPart::Id => match event.change.key().and_then(Key::id) {
                Some(id) => super::name::write_id_token(out, id),
                None => out.push(b'_'),
            },
        }
    }
    range(start, out.len())
}

/// A batch holds at most a few chunks' worth of text: `u32` is enough, and `stage` ends a batch long before.
fn range(start: usize, end: usize) -> Range<u32> {
    let bound = |offset: usize| u32::try_from(offset).expect("a batch stays far below 4 GiB");
    bound(start)..bound(end)
}
