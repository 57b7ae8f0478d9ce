//! The formats `json` and `json-canonical`: one JSON object per event, on one line.
//!
//! ```text
//! {"op":"update","ns":{"db":"shop","coll":"orders"},"key":{"_id":…},
//!  "update":{"updatedFields":{…},"removedFields":[…],"truncatedArrays":[…],"diff":{…}},
//!  "position":"…","clusterTime":{…},"wallTime":{…},"txn":{"id":"…","index":0,"count":3},"collectionId":"…","source":"…"}
//! ```
//!
//! An event that the sink has no room for has `tooLarge` in place of its document, with its size and the limit in bytes.
//!
//! Inserts and replacements have `after`, the whole document; commands have `command`, the oplog's own document. The dotted paths of
//! `updatedFields` and `removedFields` read like a change stream's; `diff` or `modifiers` beside them is what the oplog says, exact. Where a
//! path could be read in several ways, because a name has a dot or is a number, `disambiguatedPaths` has its parts.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::memo::Memo;
use super::record::Before;
use super::{Encoder, RecordWriter, Route, Unencodable};
use crate::bson::extjson::{
    Mode, write_date, write_doc, write_string, write_timestamp, write_uuid, write_value,
};
use crate::bson::{Malformed, RawDoc, RawValue, is_plainest, plainest};
use crate::event::{
    Change, ChangeEvent, CollectionType, Command, Component, Components, Delta, DeltaVisitor, HeaderOnly,
    Key, Namespace, Txn,
};

/// Writes one record per event. Its key is the document's `_id` alone, with numbers of the plainest type, so that all events of a document
/// share it; a command's key is its name.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    mode: Mode,
}

impl Json {
    /// Relaxed Extended JSON.
    pub fn relaxed() -> Self {
        Self { mode: Mode::Relaxed }
    }

    /// Canonical Extended JSON.
    pub fn canonical() -> Self {
        Self { mode: Mode::Canonical }
    }
}

impl Encoder for Json {
    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
    ) -> Result<(), Unencodable> {
        let mut record = out.begin(event, route);
        record.key(|out| self.record_key(out, &event.change))?;
        record.value_from(|out, before| self.event(out, event, before))?;
        record.finish();
        Ok(())
    }
}

impl Json {
    fn record_key(self, out: &mut Vec<u8>, change: &Change<'_>) -> Result<(), Unencodable> {
        if let Some(key) = change.key() {
            let id = key.id().ok_or(Unencodable::NoKey)?;
            return Ok(self.id(out, plainest(id, &mut Vec::new()))?);
        }
        out.extend_from_slice(b"{\"command\":");
        write_string(out, change.name().as_bytes());
        out.push(b'}');
        Ok(())
    }

    fn event(self, out: &mut Vec<u8>, event: &ChangeEvent<'_>, before: Before<'_>) -> Result<(), Malformed> {
        let Before { position, key, memo } = before;
        memo.head(out, event, |out| head(out, event));
        if let Some(whole) = event.change.key() {
            member(out, "key");
            match whole {
                Key::Document(fields) if !is_single(*fields) => write_doc(out, *fields, self.mode)?,
                // A key of `_id` alone is the record's own, if that is written as it is.
                _ => match whole.id().filter(|id| !is_plainest(*id)) {
                    Some(id) => self.id(out, id)?,
                    None => out.extend_from_within(key),
                },
            }
        }
        self.change(out, &event.change, &mut memo.path)?;
        self.origin(out, event, position, memo);
        out.push(b'}');
        Ok(())
    }

    fn change(self, out: &mut Vec<u8>, change: &Change<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
        match change {
            Change::Insert { after, .. } | Change::Replace { after, .. } => {
                member(out, "after");
                write_doc(out, *after, self.mode)
            }
            Change::Update { delta, .. } => {
                member(out, "update");
                self.update(out, delta, path)
            }
            Change::Command(command) => self.command(out, command),
            Change::HeaderOnly(header) => {
                too_large(out, header);
                Ok(())
            }
            Change::Delete { .. } | Change::Watermark => Ok(()),
        }
    }

    fn id(self, out: &mut Vec<u8>, id: RawValue<'_>) -> Result<(), Malformed> {
        out.extend_from_slice(b"{\"_id\":");
        write_value(out, id, self.mode)?;
        out.push(b'}');
        Ok(())
    }

    fn update(self, out: &mut Vec<u8>, delta: &Delta<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
        // One walk for each list: a diff is small, and nothing has to be kept between them.
        let mut list = |out: &mut Vec<u8>, part| {
            let mut list = List { out, mode: self.mode, part, is_empty: true, ambiguous: false };
            delta.visit(path, &mut list)?;
            Ok(list.ambiguous)
        };
        out.extend_from_slice(b"{\"updatedFields\":{");
        list(out, Part::Updated)?;
        out.extend_from_slice(b"},\"removedFields\":[");
        list(out, Part::Removed)?;
        out.extend_from_slice(b"],\"truncatedArrays\":[");
        let ambiguous = list(out, Part::Truncated)?;
        out.push(b']');
        if ambiguous {
            out.extend_from_slice(b",\"disambiguatedPaths\":{");
            list(out, Part::Disambiguated)?;
            out.push(b'}');
        }
        match delta {
            Delta::Diff(diff) => {
                member(out, "diff");
                write_doc(out, *diff, self.mode)?;
            }
            Delta::Modifiers { set, unset } => {
                member(out, "modifiers");
                self.modifiers(out, *set, *unset)?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn modifiers(
        self,
        out: &mut Vec<u8>,
        set: Option<RawDoc<'_>>,
        unset: Option<RawDoc<'_>>,
    ) -> Result<(), Malformed> {
        let mut separator = b'{';
        for (name, fields) in [("\"$set\":", set), ("\"$unset\":", unset)] {
            if let Some(fields) = fields {
                out.push(separator);
                out.extend_from_slice(name.as_bytes());
                write_doc(out, fields, self.mode)?;
                separator = b',';
            }
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(())
    }

    fn command(self, out: &mut Vec<u8>, command: &Command<'_>) -> Result<(), Malformed> {
        member(out, "command");
        write_doc(out, command.o, self.mode)?;
        if let Some(options) = command.o2 {
            member(out, "options");
            write_doc(out, options, self.mode)?;
        }
        if let Some(to) = command.to {
            member(out, "to");
            namespace(out, to);
        }
        if command.of != CollectionType::Collection {
            member(out, "nsType");
            write_string(out, command.of.name().as_bytes());
        }
        if command.replaced {
            member(out, "replaced");
            out.extend_from_slice(b"true");
        }
        Ok(())
    }

    /// Where the event comes from.
    fn origin(self, out: &mut Vec<u8>, event: &ChangeEvent<'_>, position: Range<usize>, memo: &mut Memo) {
        out.extend_from_slice(b",\"position\":\"");
        out.extend_from_within(position);
        out.extend_from_slice(b"\",\"clusterTime\":");
        write_timestamp(out, event.at.timestamp());
        if let Some(ms) = event.wall_ms {
            memo.wall(out, ms, |out| {
                member(out, "wallTime");
                write_date(out, ms, self.mode);
            });
        }
        if let Some(txn) = event.txn {
            member(out, "txn");
            transaction(out, txn, event.at.ordinal);
        }
        let collection_id = event.own_collection_id();
        memo.tail(out, collection_id, |out| {
            if let Some(id) = collection_id {
                member(out, "collectionId");
                out.push(b'"');
                write_uuid(out, id);
                out.push(b'"');
            }
            member(out, "source");
            write_string(out, event.source.as_bytes());
        });
    }
}

fn head(out: &mut Vec<u8>, event: &ChangeEvent<'_>) {
    out.extend_from_slice(b"{\"op\":");
    write_string(out, event.change.name().as_bytes());
    if !matches!(event.change, Change::Watermark) {
        member(out, "ns");
        namespace(out, event.ns);
    }
}

/// Whether a document has exactly one element.
fn is_single(doc: RawDoc<'_>) -> bool {
    let mut elements = doc.iter();
    elements.next().is_some_and(|first| first.is_ok()) && elements.next().is_none()
}

/// Which of an update's lists is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Updated,
    Removed,
    Truncated,
    Disambiguated,
}

struct List<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
    part: Part,
    is_empty: bool,
    /// Whether one of the paths could be read in several ways.
    ambiguous: bool,
}

impl List<'_> {
    /// Whether an item of that part is wanted; if so, it is separated from the one before.
    fn wants(&mut self, part: Part) -> bool {
        let wanted = self.part == part;
        if wanted && !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        wanted
    }
}

impl DeltaVisitor for List<'_> {
    const AMBIGUOUS: bool = true;

    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        if self.wants(Part::Updated) {
            write_string(self.out, path);
            self.out.push(b':');
            write_value(self.out, value, self.mode)?;
        }
        Ok(())
    }

    fn removed(&mut self, path: &[u8]) {
        if self.wants(Part::Removed) {
            write_string(self.out, path);
        }
    }

    fn truncated(&mut self, path: &[u8], new_size: i32) {
        if self.wants(Part::Truncated) {
            self.out.extend_from_slice(b"{\"field\":");
            write_string(self.out, path);
            member(self.out, "newSize");
            integer(self.out, new_size);
            self.out.push(b'}');
        }
    }

    fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
        self.ambiguous = true;
        if self.wants(Part::Disambiguated) {
            write_string(self.out, path);
            self.out.push(b':');
            let mut separator = b'[';
            components.for_each(&mut |component| {
                self.out.push(separator);
                match component {
                    Component::Name(name) => write_string(self.out, name),
                    Component::Index(digits) => self.out.extend_from_slice(digits),
                }
                separator = b',';
            });
            self.out.push(b']');
        }
    }
}

/// What is missing, and why.
fn too_large(out: &mut Vec<u8>, header: &HeaderOnly<'_>) {
    member(out, "tooLarge");
    out.extend_from_slice(b"{\"bytes\":");
    integer(out, header.bytes);
    member(out, "limit");
    integer(out, header.limit);
    out.push(b'}');
}

/// Begins a member that is not the first of its object.
fn member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn namespace(out: &mut Vec<u8>, ns: Namespace<'_>) {
    out.extend_from_slice(b"{\"db\":");
    write_string(out, ns.db.as_bytes());
    if !ns.coll.is_empty() {
        member(out, "coll");
        write_string(out, ns.coll.as_bytes());
    }
    out.push(b'}');
}

fn transaction(out: &mut Vec<u8>, txn: Txn, index: u32) {
    out.extend_from_slice(b"{\"id\":\"");
    write_uuid(out, txn.session);
    out.push(b':');
    integer(out, txn.number);
    out.push(b'"');
    member(out, "index");
    integer(out, index);
    member(out, "count");
    integer(out, txn.count);
    out.push(b'}');
}
