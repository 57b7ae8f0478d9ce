//! A transaction of several oplog entries, put together at the last of them: walked back to its first entry, then read forwards, one entry
//! at a time. Pure: says which entry it wants, and takes it.
//!
//! So nothing has to be remembered while a transaction is open, a restart may happen anywhere, and the memory that it takes is that of one
//! entry, whatever its size. Positions are those of the last entry, with ordinals that run through all of them.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::chunks::{Chunks, Elements};
use super::cut::{count, is_piece};
use super::entry::{Entry, Head, OpTime};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Mark, Position, Txn};
use crate::source::{Chunk, Problem};

/// A transaction whose last entry has been met.
#[derive(Debug)]
pub struct Chain {
    bytes: Bytes,
    /// The last entry, in these bytes.
    entry: Range<usize>,
    head: Head,
    /// Whether that is the commit of a prepared transaction: then it holds no operations itself.
    commits: bool,
    /// Without the number of its operations.
    transaction: Option<Txn>,
    /// The number of operations, which the last entry, or the one that prepares, says where there are several.
    count: Option<u32>,
    /// Up to here it has been published before.
    done: Option<Position>,
    chunk_ops: usize,
    /// The next entry on the way back.
    back: Option<OpTime>,
    /// The entries that were found on it, the newest first; those that were read are gone.
    pieces: Vec<OpTime>,
    /// Whether there is no such entry, so that it is no chain at all.
    alone: bool,
    /// The ordinal of the next operation.
    next: u32,
}

/// What a chain has to see next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This entry, for [`Chain::walk`]: its operations don't matter.
    Head(OpTime),
    /// This entry, for [`Chain::piece`].
    Piece(OpTime),
    /// Nothing more: [`Chain::finish`].
    End,
}

/// The fields of an entry that [`Chain::walk`] looks at.
pub(super) const HEAD_FIELDS: [&str; 6] = ["ts", "t", "prevOpTime", "o.partialTxn", "o.prepare", "o.count"];

impl Chain {
    pub(super) fn new(
        bytes: &Bytes,
        range: Range<usize>,
        entry: &Entry<'_>,
        previous: OpTime,
        done: Option<Position>,
        chunk_ops: usize,
    ) -> Self {
        Self {
            bytes: bytes.clone(),
            entry: range,
            head: entry.head(),
            commits: entry.fields.o.is_some_and(|o| o.get("applyOps").is_none()),
            transaction: entry.transaction(),
            count: entry.fields.o.and_then(counted),
            done,
            chunk_ops,
            back: Some(previous),
            pieces: Vec::new(),
            alone: true,
            next: 0,
        }
    }

    /// What it has to see next.
    pub fn wanted(&self) -> Wanted {
        match (self.back, self.pieces.last()) {
            (Some(link), _) => Wanted::Head(link),
            (None, Some(link)) => Wanted::Piece(*link),
            (None, None) => Wanted::End,
        }
    }

    /// Takes the entry that was wanted on the way back.
    pub fn walk(&mut self, entry: RawDoc<'_>) -> Result<(), Malformed> {
        let Some(link) = self.back.take() else { return Ok(()) };
        let entry = Entry::parse(entry)?;
        check(&entry, link)?;
        // The first predecessor that is no piece is another write of the session: the way ends before it.
        if let Some(o) = entry.fields.o.filter(|o| is_piece(*o)) {
            // Else the way back would have no end, and what is remembered of it no limit.
            if entry.previous.is_some_and(|previous| previous.at >= link.at) {
                return Err(malformed("a part of a transaction that names one which is not before it"));
            }
            self.pieces.push(link);
            self.alone = false;
            self.back = entry.previous;
            self.count = self.count.or_else(|| counted(o));
        }
        Ok(())
    }

    /// Takes the entry that was wanted on the way forwards; gives its operations, those excepted that were done already.
    pub fn piece(&mut self, bytes: &Bytes) -> Result<Vec<Chunk>, Malformed> {
        let Some(link) = self.pieces.last().copied() else { return Ok(Vec::new()) };
        let entry = Entry::parse(RawDoc::new(bytes)?)?;
        check(&entry, link)?;
        let array = entry.fields.o.and_then(|o| o.get("applyOps")).and_then(RawValue::as_array);
        let array = array.ok_or(malformed("a part of a transaction that is no `applyOps`"))?;
        if self.count.is_none() && self.commits && self.pieces.len() == 1 && self.next == 0 {
            // A transaction that was prepared with one entry.
            self.count = Some(count(array)?);
        }
        self.pieces.pop();
        let mut chunks = Chunks::new(bytes, self.chunk_ops);
        self.elements(&mut chunks, array, Some(link.at))?;
        Ok(chunks.finish())
    }

    /// The operations of the last entry itself, and the end.
    pub fn finish(mut self) -> Result<Vec<Chunk>, Malformed> {
        let bytes = self.bytes.clone();
        let entry = Entry::parse(RawDoc::new(&bytes[self.entry.clone()])?)?;
        let mut chunks = Chunks::new(&bytes, self.chunk_ops);
        let own = entry.fields.o.and_then(|o| o.get("applyOps")).and_then(RawValue::as_array);
        if self.commits && self.alone {
            return Ok(self.lost("the commit of a transaction that was not prepared"));
        }
        if let Some(array) = own {
            if self.alone {
                // A retryable write of several operations, which names the one before it in its session.
                self.transaction = None;
            }
            let held_by = (!self.alone).then_some(self.head.at);
            self.elements(&mut chunks, array, held_by)?;
        }
        if self.count.is_some_and(|count| count != self.next) {
            return Err(malformed("a transaction with another number of operations than its end says"));
        }
        self.end(&mut chunks);
        Ok(chunks.finish())
    }

    /// The end of a transaction of which something is missing: one operation that can't be understood.
    pub fn lost(self, why: &'static str) -> Vec<Chunk> {
        let mut chunks = Chunks::new(&self.bytes, self.chunk_ops);
        let at = Position { ordinal: self.next, ..self.head.at };
        if self.done.is_none_or(|done| done < at) {
            chunks.problem(Head { at, ..self.head }, &self.entry, Problem::Unknown(why));
        }
        self.end(&mut chunks);
        chunks.finish()
    }

    fn elements(
        &mut self,
        chunks: &mut Chunks<'_>,
        array: RawDoc<'_>,
        held_by: Option<Position>,
    ) -> Result<(), Malformed> {
        let txn = self.transaction.zip(self.count);
        let txn = txn.map(|(txn, count)| Txn { count, ..txn });
        let elements = Elements { array, first: self.next, txn, held_by };
        let count = chunks.elements(self.head, &elements, self.done)?;
        self.next = self.next.saturating_add(count);
        Ok(())
    }

    /// Behind the whole entry: a tail that begins there need not look at the chain again.
    fn end(&self, chunks: &mut Chunks<'_>) {
        let Head { at, term, wall_ms } = self.head;
        chunks.entry_ends(Mark::Tail { at: Position::behind_entry(at.t, at.i), term }, wall_ms);
    }
}

fn counted(o: RawDoc<'_>) -> Option<u32> {
    u32::try_from(o.get("count")?.as_i64()?).ok()
}

fn check(entry: &Entry<'_>, link: OpTime) -> Result<(), Malformed> {
    let same_term = entry.term.is_none() || link.term.is_none() || entry.term == link.term;
    if entry.at == link.at && same_term {
        return Ok(());
    }
    Err(malformed("a part of a transaction that is not the entry its successor names"))
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { what, offset: 0 }
}

/// The pieces of open transactions, remembered: for entries that can't be read again.
#[derive(Debug, Default)]
pub struct Pieces(HashMap<(u32, u32), Bytes>);

impl Pieces {
    /// Keeps the entry if it is a piece.
    pub fn note(&mut self, entry: &Bytes) {
        let Ok(parsed) = RawDoc::new(entry).and_then(Entry::parse) else { return };
        if parsed.fields.op == b"c"
            && parsed.fields.o.is_some_and(|o| o.get("applyOps").is_some() && is_piece(o))
        {
            self.0.insert(parsed.at.timestamp(), entry.clone());
        }
    }

    /// All chunks of a transaction; what it consists of is forgotten.
    pub fn resolve(&mut self, mut chain: Chain) -> Result<Vec<Chunk>, Malformed> {
        let mut chunks = Vec::new();
        loop {
            let (Wanted::Head(link) | Wanted::Piece(link)) = chain.wanted() else {
                chunks.extend(chain.finish()?);
                return Ok(chunks);
            };
            let Some(entry) = self.0.get(&link.at.timestamp()).cloned() else {
                chunks.extend(chain.lost("a transaction whose earlier entries are missing"));
                return Ok(chunks);
            };
            if matches!(chain.wanted(), Wanted::Head(_)) {
                chain.walk(RawDoc::new(&entry)?)?;
            } else {
                chunks.extend(chain.piece(&entry)?);
                self.0.remove(&link.at.timestamp());
            }
        }
    }
}
