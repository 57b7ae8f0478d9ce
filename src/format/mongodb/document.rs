//! The change event as a change stream of the server gives it, as a BSON document: the same fields in the same order.

use super::Options;
use crate::bson::{DocWriter, Malformed, RawDoc, RawValue};
use crate::event::token::{ResumeToken, TokenVersion};
use crate::event::{
    Change, ChangeEvent, CollectionType, Command, Delta, Image, Key, Namespace, NoImage, Txn,
};
use crate::format::lists::{List, Lists};

const BINARY_GENERIC: u8 = 0;
const BINARY_UUID: u8 = 4;
const BEFORE: &[u8] = b"fullDocumentBeforeChange";

/// What depends on the server's version and on the options of a change stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// `showExpandedEvents`.
    expanded: bool,
    /// Since 6.0 there is the wall clock, and the document before a change is the last field, and null where there is none.
    since_6_0: bool,
    /// Since 6.1, with expanded events.
    disambiguated: bool,
    token: TokenVersion,
}

impl Shape {
    pub(super) fn of(Options { expanded_events, server }: Options) -> Self {
        Self {
            expanded: expanded_events,
            since_6_0: server >= (6, 0),
            disambiguated: expanded_events && server >= (6, 1),
            token: if server >= (7, 0) { TokenVersion::V2 } else { TokenVersion::V1 },
        }
    }

    /// Whether a change stream has such an event. Those of views are expanded ones.
    pub(super) fn shows(self, change: &Change<'_>) -> bool {
        match change {
            Change::Command(command) => match command.name {
                "rename" | "dropDatabase" => true,
                "drop" => self.expanded || command.of == CollectionType::Collection,
                "create" | "createIndexes" | "dropIndexes" | "modify" => self.expanded,
                _ => false,
            },
            Change::Watermark => false,
            _ => true,
        }
    }

    /// Appends the document. `path` is working space.
    pub(super) fn write(
        self,
        out: &mut Vec<u8>,
        event: &ChangeEvent<'_>,
        path: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let mut doc = DocWriter::new(out);
        if let Change::Command(Command { to: Some(to), .. }) = event.change {
            namespace(&mut doc, b"to", to);
        }
        if let Some(txn) = event.txn {
            transaction(&mut doc, txn);
        }
        self.token(&mut doc, event)?;
        doc.append_str(b"operationType", event.change.name().as_bytes());
        doc.append_timestamp(b"clusterTime", event.at.t, event.at.i);
        if let (true, Some(id)) = (self.expanded, event.own_collection_id()) {
            doc.append_binary(b"collectionUUID", BINARY_UUID, &id);
        }
        if let (true, Some(ms)) = (self.since_6_0, event.wall_ms) {
            doc.append_date(b"wallTime", ms);
        }
        if let Change::Insert { after, .. } | Change::Replace { after, .. } = event.change {
            doc.append_doc(b"fullDocument", after);
        }
        if let Some(after) = event.images.after {
            image(&mut doc, b"fullDocument", after);
        }
        // Before 6.0 the field stands here, and is missing where a collection records nothing.
        if let (false, Some(before)) = (self.since_6_0, event.images.before)
            && before != Image::Missing(NoImage::NotRecorded)
        {
            image(&mut doc, BEFORE, before);
        }
        namespace(&mut doc, b"ns", event.ns);
        match event.change.key() {
            Some(Key::Document(key)) => doc.append_doc(b"documentKey", *key),
            Some(Key::Id(id)) => {
                let mut key = doc.document(b"documentKey");
                key.append(b"_id", *id);
                key.finish();
            }
            None => {}
        }
        match &event.change {
            Change::Update { delta, .. } => self.update(&mut doc, delta, path)?,
            Change::Command(command) if self.expanded => description(&mut doc, command)?,
            Change::HeaderOnly(header) => header.append(&mut doc),
            _ => {}
        }
        if let (true, Some(before)) = (self.since_6_0, event.images.before) {
            image(&mut doc, BEFORE, before);
        }
        doc.finish();
        Ok(())
    }

    fn token(self, doc: &mut DocWriter<'_>, event: &ChangeEvent<'_>) -> Result<(), Malformed> {
        let Some(token) = ResumeToken::of_event(event, self.token)? else { return Ok(()) };
        let mut id = doc.document(b"_id");
        id.append_text(b"_data", |out| token.write_hex(out));
        if !token.type_bits().is_empty() {
            id.append_binary(b"_typeBits", BINARY_GENERIC, token.type_bits());
        }
        id.finish();
        Ok(())
    }

    fn update(self, doc: &mut DocWriter<'_>, delta: &Delta<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut description = doc.document(b"updateDescription");
        let mut lists = Lists::of(delta, path);
        lists.append(List::Updated, &mut description)?;
        lists.append(List::Removed, &mut description)?;
        if let Delta::Diff(_) = delta {
            lists.append(List::Truncated, &mut description)?;
            if self.disambiguated {
                lists.append(List::Disambiguated, &mut description)?;
            }
        }
        description.finish();
        Ok(())
    }
}

/// A document before or behind a change; null where there is none.
fn image(doc: &mut DocWriter<'_>, name: &[u8], image: Image<'_>) {
    match image.document() {
        Some(document) => doc.append_doc(name, document),
        None => doc.append_null(name),
    }
}

/// Appends the document that has this `_id` and nothing else.
pub(super) fn write_id(out: &mut Vec<u8>, id: RawValue<'_>) {
    let mut doc = DocWriter::new(out);
    doc.append(b"_id", id);
    doc.finish();
}

fn namespace(doc: &mut DocWriter<'_>, name: &[u8], ns: Namespace<'_>) {
    let mut names = doc.document(name);
    names.append_str(b"db", ns.db.as_bytes());
    if !ns.coll.is_empty() {
        names.append_str(b"coll", ns.coll.as_bytes());
    }
    names.finish();
}

fn transaction(doc: &mut DocWriter<'_>, txn: Txn) {
    doc.append_i64(b"txnNumber", txn.number);
    let mut session = doc.document(b"lsid");
    session.append_binary(b"id", BINARY_UUID, &txn.session);
    if let Some(user) = txn.user {
        session.append_binary(b"uid", BINARY_GENERIC, &user);
    }
    session.finish();
}

/// What expanded events say of a command: its own fields, and the options that it replaces.
fn description(doc: &mut DocWriter<'_>, command: &Command<'_>) -> Result<(), Malformed> {
    let mut own = Vec::new();
    if command.write_description(&mut own)? {
        doc.append_doc(b"operationDescription", RawDoc::new(&own)?);
    }
    if let ("modify", Some(old)) = (command.name, command.o2) {
        let mut before = doc.document(b"stateBeforeChange");
        for (name, old) in [
            ("collectionOptions", old.get("collectionOptions_old")),
            ("indexOptions", old.get("indexOptions_old")),
        ] {
            if let Some(old) = old {
                before.append(name.as_bytes(), old);
            }
        }
        before.finish();
    }
    Ok(())
}
