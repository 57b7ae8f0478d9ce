//! One operation, as the oplog has it and as a change event.

use bson::Timestamp;
use serde::de::DeserializeOwned;

use crate::bson::{RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, Namespace, Position};
use crate::source::{Chunk, Op};

/// One operation. A view of the server's reply: what is to be kept must be copied.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Operation<'a> {
    /// The cluster time of its oplog entry. Operations of one transaction share it.
    pub ts: Timestamp,
    /// Where it stands, exactly; to be stored, and given to [`super::Start::After`].
    pub position: Position,
    /// The unique identifier that old servers gave to each entry.
    pub h: Option<i64>,
    /// What was done, in the oplog's letters: `i`, `u`, `d`, `c`.
    pub op: &'a str,
    /// The collection; of a command on a whole database only the database.
    pub ns: Namespace<'a>,
    /// The operation's document: the inserted one, the change, the deleted one's key, the command.
    pub o: RawDoc<'a>,
    /// The second one: the key of what was updated or deleted.
    pub o2: Option<RawDoc<'a>>,
    /// The same as a change event: both encodings of updates and the kinds of commands told apart, with the transaction.
    pub event: ChangeEvent<'a>,
}

impl<'a> Operation<'a> {
    /// The operation of an event that was translated from `op`.
    pub(super) fn new(chunk: &'a Chunk, op: &Op, event: &ChangeEvent<'a>) -> Self {
        let Position { t: time, i: increment, .. } = op.at;
        let entry = RawDoc::new(chunk.document(op)).unwrap_or(RawDoc::EMPTY);
        let o = entry.get("o").and_then(RawValue::as_doc).unwrap_or(RawDoc::EMPTY);
        let o2 = entry.get("o2").and_then(RawValue::as_doc);
        let is_delete = matches!(event.change, Change::Delete { .. });
        Self {
            ts: Timestamp { time, increment },
            position: op.at,
            h: entry.get("h").and_then(RawValue::as_i64),
            op: entry.get("op").and_then(RawValue::as_str).unwrap_or_default(),
            ns: event.ns,
            o,
            o2: if is_delete { o2.or(Some(o)) } else { o2 },
            event: *event,
        }
    }

    /// The whole document, where the operation has it: that of an insert or a replacement.
    pub fn document<T: DeserializeOwned>(&self) -> Option<Result<T, bson::error::Error>> {
        match self.event.change {
            Change::Insert { after, .. } | Change::Replace { after, .. } => {
                Some(bson::deserialize_from_slice(after.as_bytes()))
            }
            _ => None,
        }
    }

    /// `o` as a type of yours.
    pub fn o_as<T: DeserializeOwned>(&self) -> Result<T, bson::error::Error> {
        bson::deserialize_from_slice(self.o.as_bytes())
    }

    /// `o2` as a type of yours.
    pub fn o2_as<T: DeserializeOwned>(&self) -> Option<Result<T, bson::error::Error>> {
        self.o2.map(|o2| bson::deserialize_from_slice(o2.as_bytes()))
    }
}
