//! Dead letters: what can't become an event, in its place among the events.
//!
//! ```text
//! {"op":"deadLetter","ns":{"db":"shop","coll":"orders"},"reason":"unknown","what":"unknown operation `z`",
//!  "key":{"_id":…},"position":"…","clusterTime":{…},"wallTime":{…},"source":"…","size":123,"entry":{…},"bytes":"…"}
//! ```
//!
//! The same in every format. `key` is there where an event could be made. `entry` is canonical Extended JSON, null where the bytes are
//! damaged or both would not fit; `bytes` is the whole of it, as base64, null where even that does not fit; `size` says how much it is.
//! For an operation of an `applyOps` that is its element there. The record's key is the position's text.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{RecordWriter, Route};
use crate::bson::extjson::{Mode, write_date, write_doc, write_string, write_timestamp, write_value};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, Images, Namespace, Position};

/// Something that can't become an event.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Where it stands.
    pub at: Position,
    /// The election term of its oplog entry.
    pub term: Option<i64>,
    /// The wall clock of its oplog entry, in milliseconds since 1970.
    pub wall_ms: Option<i64>,
    /// The replica set.
    pub source: &'a str,
    /// Its namespace; empty if it can't be told.
    pub ns: Namespace<'a>,
    /// What sort of fault it is: a fixed word.
    pub reason: &'a str,
    /// What is wrong.
    pub what: &'a str,
    /// The `_id` of the document that it changed, where it is known.
    pub id: Option<RawValue<'a>>,
    /// Its bytes: those of a document, if they are sound.
    pub bytes: &'a [u8],
}

impl DeadLetter<'_> {
    /// The `op` of a dead letter.
    pub const OP: &'static str = "deadLetter";

    /// Appends its record.
    pub fn write(&self, route: &Arc<Route>, out: &mut RecordWriter) {
        let place = ChangeEvent {
            at: self.at,
            term: self.term,
            wall_ms: self.wall_ms,
            ns: self.ns,
            collection_id: None,
            change: Change::Watermark,
            images: Images::default(),
            txn: None,
            source: self.source,
        };
        let position = self.at.to_string();
        let mut record = out.begin(&place, route).spread_by_key();
        let written = record
            .key(|out| {
                out.extend_from_slice(position.as_bytes());
                Ok::<(), Malformed>(())
            })
            .and_then(|()| {
                record.value(|out| {
                    self.value(out, &position, route.bytes_max);
                    Ok(())
                })
            });
        if written.is_ok() {
            record.finish();
        }
    }

    fn value(&self, out: &mut Vec<u8>, position: &str, bytes_max: usize) {
        let start = out.len();
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(Self::OP.as_bytes());
        out.extend_from_slice(b"\",\"ns\":{\"db\":");
        write_string(out, self.ns.db.as_bytes());
        if !self.ns.coll.is_empty() {
            out.extend_from_slice(b",\"coll\":");
            write_string(out, self.ns.coll.as_bytes());
        }
        out.extend_from_slice(b"},\"reason\":");
        write_string(out, self.reason.as_bytes());
        out.extend_from_slice(b",\"what\":");
        write_string(out, self.what.as_bytes());
        self.key(out, bytes_max);
        out.extend_from_slice(b",\"position\":");
        write_string(out, position.as_bytes());
        out.extend_from_slice(b",\"clusterTime\":");
        write_timestamp(out, self.at.timestamp());
        if let Some(ms) = self.wall_ms {
            out.extend_from_slice(b",\"wallTime\":");
            write_date(out, ms, Mode::Relaxed);
        }
        out.extend_from_slice(b",\"source\":");
        write_string(out, self.source.as_bytes());
        out.extend_from_slice(b",\"size\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.bytes.len()).as_bytes());
        // The header's own bytes count, too.
        let left = bytes_max.saturating_sub(out.len() - start + HEADER_BYTES);
        let bytes = Some(base64_length(self.bytes.len())).filter(|length| *length <= left);
        out.extend_from_slice(b",\"entry\":");
        self.entry(out, bytes.map_or(0, |length| left - length));
        out.extend_from_slice(b",\"bytes\":");
        match bytes {
            Some(_) => write_string(out, BASE64_STANDARD.encode(self.bytes).as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }

    /// The document's key, unless it takes much of the room itself.
    fn key(&self, out: &mut Vec<u8>, bytes_max: usize) {
        let Some(id) = self.id else { return };
        let start = out.len();
        out.extend_from_slice(b",\"key\":{\"_id\":");
        let written = write_value(out, id, Mode::Canonical);
        out.push(b'}');
        if written.is_err() || out.len() - start > bytes_max / 2 {
            out.truncate(start);
        }
    }

    /// The document as people read it, if it is one and takes at most so many bytes.
    fn entry(&self, out: &mut Vec<u8>, bytes_max: usize) {
        let start = out.len();
        let written = RawDoc::new(self.bytes).and_then(|doc| write_doc(out, doc, Mode::Canonical));
        if written.is_err() || out.len() - start > bytes_max {
            out.truncate(start);
            out.extend_from_slice(b"null");
        }
    }
}

/// How long so many bytes are as base64.
fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// What key, header and the rest of the value take at most, the replica set's name included.
const HEADER_BYTES: usize = 512;
