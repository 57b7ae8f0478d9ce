//! A reply of the server, kept as it came.

use std::ops::Range;

use bytes::Bytes;
use mongodb::raw_batch_cursor::RawBatch;

use super::chunks::within;
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::error::{Error, ErrorKind};
use crate::event::Position;

/// One reply of the server.
pub(in crate::source) struct Reply {
    pub(in crate::source) bytes: Bytes,
}

struct Owned(RawBatch);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_raw_document().as_bytes()
    }
}

impl Reply {
    /// The reply in the driver's own buffer.
    pub(in crate::source) fn of(batch: RawBatch) -> Self {
        Self { bytes: Bytes::from_owner(Owned(batch)) }
    }

    /// Where its entries lie.
    pub(in crate::source) fn entries(&self) -> Result<Vec<Range<usize>>, Error> {
        let cursor = self
            .cursor()
            .ok_or_else(|| damaged(Malformed { what: "a reply without `cursor`", offset: 0 }))?;
        let batch = cursor.get("nextBatch").or_else(|| cursor.get("firstBatch")).and_then(RawValue::as_array);
        let batch = batch.ok_or_else(|| damaged(Malformed { what: "a reply without entries", offset: 0 }))?;
        batch
            .iter()
            .map(|element| {
                element.map(|element| within(&self.bytes, element.value.as_bytes())).map_err(damaged)
            })
            .collect()
    }

    /// How far the server has looked: `{ts}`, or on 4.4 `{$recordId}`, which holds the same.
    pub(in crate::source) fn passed(&self) -> Option<Position> {
        let token = self.cursor()?.get("postBatchResumeToken")?.as_doc()?;
        let (t, i) = match (token.get("ts"), token.get("$recordId")) {
            (Some(ts), _) => ts.as_timestamp()?,
            (None, Some(id)) => {
                let id = id.as_i64()?.cast_unsigned();
                ((id >> 32) as u32, id as u32)
            }
            _ => return None,
        };
        (t > 0).then(|| Position::of_entry(t, i))
    }

    fn cursor(&self) -> Option<RawDoc<'_>> {
        RawDoc::new(&self.bytes).ok()?.get("cursor")?.as_doc()
    }
}

fn damaged(error: Malformed) -> Error {
    Error::caused(ErrorKind::SourceUnavailable, "MongoDB sent a reply that can't be read", error)
}
