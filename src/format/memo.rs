//! Text that events of one batch have in common: written once, then copied within the batch's buffer.

use std::ops::Range;

use crate::event::{ChangeEvent, Namespace, Txn};

/// Where it was written last. Belongs to one buffer.
#[derive(Debug, Default)]
pub(super) struct Memo {
    op: &'static str,
    db: String,
    coll: String,
    head: Range<usize>,
    collection_id: Option<[u8; 16]>,
    tail: Range<usize>,
    wall_ms: Option<i64>,
    wall: Range<usize>,
    txn: Option<Txn>,
    txn_id: Range<usize>,
    /// Working space for the paths of an update.
    pub(super) path: Vec<u8>,
}

impl Memo {
    /// The buffer was cut: nothing in it can be relied on.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Text that depends on `op` and namespace alone.
    pub(super) fn head(
        &mut self,
        out: &mut Vec<u8>,
        event: &ChangeEvent<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (op, Namespace { db, coll }) = (event.change.name(), event.ns);
        if !self.head.is_empty() && self.op == op && self.coll == coll && self.db == db {
            return out.extend_from_within(self.head.clone());
        }
        self.head = written(out, write);
        self.op = op;
        db.clone_into(&mut self.db);
        coll.clone_into(&mut self.coll);
    }

    /// Text that depends on the collection's UUID alone.
    pub(super) fn tail(
        &mut self,
        out: &mut Vec<u8>,
        collection_id: Option<[u8; 16]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.tail.is_empty() && self.collection_id == collection_id {
            return out.extend_from_within(self.tail.clone());
        }
        self.tail = written(out, write);
        self.collection_id = collection_id;
    }

    /// Text that depends on the wall clock alone.
    pub(super) fn wall(&mut self, out: &mut Vec<u8>, ms: i64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.wall_ms == Some(ms) {
            return out.extend_from_within(self.wall.clone());
        }
        self.wall = written(out, write);
        self.wall_ms = Some(ms);
    }

    /// Text that depends on the transaction alone.
    pub(super) fn txn(&mut self, out: &mut Vec<u8>, txn: Txn, write: impl FnOnce(&mut Vec<u8>)) {
        if self.txn == Some(txn) {
            return out.extend_from_within(self.txn_id.clone());
        }
        self.txn_id = written(out, write);
        self.txn = Some(txn);
    }
}

fn written(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = out.len();
    write(out);
    start..out.len()
}
