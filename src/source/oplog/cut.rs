//! From a reply of the server to chunks of operations: positions, ordinals, transactions. Pure.

use std::ops::Range;

use bytes::Bytes;

use super::entry::Entry;
use crate::bson::{Malformed, RawDoc};
use crate::event::{Mark, Position, Txn};
use crate::source::{Chunk, Op};

/// A chunk is closed at this size: about a millisecond of encoding, so that no worker is held for long.
const CHUNK_BYTES: usize = 256 * 1024;
/// And at this many operations, however small they are.
const CHUNK_OPS: usize = 1024;

/// Cuts replies. Remembers how far it has come, and drops what is at or before that place: the entry that a resumed tail begins
/// with, and the operations of a transaction that were done already.
#[derive(Debug)]
pub struct Cutter {
    done: Option<Mark>,
    chunk_ops: usize,
}

impl Cutter {
    /// Continues behind `done`; `None` drops nothing.
    pub fn new(done: Option<Mark>) -> Self {
        Self::with_chunks_of(CHUNK_OPS, done)
    }

    /// The same, with another limit on the operations of a chunk.
    pub(crate) fn with_chunks_of(chunk_ops: usize, done: Option<Mark>) -> Self {
        Self { done, chunk_ops }
    }

    /// Everything up to here has been cut.
    pub fn done(&self) -> Option<Mark> {
        self.done
    }

    /// Notes that the source has passed entries that it did not show.
    pub fn pass(&mut self, mark: Mark) {
        if self.done.is_none_or(|done| done.position() < mark.position()) {
            self.done = Some(mark);
        }
    }

    /// Cuts entries that lie in `bytes` one after the other, at `entries`. The last chunk's end is the last entry, whatever it was;
    /// without entries there are no chunks.
    pub fn cut(
        &mut self,
        bytes: &Bytes,
        entries: impl Iterator<Item = Result<Range<usize>, Malformed>>,
    ) -> Result<Vec<Chunk>, Malformed> {
        let mut chunks = Chunks { bytes, chunk_ops: self.chunk_ops, closed: Vec::new(), open: None };
        for range in entries {
            let range = range?;
            let entry = Entry::parse(RawDoc::new(&bytes[range.clone()])?)?;
            let resumed = self.done.filter(|done| done.position().timestamp() == entry.at.timestamp());
            match (self.done, resumed) {
                (Some(done), None) if entry.at < done.position() => continue,
                _ => {}
            }
            let last = chunks.entry(&entry, range, resumed.map(|done| done.position()))?;
            let mark = Mark::Tail { at: last, term: entry.term };
            chunks.entry_ends(mark, entry.wall_ms);
            self.done = Some(mark);
        }
        Ok(chunks.finish())
    }
}

/// What an entry holds.
enum Kind<'a> {
    /// Nothing to publish: a no-op, a piece of an unfinished transaction, an abort.
    Nothing,
    /// One operation: the entry itself.
    Single,
    /// The elements of this array.
    Batch(RawDoc<'a>),
    /// Something that can't be understood.
    Problem(&'static str),
}

fn kind<'a>(entry: &Entry<'a>) -> Kind<'a> {
    if entry.version.is_some_and(|version| version != 2) {
        return Kind::Problem("an oplog entry of an unknown version");
    }
    if entry.op == b"n" {
        return Kind::Nothing;
    }
    if entry.op != b"c" {
        return Kind::Single;
    }
    let Some(o) = entry.o else { return Kind::Problem("a command without `o`") };
    if o.get("abortTransaction").is_some() {
        return Kind::Nothing;
    }
    if o.get("commitTransaction").is_some() {
        return Kind::Problem("the commit of a prepared transaction, which this version can't put together");
    }
    let Some(operations) = o.get("applyOps") else { return Kind::Single };
    let is_true = |name| o.get(name).and_then(crate::bson::RawValue::as_bool) == Some(true);
    if is_true("partialTxn") || is_true("prepare") {
        return Kind::Nothing;
    }
    if entry.previous.is_some() && !entry.is_vectored_insert() {
        return Kind::Problem(
            "the end of a transaction of several oplog entries, which this version can't put together",
        );
    }
    match operations.as_array() {
        Some(operations) => Kind::Batch(operations),
        None => Kind::Problem("an `applyOps` that is not an array"),
    }
}

struct Chunks<'b> {
    bytes: &'b Bytes,
    chunk_ops: usize,
    closed: Vec<Chunk>,
    open: Option<Chunk>,
}

impl Chunks<'_> {
    /// Adds the operations of one entry but those up to `done`; says the position of the last one.
    fn entry(
        &mut self,
        entry: &Entry<'_>,
        range: Range<usize>,
        done: Option<Position>,
    ) -> Result<Position, Malformed> {
        let single = |problem| Op {
            at: entry.at,
            term: entry.term,
            wall_ms: entry.wall_ms,
            doc: range32(&range),
            txn: None,
            problem,
        };
        match kind(entry) {
            Kind::Batch(operations) => return self.batch(entry, operations, done),
            Kind::Single if done.is_none() => self.push(single(None), None),
            Kind::Problem(problem) if done.is_none() => self.push(single(Some(problem)), None),
            Kind::Single | Kind::Problem(_) | Kind::Nothing => {}
        }
        Ok(done.unwrap_or(entry.at))
    }

    fn batch(
        &mut self,
        entry: &Entry<'_>,
        operations: RawDoc<'_>,
        done: Option<Position>,
    ) -> Result<Position, Malformed> {
        let txn = transaction(entry, operations)?;
        let mut at = entry.at;
        for (ordinal, element) in operations.iter().enumerate() {
            at = Position { ordinal: u32::try_from(ordinal).unwrap_or(u32::MAX), ..entry.at };
            if done.is_some_and(|done| at <= done) {
                continue;
            }
            let element = element?;
            let problem =
                element.value.as_doc().is_none().then_some("an element of `applyOps` that is not a document");
            let doc = range32(&within(self.bytes, element.value.as_bytes()));
            let op = Op { at, term: entry.term, wall_ms: entry.wall_ms, doc, txn: None, problem };
            self.push(op, txn);
        }
        Ok(done.map_or(at, |done| at.max(done)))
    }

    fn push(&mut self, mut op: Op, txn: Option<Txn>) {
        let mark = Mark::Tail { at: op.at, term: op.term };
        let chunk = self.open.get_or_insert_with(|| Chunk { bytes: self.bytes.clone(), ..Chunk::idle(mark) });
        if let Some(txn) = txn {
            if chunk.txns.last() != Some(&txn) {
                chunk.txns.push(txn);
            }
            op.txn = u32::try_from(chunk.txns.len() - 1).ok();
        }
        chunk.size += op.doc.len();
        chunk.end = mark;
        chunk.ends_unit = false;
        chunk.wall_ms = chunk.wall_ms.max(op.wall_ms);
        chunk.ops.push(op);
        if chunk.size >= CHUNK_BYTES || chunk.ops.len() >= self.chunk_ops {
            self.closed.extend(self.open.take());
        }
    }

    fn entry_ends(&mut self, mark: Mark, wall_ms: Option<i64>) {
        let bytes = self.bytes;
        let just_closed = self.open.is_none().then(|| self.closed.last_mut()).flatten();
        // The entry's last operation may just have closed a chunk: then that chunk ends the entry.
        let chunk = match just_closed {
            Some(chunk) if chunk.end == mark => chunk,
            _ => self.open.get_or_insert_with(|| Chunk { bytes: bytes.clone(), ..Chunk::idle(mark) }),
        };
        chunk.end = mark;
        chunk.ends_unit = true;
        chunk.entries += 1;
        chunk.wall_ms = chunk.wall_ms.max(wall_ms);
    }

    fn finish(mut self) -> Vec<Chunk> {
        self.closed.extend(self.open.take());
        self.closed
    }
}

/// The transaction of an `applyOps`: one has a session and a number, and is not a retryable write of several operations.
fn transaction(entry: &Entry<'_>, operations: RawDoc<'_>) -> Result<Option<Txn>, Malformed> {
    let (Some(session), Some(number), None | Some(0)) =
        (entry.session, entry.txn_number, entry.multi_op_type)
    else {
        return Ok(None);
    };
    let mut count = 0;
    for element in operations {
        element?;
        count += 1;
    }
    Ok(Some(Txn { session, number, count }))
}

/// Where `part` lies within `whole`, of which it is a slice.
pub(super) fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Replies are far below 4 GiB: the server's messages end at 48 MB.
fn range32(range: &Range<usize>) -> Range<u32> {
    let bound = |offset| u32::try_from(offset).expect("a reply is smaller than 4 GiB");
    bound(range.start)..bound(range.end)
}
