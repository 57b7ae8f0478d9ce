//! The format `bson`: one BSON document per event, exact: documents are copied and not rewritten.
//!
//! It is the event of `json-canonical`, field for field and type for type: whoever reads that text as BSON has these bytes. The key is the
//! document `{_id: …}`, with numbers of the plainest type, which is the same for all events of a document, also where a shard key's other
//! fields change; a command's key is `{command: …}`.

use std::sync::Arc;

use super::header::write_position;
use super::lists::{List, Lists};
use super::{Encoder, RecordWriter, Route, Unencodable};
use crate::bson::extjson::write_uuid;
use crate::bson::{DocWriter, Malformed, plainest};
use crate::event::{Change, ChangeEvent, CollectionType, Command, Delta, Image, Key, Namespace, Txn};

/// Writes one record per event.
#[derive(Clone, Copy, Debug)]
pub struct Bson;

impl Encoder for Bson {
    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
    ) -> Result<(), Unencodable> {
        let mut record = out.begin(event, route);
        record.key(|out| record_key(out, &event.change))?;
        record.value_from(|out, before| value(out, event, &mut before.memo.path))?;
        record.finish();
        Ok(())
    }
}

fn record_key(out: &mut Vec<u8>, change: &Change<'_>) -> Result<(), Unencodable> {
    let mut doc = DocWriter::new(out);
    match change.key() {
        Some(key) => {
            doc.append(b"_id", plainest(key.id().ok_or(Unencodable::NoKey)?, &mut Vec::new()));
        }
        None => doc.append_str(b"command", change.name().as_bytes()),
    }
    doc.finish();
    Ok(())
}

fn value(out: &mut Vec<u8>, event: &ChangeEvent<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut doc = DocWriter::new(out);
    doc.append_str(b"op", event.change.name().as_bytes());
    if !matches!(event.change, Change::Watermark) {
        namespace(&mut doc, b"ns", event.ns);
    }
    match event.change.key() {
        Some(Key::Document(key)) => doc.append_doc(b"key", *key),
        Some(Key::Id(id)) => {
            let mut key = doc.document(b"key");
            key.append(b"_id", *id);
            key.finish();
        }
        None => {}
    }
    match &event.change {
        Change::Insert { after, .. } | Change::Replace { after, .. } => doc.append_doc(b"after", *after),
        Change::Update { delta, .. } => update(&mut doc, delta, path)?,
        Change::Command(command) => self::command(&mut doc, command),
        Change::HeaderOnly(header) => header.append(&mut doc),
        Change::Delete { .. } | Change::Watermark => {}
    }
    image(&mut doc, "after", "afterIs", event.images.after);
    image(&mut doc, "before", "beforeIs", event.images.before);
    origin(&mut doc, event);
    doc.finish();
    Ok(())
}

/// A document before or behind a change, if it was asked for.
fn image(doc: &mut DocWriter<'_>, name: &str, is: &str, image: Option<Image<'_>>) {
    let Some(image) = image else { return };
    if let Some(document) = image.document() {
        doc.append_doc(name.as_bytes(), document);
    }
    doc.append_str(is.as_bytes(), image.name().as_bytes());
}

fn update(doc: &mut DocWriter<'_>, delta: &Delta<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut update = doc.document(b"update");
    let mut lists = Lists::of(delta, path);
    for list in [List::Updated, List::Removed, List::Truncated] {
        lists.append(list, &mut update)?;
    }
    if lists.may_have(List::Disambiguated) {
        lists.append(List::Disambiguated, &mut update)?;
    }
    match delta {
        Delta::Diff(diff) => update.append_doc(b"diff", *diff),
        Delta::Modifiers { set, unset } => {
            let mut modifiers = update.document(b"modifiers");
            for (name, fields) in [("$set", set), ("$unset", unset)] {
                if let Some(fields) = fields {
                    modifiers.append_doc(name.as_bytes(), *fields);
                }
            }
            modifiers.finish();
        }
    }
    update.finish();
    Ok(())
}

fn command(doc: &mut DocWriter<'_>, command: &Command<'_>) {
    doc.append_doc(b"command", command.o);
    if let Some(options) = command.o2 {
        doc.append_doc(b"options", options);
    }
    if let Some(to) = command.to {
        namespace(doc, b"to", to);
    }
    if command.of != CollectionType::Collection {
        doc.append_str(b"nsType", command.of.name().as_bytes());
    }
    if command.replaced {
        doc.append_bool(b"replaced", true);
    }
}

/// Where the event comes from.
fn origin(doc: &mut DocWriter<'_>, event: &ChangeEvent<'_>) {
    doc.append_text(b"position", |out| write_position(out, event.at));
    doc.append_timestamp(b"clusterTime", event.at.t, event.at.i);
    if let Some(ms) = event.wall_ms {
        doc.append_date(b"wallTime", ms);
    }
    if let Some(txn) = event.txn {
        transaction(doc, txn, event.at.ordinal);
    }
    if let Some(id) = event.own_collection_id() {
        doc.append_text(b"collectionId", |out| write_uuid(out, id));
    }
    doc.append_str(b"source", event.source.as_bytes());
}

fn namespace(doc: &mut DocWriter<'_>, name: &[u8], ns: Namespace<'_>) {
    let mut names = doc.document(name);
    names.append_str(b"db", ns.db.as_bytes());
    if !ns.coll.is_empty() {
        names.append_str(b"coll", ns.coll.as_bytes());
    }
    names.finish();
}

fn transaction(doc: &mut DocWriter<'_>, txn: Txn, index: u32) {
    let mut fields = doc.document(b"txn");
    fields.append_text(b"id", |out| {
        write_uuid(out, txn.session);
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(txn.number).as_bytes());
    });
    for (name, number) in [("index", index), ("count", txn.count)] {
        // The smallest type that holds it, as readers of Extended JSON choose.
        match i32::try_from(number) {
            Ok(number) => fields.append_i32(name.as_bytes(), number),
            Err(_) => fields.append_i64(name.as_bytes(), i64::from(number)),
        }
    }
    fields.finish();
}
