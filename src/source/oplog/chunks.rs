//! Collecting operations into chunks that share one buffer.

use std::ops::Range;

use bytes::Bytes;

use super::entry::Head;
use super::fields::{Fields, Layout};
use crate::bson::{Malformed, RawDoc};
use crate::event::{Mark, Position, Txn};
use crate::source::{Chunk, Op, Problem};

/// A chunk is closed at this size: about a millisecond of encoding, so that no worker is held for long.
const CHUNK_BYTES: usize = 256 * 1024;
/// And at this many operations, however small they are.
pub(super) const CHUNK_OPS: usize = 1024;

const NO_DOCUMENT: Problem = Problem::Unknown("an element of `applyOps` that is not a document");

/// Chunks over one buffer.
pub(super) struct Chunks<'b> {
    bytes: &'b Bytes,
    chunk_ops: usize,
    closed: Vec<Chunk>,
    open: Option<Chunk>,
}

/// The elements of an `applyOps`.
pub(super) struct Elements<'a> {
    pub(super) array: RawDoc<'a>,
    /// The ordinal of the first one.
    pub(super) first: u32,
    pub(super) txn: Option<Txn>,
    /// The entry that holds them, where they belong to a transaction of several entries.
    pub(super) held_by: Option<Position>,
}

impl<'b> Chunks<'b> {
    pub(super) fn new(bytes: &'b Bytes, chunk_ops: usize) -> Self {
        Self { bytes, chunk_ops, closed: Vec::new(), open: None }
    }

    /// Adds an entry that is one operation.
    pub(super) fn single(&mut self, head: Head, range: &Range<usize>, fields: &Fields<'_>) {
        let layout = Some(Layout::of(fields, self.bytes));
        self.push(Op { layout, ..head.op(range) }, None);
    }

    /// Adds an entry that can't be understood as a whole.
    pub(super) fn problem(&mut self, head: Head, range: &Range<usize>, problem: Problem) {
        self.push(Op { problem: Some(problem), ..head.op(range) }, None);
    }

    /// Adds the elements of an `applyOps` but those up to `done`; says how many there are.
    pub(super) fn elements(
        &mut self,
        head: Head,
        elements: &Elements<'_>,
        done: Option<Position>,
    ) -> Result<u32, Malformed> {
        let mut count = 0;
        for element in elements.array {
            let at = Position { ordinal: elements.first.saturating_add(count), ..head.at };
            let piece = elements.held_by.map(|entry| Position { ordinal: count, ..entry });
            count = count.saturating_add(1);
            let element = element?;
            if done.is_some_and(|done| at <= done) {
                continue;
            }
            let problem = element.value.as_doc().is_none().then_some(NO_DOCUMENT);
            let range = within(self.bytes, element.value.as_bytes());
            self.push(Op { at, piece, problem, ..head.op(&range) }, elements.txn);
        }
        Ok(count)
    }

    fn push(&mut self, mut op: Op, txn: Option<Txn>) {
        let mark = Mark::Tail { at: op.at, term: op.term };
        // As many as in the chunk before, as a rule.
        let room = self.closed.last().map_or(0, |chunk| chunk.ops.len() + 8);
        let chunk = self.open.get_or_insert_with(|| Chunk {
            bytes: self.bytes.clone(),
            ops: Vec::with_capacity(room),
            ..Chunk::idle(mark)
        });
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

    /// An entry, and with it a transaction, ends at `mark`.
    pub(super) fn entry_ends(&mut self, mark: Mark, wall_ms: Option<i64>) {
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

    /// Hands over what was collected so far.
    pub(super) fn finish(&mut self) -> Vec<Chunk> {
        self.closed.extend(self.open.take());
        std::mem::take(&mut self.closed)
    }
}

/// Where `part` lies within `whole`, of which it is a slice.
pub(super) fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Replies are far below 4 GiB: the server's messages end at 48 MB.
pub(super) fn range32(range: &Range<usize>) -> Range<u32> {
    let bound = |offset| u32::try_from(offset).expect("a reply is smaller than 4 GiB");
    bound(range.start)..bound(range.end)
}
