//! The formats `mongodb`, `mongodb-simplified` and `mongodb-extended`: the records of MongoDB's own Kafka connector, byte for byte, with
//! its formatters `DefaultJson`, `SimplifiedJson` and `ExtendedJson`.
//!
//! A record's value is the change event that a change stream of the server would give, its resume token included; the key is the
//! document's key, shard key and all, or `{"_id": <resume token>}` for an event without document. There are no tombstones. Which fields
//! there are, and in which order, depends on the server's version, as it does there.
//!
//! Of commands, change streams show `drop`, `rename` (once, where it comes from) and `dropDatabase`; with [`Options::expanded_events`]
//! also `create`, `createIndexes`, `dropIndexes` and `modify`, and every event gets more fields. Watermarks, which change streams don't
//! have, never reach a topic; where one has a subject of its own it is an empty record.

mod document;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use document::Shape;

use super::record::Scratch;
use super::{Addressing, Encoder, Options, RecordWriter, Route, Unencodable};
use crate::bson::RawDoc;
use crate::bson::extjson::java::{Style, write_doc};
use crate::event::{Change, ChangeEvent, Key};

/// Writes one record per event that a change stream would show.
#[derive(Clone, Copy, Debug)]
pub struct Mongodb {
    style: Style,
    shape: Shape,
}

impl Mongodb {
    /// In the style of one of the connector's formatters.
    pub fn new(style: Style, options: Options) -> Self {
        Self { style, shape: Shape::of(options) }
    }
}

impl Encoder for Mongodb {
    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
    ) -> Result<(), Unencodable> {
        if !self.publishes(&event.change) {
            if matches!((&event.change, &route.addressing), (Change::Watermark, Addressing::Subject(_))) {
                out.begin(event, route).finish();
            }
            return Ok(());
        }
        let mut scratch = std::mem::take(&mut out.scratch);
        let result = self.record(event, route, out, &mut scratch);
        out.scratch = scratch;
        result
    }

    fn publishes(&self, change: &Change<'_>) -> bool {
        self.shape.shows(change)
    }

    fn tells_where_renames_lead(&self) -> bool {
        false
    }
}

impl Mongodb {
    fn record(
        self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
        scratch: &mut Scratch,
    ) -> Result<(), Unencodable> {
        scratch.document.clear();
        self.shape.write(&mut scratch.document, event, &mut scratch.path)?;
        let document = RawDoc::new(&scratch.document)?;
        let key = match event.change.key() {
            Some(Key::Document(key)) => *key,
            other => {
                scratch.key.clear();
                let id = other.and_then(Key::id).or_else(|| document.get("_id"));
                document::write_id(&mut scratch.key, id.ok_or(Unencodable::NoKey)?);
                RawDoc::new(&scratch.key)?
            }
        };
        let mut record = out.begin(event, route).spread_by_key();
        record.key(|out| write_doc(out, key, self.style))?;
        record.value(|out| write_doc(out, document, self.style))?;
        record.finish();
        Ok(())
    }
}
