//! From a reply of the server to chunks of operations: positions, ordinals, transactions. Pure.

use std::ops::Range;

use bytes::Bytes;

use super::chain::Chain;
use super::chunks::{CHUNK_OPS, Chunks, Elements};
use super::entry::{Entry, OpTime};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Mark, Position, Txn};
use crate::source::Chunk;

/// Cuts replies. Remembers how far it has come, and drops what is at or before that place: the entry that a resumed tail begins
/// with, and the operations of a transaction that were done already.
#[derive(Debug)]
pub struct Cutter {
    done: Option<Mark>,
    chunk_ops: usize,
}

/// What comes next, in order.
#[derive(Debug)]
pub enum Cut {
    /// Operations.
    Chunk(Chunk),
    /// The end of a transaction, whose other entries have to be read again.
    Chain(Box<Chain>),
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

    /// Cuts entries that lie in `bytes` one after the other, at `entries`. The last one's end is the last entry, whatever it was;
    /// without entries there is nothing.
    pub fn cut(
        &mut self,
        bytes: &Bytes,
        entries: impl Iterator<Item = Result<Range<usize>, Malformed>>,
    ) -> Result<Vec<Cut>, Malformed> {
        let mut cuts = Vec::new();
        let mut chunks = Chunks::new(bytes, self.chunk_ops);
        for range in entries {
            let range = range?;
            let entry = Entry::parse(RawDoc::new(&bytes[range.clone()])?)?;
            let resumed = self.done.filter(|done| done.position().timestamp() == entry.at.timestamp());
            match (self.done, resumed) {
                (Some(done), None) if entry.at < done.position() => continue,
                _ => {}
            }
            let done = resumed.map(|done| done.position());
            let last = match kind(&entry) {
                Kind::Chain { previous, .. } if done.is_none_or(|done| done.ordinal < u32::MAX) => {
                    cuts.extend(chunks.finish().into_iter().map(Cut::Chunk));
                    let chain = Chain::new(bytes, range, &entry, previous, done, self.chunk_ops);
                    cuts.push(Cut::Chain(Box::new(chain)));
                    self.done = Some(Mark::Tail {
                        at: Position::behind_entry(entry.at.t, entry.at.i),
                        term: entry.term,
                    });
                    continue;
                }
                kind => add(&mut chunks, &entry, &kind, &range, done)?,
            };
            let mark = Mark::Tail { at: last, term: entry.term };
            chunks.entry_ends(mark, entry.wall_ms);
            self.done = Some(mark);
        }
        cuts.extend(chunks.finish().into_iter().map(Cut::Chunk));
        Ok(cuts)
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
    /// What stands in the entries before it, and in its own array if it has one.
    Chain { previous: OpTime },
    /// Something that can't be understood.
    Problem(&'static str),
}

fn kind<'a>(entry: &Entry<'a>) -> Kind<'a> {
    if entry.version.is_some_and(|version| version != 2) {
        return Kind::Problem("an oplog entry of an unknown version");
    }
    if entry.fields.op == b"n" {
        return Kind::Nothing;
    }
    if entry.fields.op != b"c" {
        return Kind::Single;
    }
    let Some(o) = entry.fields.o else { return Kind::Problem("a command without `o`") };
    if o.get("abortTransaction").is_some() {
        return Kind::Nothing;
    }
    if o.get("commitTransaction").is_some() {
        return match entry.previous {
            Some(previous) => Kind::Chain { previous },
            None => Kind::Problem("the commit of a prepared transaction that does not say where that is"),
        };
    }
    let Some(operations) = o.get("applyOps") else { return Kind::Single };
    if entry.multi_op_type.is_some_and(|kind| !(0..=2).contains(&kind)) {
        return Kind::Problem("an `applyOps` of an unknown `multiOpType`");
    }
    if is_piece(o) {
        return Kind::Nothing;
    }
    match (operations.as_array(), entry.previous) {
        (None, _) => Kind::Problem("an `applyOps` that is not an array"),
        // A retryable vectored insert names the entry before it in its session: that is no chain.
        (Some(_), Some(previous)) if entry.multi_op_type != Some(1) => Kind::Chain { previous },
        (Some(operations), _) => Kind::Batch(operations),
    }
}

/// Whether an `applyOps` is only a part of something: published when the end comes.
pub(super) fn is_piece(o: RawDoc<'_>) -> bool {
    let is_true = |name| o.get(name).and_then(RawValue::as_bool) == Some(true);
    is_true("partialTxn") || is_true("prepare")
}

/// Adds the operations of one entry but those up to `done`; says the position of the last one.
fn add(
    chunks: &mut Chunks<'_>,
    entry: &Entry<'_>,
    kind: &Kind<'_>,
    range: &Range<usize>,
    done: Option<Position>,
) -> Result<Position, Malformed> {
    match kind {
        Kind::Batch(array) => {
            let elements =
                Elements { array: *array, first: 0, txn: transaction(entry, *array)?, held_by: None };
            let count = chunks.elements(entry.head(), &elements, done)?;
            let last = Position { ordinal: count.saturating_sub(1), ..entry.at };
            return Ok(done.map_or(last, |done| last.max(done)));
        }
        Kind::Single if done.is_none() => chunks.single(entry.head(), range, &entry.fields),
        Kind::Problem(problem) if done.is_none() => chunks.problem(entry.head(), range, problem),
        Kind::Single | Kind::Problem(_) | Kind::Nothing | Kind::Chain { .. } => {}
    }
    Ok(done.unwrap_or(entry.at))
}

/// The transaction of an `applyOps` that stands alone: one has a session and a number, and is not a retryable write of several
/// operations.
fn transaction(entry: &Entry<'_>, operations: RawDoc<'_>) -> Result<Option<Txn>, Malformed> {
    let Some(txn) = entry.transaction() else { return Ok(None) };
    Ok(Some(Txn { count: count(operations)?, ..txn }))
}

/// The number of an array's elements.
pub(super) fn count(array: RawDoc<'_>) -> Result<u32, Malformed> {
    let mut count = 0_u32;
    for element in array {
        element?;
        count = count.saturating_add(1);
    }
    Ok(count)
}
