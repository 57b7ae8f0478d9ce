//! One entry of the oplog, its fields found in one walk.

use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::Position;

/// The fields of an entry that decide what becomes of it. Unknown fields are ignored, the order does not matter.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) at: Position,
    pub(super) term: Option<i64>,
    pub(super) wall_ms: Option<i64>,
    /// 0, which no server ever wrote, if it is not a whole number.
    pub(super) version: Option<i64>,
    pub(super) op: &'a [u8],
    pub(super) o: Option<RawDoc<'a>>,
    pub(super) session: Option<[u8; 16]>,
    pub(super) txn_number: Option<i64>,
    /// The previous entry of the same session and transaction number; none if absent or null.
    pub(super) previous: Option<Position>,
    /// What an `applyOps` is, where that is not to be told by its session: since MongoDB 8.0.
    pub(super) multi_op_type: Option<i64>,
}

impl<'a> Entry<'a> {
    pub(super) fn parse(doc: RawDoc<'a>) -> Result<Self, Malformed> {
        let mut entry = Self::default();
        let mut timestamp = None;
        for element in doc {
            let element = element?;
            let value = element.value;
            match element.name {
                b"ts" => timestamp = value.as_timestamp(),
                b"t" => entry.term = value.as_i64(),
                b"v" => entry.version = value.as_i64().or(Some(0)),
                b"op" => entry.op = value.as_str_bytes().unwrap_or_default(),
                b"wall" => entry.wall_ms = value.as_date_ms(),
                b"o" => entry.o = value.as_doc(),
                b"lsid" => {
                    entry.session =
                        value.as_doc().and_then(|lsid| lsid.get("id")).and_then(RawValue::as_uuid);
                }
                b"txnNumber" => entry.txn_number = value.as_i64(),
                b"prevOpTime" => entry.previous = previous(value),
                b"multiOpType" => entry.multi_op_type = value.as_i64(),
                _ => {}
            }
        }
        let (t, i) = timestamp.ok_or(Malformed { what: "an oplog entry without `ts`", offset: 0 })?;
        entry.at = Position::of_entry(t, i);
        Ok(entry)
    }
}

impl Entry<'_> {
    /// Whether it is a retryable vectored insert: neither a transaction, nor the end of a chain of entries.
    pub(super) fn is_vectored_insert(&self) -> bool {
        self.multi_op_type == Some(1)
    }
}

fn previous(optime: RawValue<'_>) -> Option<Position> {
    let (t, i) = optime.as_doc()?.get("ts")?.as_timestamp()?;
    (t != 0 || i != 0).then(|| Position::of_entry(t, i))
}
