//! From a reply of the server to chunks of operations: positions, ordinals, transactions. Pure.

use std::ops::Range;

use bytes::Bytes;

use super::chain::Chain;
use super::chunks::{CHUNK_OPS, Chunks, Elements};
use super::entry::{Entry, OpTime};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Mark, Position, Txn};
use crate::source::{Chunk, Problem};

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
            let (entry, kind) = read(RawDoc::new(&bytes[range.clone()])?)?;
            let resumed = self.done.filter(|done| done.position().timestamp() == entry.at.timestamp());
            match (self.done, resumed) {
                (Some(done), None) if entry.at < done.position() => continue,
                _ => {}
            }
            let done = resumed.map(|done| done.position());
            let last = match kind {
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
    /// The elements of this array, which are so many.
    Batch(RawDoc<'a>, u32),
    /// What stands in the entries before it, and in its own array if it has one.
    Chain { previous: OpTime },
    /// Something that can't be understood.
    Problem(Problem),
}

/// Reads an entry as far as that is possible. One that is damaged is a problem in its place, if it still says which place that is.
fn read(doc: RawDoc<'_>) -> Result<(Entry<'_>, Kind<'_>), Malformed> {
    let damaged = |entry, error| (entry, Kind::Problem(Problem::Damaged(error)));
    match Entry::parse(doc) {
        Ok(entry) => Ok(match kind(&entry) {
            Ok(kind) => (entry, kind),
            Err(error) => damaged(entry, error),
        }),
        Err(error) => Entry::up_to_damage(doc).map(|entry| damaged(entry, error)).ok_or(error),
    }
}

fn kind<'a>(entry: &Entry<'a>) -> Result<Kind<'a>, Malformed> {
    let unknown = |what| Ok(Kind::Problem(Problem::Unknown(what)));
    if entry.version.is_some_and(|version| version != 2) {
        return unknown("an oplog entry of an unknown version");
    }
    if entry.fields.op == b"n" {
        return Ok(Kind::Nothing);
    }
    if entry.fields.op != b"c" {
        return Ok(Kind::Single);
    }
    let Some(o) = entry.fields.o else { return unknown("a command without `o`") };
    // A command is told by its names, so all of them have to be readable.
    count(o)?;
    if o.get("abortTransaction").is_some() {
        return Ok(Kind::Nothing);
    }
    if o.get("commitTransaction").is_some() {
        return match entry.previous {
            Some(previous) => Ok(Kind::Chain { previous }),
            None => unknown("the commit of a prepared transaction that does not say where that is"),
        };
    }
    let Some(operations) = o.get("applyOps") else { return Ok(Kind::Single) };
    if entry.multi_op_type.is_some_and(|kind| !(0..=2).contains(&kind)) {
        return unknown("an `applyOps` of an unknown `multiOpType`");
    }
    if is_piece(o) {
        return Ok(Kind::Nothing);
    }
    let Some(array) = operations.as_array() else { return unknown("an `applyOps` that is not an array") };
    let count = count(array)?;
    Ok(match entry.previous {
        // A retryable vectored insert names the entry before it in its session: that is no chain.
        Some(previous) if entry.multi_op_type != Some(1) => Kind::Chain { previous },
        _ => Kind::Batch(array, count),
    })
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
        Kind::Batch(array, count) => {
            // An `applyOps` that stands alone is a transaction if it has a session and a number, and is not a retryable write of several
            // operations.
            let txn = entry.transaction().map(|txn| Txn { count: *count, ..txn });
            let elements = Elements { array: *array, first: 0, txn, held_by: None };
            let count = chunks.elements(entry.head(), &elements, done)?;
            let last = Position { ordinal: count.saturating_sub(1), ..entry.at };
            return Ok(done.map_or(last, |done| last.max(done)));
        }
        Kind::Single if done.is_none() => chunks.single(entry.head(), range, &entry.fields),
        Kind::Problem(problem) if done.is_none() => chunks.problem(entry.head(), range, *problem),
        Kind::Single | Kind::Problem(_) | Kind::Nothing | Kind::Chain { .. } => {}
    }
    Ok(done.unwrap_or(entry.at))
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
