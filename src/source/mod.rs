//! Where changes come from: chunks of operations, in the order of the source's history.

pub mod client;
mod collations;
pub mod images;
pub mod namespaces;
pub mod oplog;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::bson::Malformed;
use crate::error::Error;
use crate::event::{Mark, Position, Txn};

pub use collations::Collations;
pub use images::Attached;
pub use namespaces::Namespaces;

/// A history of changes that can be read from a place on.
pub trait Source: Send + Sync {
    /// Opens the history behind `from`, after having verified that it still reaches back that far: else the error says that the
    /// position is lost. The stream yields chunks in order, an empty one on every idle reply; it never ends by itself.
    fn open(&self, from: Resume) -> BoxFuture<'_, Result<ChunkStream, Error>>;
}

/// An open history.
pub type ChunkStream = BoxStream<'static, Result<Chunk, Error>>;

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Behind what is majority-committed now.
    Now,
    /// With the oldest entry there is.
    Earliest,
    /// Behind that place.
    After(Mark),
    /// With the first entry at or behind that time, which need not be that of an entry.
    From(Position),
}

/// Operations that lie in one buffer, and how far one has come with them.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The buffer: a whole reply of the server, shared by its chunks.
    pub bytes: Bytes,
    /// The operations.
    pub ops: Vec<Op>,
    /// The transactions they belong to.
    pub txns: Vec<Txn>,
    /// With this chunk done, everything is done up to here; entries without operations count.
    pub end: Mark,
    /// Whether `end` is the end of an entry and of a transaction.
    pub ends_unit: bool,
    /// Bytes that its operations take.
    pub size: usize,
    /// Entries that end in this chunk.
    pub entries: u32,
    /// The newest wall clock of its entries, in milliseconds since 1970.
    pub wall_ms: Option<i64>,
    /// Whole documents that its operations don't carry, where events shall have them.
    pub images: Option<Arc<Attached>>,
}

/// One operation: a plain entry, or an element of an `applyOps`.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its position.
    pub at: Position,
    /// The election term of its entry.
    pub term: Option<i64>,
    /// The wall clock of its entry, in milliseconds since 1970.
    pub wall_ms: Option<i64>,
    /// Its document in the chunk's bytes.
    pub doc: Range<u32>,
    /// Where its fields are, if it is an entry and was walked already.
    pub layout: Option<oplog::Layout>,
    /// Its transaction's place in the chunk's list.
    pub txn: Option<u32>,
    /// Where it stands itself, if its transaction has several entries: the entry that holds it, and its index there.
    pub piece: Option<Position>,
    /// Set where the entry as a whole can't be understood.
    pub problem: Option<Problem>,
}

/// Why an entry as a whole can't become events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is sound, and nothing that is known.
    Unknown(&'static str),
    /// Its bytes are damaged.
    Damaged(Malformed),
}

impl Chunk {
    /// A chunk without operations, which only says how far the source has come.
    pub fn idle(end: Mark) -> Self {
        Self {
            bytes: Bytes::new(),
            ops: Vec::new(),
            txns: Vec::new(),
            end,
            ends_unit: true,
            size: 0,
            entries: 0,
            wall_ms: None,
            images: None,
        }
    }

    /// Cuts it behind that many operations; gives what is left, if there is more. What ends with the chunk ends with that.
    pub(crate) fn split_off(&mut self, operations: usize) -> Option<Self> {
        let last = self.ops.get(operations.checked_sub(1)?)?;
        let end = Mark::Tail { at: last.at, term: last.term };
        if operations == self.ops.len() {
            return None;
        }
        let ops = self.ops.split_off(operations);
        let size = ops.iter().map(|op| op.doc.len()).sum();
        let rest =
            Self { bytes: self.bytes.clone(), ops, txns: self.txns.clone(), size, images: None, ..*self };
        self.end = end;
        self.ends_unit = false;
        self.size = self.size.saturating_sub(size);
        self.entries = 0;
        self.wall_ms = self.ops.iter().filter_map(|op| op.wall_ms).max();
        Some(rest)
    }

    /// About how many bytes it takes, with all that it wants.
    pub fn weight(&self) -> usize {
        self.size + self.images.as_ref().map_or(0, |images| images.size())
    }

    /// The bytes of one of its operations.
    pub fn document(&self, op: &Op) -> &[u8] {
        &self.bytes[op.doc.start as usize..op.doc.end as usize]
    }
}
