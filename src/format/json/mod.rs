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
//! Inserts and replacements have `after`, the whole document. Where images are asked for, updates have it too, and what changes something has
//! `before`; `afterIs` and `beforeIs` say what they are, or why there is none. Commands have `command`, the oplog's own document. The dotted paths of
//! `updatedFields` and `removedFields` read like a change stream's; `diff` or `modifiers` beside them is what the oplog says, exact. Where a
//! path could be read in several ways, because a name has a dot or is a number, `disambiguatedPaths` has its parts.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::lists::{Found, List};
use super::memo::Memo;
use super::record::Before;
use super::{Encoder, RecordWriter, Route, Unencodable};
use crate::bson::extjson::{
    Mode, write_date, write_doc, write_string, write_timestamp, write_uuid, write_value,
};
use crate::bson::{Malformed, RawDoc, RawValue, is_plainest, plainest};
use crate::event::{
    Change, ChangeEvent, CollectionType, Command, Component, Components, Delta, DeltaVisitor, HeaderOnly,
    Image, Key, Namespace, Section, Txn,
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
        let id = event.change.key().map(|key| key.id().ok_or(Unencodable::NoKey)).transpose()?;
        let mut record = out.begin(event, route);
        record.key(|out| self.record_key(out, id, &event.change))?;
        record.value_from(|out, before| self.event(out, event, id, before))?;
        record.finish();
        Ok(())
    }
}

impl Json {
    fn record_key(
        self,
        out: &mut Vec<u8>,
        id: Option<RawValue<'_>>,
        change: &Change<'_>,
    ) -> Result<(), Malformed> {
        if let Some(id) = id {
            return self.id(out, plainest(id, &mut Vec::new()));
        }
        out.extend_from_slice(b"{\"command\":");
        write_string(out, change.name().as_bytes());
        out.push(b'}');
        Ok(())
    }

    fn id(self, out: &mut Vec<u8>, id: RawValue<'_>) -> Result<(), Malformed> {
        out.extend_from_slice(b"{\"_id\":");
        write_value(out, id, self.mode)?;
        out.push(b'}');
        Ok(())
    }

    fn event(
        self,
        out: &mut Vec<u8>,
        event: &ChangeEvent<'_>,
        id: Option<RawValue<'_>>,
        before: Before<'_>,
    ) -> Result<(), Malformed> {
        let Before { position, key, memo } = before;
        memo.head(out, event, |out| head(out, event));
        if let (Some(whole), Some(id)) = (event.change.key(), id) {
            member(out, "key");
            match whole {
                // A key of `_id` alone is the record's own, if that is written as it is.
                Key::Document(fields) if !is_all(id, *fields) => write_doc(out, *fields, self.mode)?,
                _ if is_plainest(id) => out.extend_from_within(key),
                _ => self.id(out, id)?,
            }
        }
        self.change(out, &event.change, &mut memo.path)?;
        self.image(out, "after", "afterIs", event.images.after)?;
        self.image(out, "before", "beforeIs", event.images.before)?;
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

    /// A document before or behind a change, if it was asked for.
    fn image(
        self,
        out: &mut Vec<u8>,
        name: &str,
        is: &str,
        image: Option<Image<'_>>,
    ) -> Result<(), Malformed> {
        let Some(image) = image else { return Ok(()) };
        if let Some(document) = image.document() {
            member(out, name);
            write_doc(out, document, self.mode)?;
        }
        member(out, is);
        write_string(out, image.name().as_bytes());
        Ok(())
    }

    fn update(self, out: &mut Vec<u8>, delta: &Delta<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
        out.extend_from_slice(b"{\"updatedFields\":{");
        let written = self.list(out, List::Updated, delta, path)?;
        out.extend_from_slice(b"},\"removedFields\":[");
        if written.found.has(List::Removed) {
            self.list(out, List::Removed, delta, path)?;
        }
        out.extend_from_slice(b"],\"truncatedArrays\":[");
        if written.found.has(List::Truncated) {
            self.list(out, List::Truncated, delta, path)?;
        }
        out.push(b']');
        if written.found.has(List::Disambiguated) {
            out.extend_from_slice(b",\"disambiguatedPaths\":{");
            self.list(out, List::Disambiguated, delta, path)?;
            out.push(b'}');
        }
        match delta {
            Delta::Diff(diff) => {
                member(out, "diff");
                self.diff(out, *diff, &written)?;
            }
            Delta::Modifiers { set, unset } => {
                member(out, "modifiers");
                self.modifiers(out, set.map(|_| written.all), *unset)?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes one of an update's lists, and says where it is. Each takes a walk of its own over the delta, which is small, so nothing has to
    /// be kept between them; but after the first it is known which are empty.
    fn list(
        self,
        out: &mut Vec<u8>,
        list: List,
        delta: &Delta<'_>,
        path: &mut Vec<u8>,
    ) -> Result<Written, Malformed> {
        let start = out.len();
        let mut written = Written { all: start..start, section: start, ..Written::default() };
        delta.visit(path, &mut Writer { out, mode: self.mode, list, written: &mut written })?;
        written.all.end = out.len();
        Ok(written)
    }

    /// What is set at the root is among the updated fields, word by word.
    fn diff(self, out: &mut Vec<u8>, diff: RawDoc<'_>, written: &Written) -> Result<(), Malformed> {
        let mut separator = b'{';
        for section in diff {
            let section = section?;
            out.push(separator);
            separator = b',';
            write_string(out, section.name);
            out.push(b':');
            let text = match Section::of(section.name) {
                Some(Section::Updated) => &written.updated,
                Some(Section::Inserted) => &written.inserted,
                _ => {
                    write_value(out, section.value, self.mode)?;
                    continue;
                }
            };
            object_again(out, text.clone());
        }
        out.push(b'}');
        Ok(())
    }

    /// `set` is where its members are in the buffer already.
    fn modifiers(
        self,
        out: &mut Vec<u8>,
        set: Option<Range<usize>>,
        unset: Option<RawDoc<'_>>,
    ) -> Result<(), Malformed> {
        out.push(b'{');
        let both = set.is_some() && unset.is_some();
        if let Some(set) = set {
            out.extend_from_slice(b"\"$set\":");
            object_again(out, set);
        }
        if both {
            out.push(b',');
        }
        if let Some(fields) = unset {
            out.extend_from_slice(b"\"$unset\":");
            write_doc(out, fields, self.mode)?;
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
            memo.txn(out, txn, |out| {
                member(out, "txn");
                transaction(out, txn);
            });
            integer(out, event.at.ordinal);
            member(out, "count");
            integer(out, txn.count);
            out.push(b'}');
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

/// Writes an object whose members stand in the buffer already.
fn object_again(out: &mut Vec<u8>, members: Range<usize>) {
    out.push(b'{');
    out.extend_from_within(members);
    out.push(b'}');
}

/// Whether a document holds its `_id` and nothing else: then it is as long as that with its name, its type, and what encloses it.
fn is_all(id: RawValue<'_>, doc: RawDoc<'_>) -> bool {
    doc.as_bytes().len() == id.as_bytes().len() + b"\x05\0\0\0\x10_id\0\0".len()
}

/// Where a list of an update was written, and what else the update has.
#[derive(Debug, Default)]
struct Written {
    /// Its items.
    all: Range<usize>,
    /// Of the updated fields: those of the sections `u` and `i` of the diff's root.
    updated: Range<usize>,
    inserted: Range<usize>,
    /// Where the section that is being written begins.
    section: usize,
    /// Which lists have something.
    found: Found,
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
    list: List,
    written: &'o mut Written,
}

impl Writer<'_> {
    /// Whether an item of that list is wanted; if so, it is separated from the one before.
    fn wants(&mut self, list: List) -> bool {
        self.written.found.add(list);
        let wanted = self.list == list;
        if wanted && self.out.len() > self.written.all.start {
            self.out.push(b',');
        }
        wanted
    }
}

impl DeltaVisitor for Writer<'_> {
    const AMBIGUOUS: bool = true;

    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        if self.wants(List::Updated) {
            write_string(self.out, path);
            self.out.push(b':');
            write_value(self.out, value, self.mode)?;
        }
        Ok(())
    }

    fn removed(&mut self, path: &[u8]) {
        if self.wants(List::Removed) {
            write_string(self.out, path);
        }
    }

    fn truncated(&mut self, path: &[u8], new_size: i32) {
        if self.wants(List::Truncated) {
            self.out.extend_from_slice(b"{\"field\":");
            write_string(self.out, path);
            member(self.out, "newSize");
            integer(self.out, new_size);
            self.out.push(b'}');
        }
    }

    fn root_section(&mut self, section: Section) {
        let Written { all, updated, inserted, section: start, .. } = self.written;
        let end = self.out.len();
        // Not the comma that separates it from the section before.
        let text = if *start > all.start && *start < end { *start + 1..end } else { *start..end };
        match section {
            Section::Updated => *updated = text,
            Section::Inserted => *inserted = text,
            _ => {}
        }
        *start = end;
    }

    fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
        if self.wants(List::Disambiguated) {
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

/// Writes what all events of the transaction have in common, up to their index in it.
fn transaction(out: &mut Vec<u8>, txn: Txn) {
    out.extend_from_slice(b"{\"id\":\"");
    write_uuid(out, txn.session);
    out.push(b':');
    integer(out, txn.number);
    out.push(b'"');
    member(out, "index");
}
