//! One entry of the oplog, its fields found in one walk.

use std::ops::Range;

use super::chunks::range32;
use super::fields::Fields;
use crate::bson::{Element, Malformed, RawDoc, RawValue};
use crate::event::{Position, Txn};
use crate::source::Op;

/// The fields of an entry that decide what becomes of it. Unknown fields are ignored, the order does not matter.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) at: Position,
    pub(super) term: Option<i64>,
    pub(super) wall_ms: Option<i64>,
    /// 0, which no server ever wrote, if it is not a whole number.
    pub(super) version: Option<i64>,
    /// What it says of its operation.
    pub(super) fields: Fields<'a>,
    pub(super) session: Option<RawDoc<'a>>,
    pub(super) txn_number: Option<i64>,
    /// The previous entry of the same session and transaction number; none if absent or null.
    pub(super) previous: Option<OpTime>,
    /// What an `applyOps` is, where that is not to be told by its session: since MongoDB 8.0.
    pub(super) multi_op_type: Option<i64>,
}

impl<'a> Entry<'a> {
    pub(super) fn parse(doc: RawDoc<'a>) -> Result<Self, Malformed> {
        Self::of(doc.iter())
    }

    /// What stands before the damage in an entry that can't be parsed; none without its `ts`.
    pub(super) fn up_to_damage(doc: RawDoc<'a>) -> Option<Self> {
        Self::of(doc.iter().take_while(Result::is_ok)).ok()
    }

    fn of(elements: impl Iterator<Item = Result<Element<'a>, Malformed>>) -> Result<Self, Malformed> {
        let mut entry = Self::default();
        let mut timestamp = None;
        for element in elements {
            let element = element?;
            let value = element.value;
            if entry.fields.take(element) {
                continue;
            }
            match element.name {
                [b't', b's'] => timestamp = value.as_timestamp(),
                [b't'] => entry.term = value.as_i64(),
                [b'v'] => entry.version = value.as_i64().or(Some(0)),
                b"wall" => entry.wall_ms = value.as_date_ms(),
                b"lsid" => entry.session = value.as_doc(),
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
    /// What its operations inherit.
    pub(super) fn head(&self) -> Head {
        Head { at: self.at, term: self.term, wall_ms: self.wall_ms }
    }

    /// The transaction that an `applyOps` or a commit belongs to; how many operations it has is still to be counted. A retryable write
    /// of several operations and a batched write are none.
    pub(super) fn transaction(&self) -> Option<Txn> {
        let (Some(session), Some(number), None | Some(0)) =
            (self.session, self.txn_number, self.multi_op_type)
        else {
            return None;
        };
        let user = session.get("uid").and_then(RawValue::as_binary).map(|(_, digest)| digest);
        Some(Txn {
            session: session.get("id")?.as_uuid()?,
            user: user.and_then(|digest| digest.try_into().ok()),
            number,
            count: 0,
        })
    }
}

/// What the operations of an entry inherit from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) at: Position,
    pub(super) term: Option<i64>,
    pub(super) wall_ms: Option<i64>,
}

impl Head {
    /// The operation that lies there.
    pub(super) fn op(self, range: &Range<usize>) -> Op {
        let Self { at, term, wall_ms } = self;
        let doc = range32(range);
        Op { at, term, wall_ms, doc, layout: None, txn: None, piece: None, problem: None }
    }
}

/// Names an entry: its timestamp, and the term in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpTime {
    /// The entry's position.
    pub at: Position,
    /// Its term.
    pub term: Option<i64>,
}

fn previous(optime: RawValue<'_>) -> Option<OpTime> {
    let optime = optime.as_doc()?;
    let (t, i) = optime.get("ts")?.as_timestamp()?;
    let term = optime.get("t").and_then(RawValue::as_i64);
    (t != 0 || i != 0).then(|| OpTime { at: Position::of_entry(t, i), term })
}
