//! What the collection holds, and what each change makes of it. Pure: it is given the events and the documents that were read.

mod commands;
#[cfg(feature = "mongodb")]
mod driven;
mod undecided;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::de::DeserializeOwned;

use super::change::{Batch, Cause, Change as Seen};
use super::document::Doc;
use super::evidence::{Evidence, Time, only_id};
use super::index::Index;
use super::key::Key;
use super::publish::Message;
use super::scope::Scope;
use super::store::State;
use crate::bson::{DocWriter, Malformed, RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, Delta, Position, Strictness, Txn, apply};

/// Why the collection can't go on from what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A new copy has to be read.
    Lost(String),
    /// There is nothing to replicate any more.
    Ended(String),
}

impl From<Malformed> for Trouble {
    fn from(error: Malformed) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) decode_errors: Arc<AtomicU64>,
    pub(super) filter_errors: u64,
    pub(super) inconsistencies: u64,
    pub(super) lookups: u64,
}

pub(super) struct Replica<T> {
    db: String,
    coll: String,
    pub(super) scope: Scope,
    pub(super) state: State<T>,
    pub(super) counts: Counts,
    collection: Option<[u8; 16]>,
    /// The copy that is being read.
    copy: Option<State<T>>,
    /// What the copy holds may be newer than the changes up to here.
    exact_from: Time,
    /// Whether a copy was read that can't be shown yet.
    is_settling: bool,
    /// Documents of the copy that updates were applied to which they may have had already.
    dirty: HashMap<Key, Vec<u8>>,
    pub(super) evidence: BTreeMap<Key, Evidence>,
    pub(super) recurring: BTreeSet<Key>,
    unit: Unit<T>,
    messages: Vec<Message<T>>,
    scratch: Scratch,
}

/// The transaction, or the single write, whose changes are coming in.
struct Unit<T> {
    at: Position,
    txn: Option<Txn>,
    changes: Vec<Seen<T>>,
}

/// Working space.
#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    image: Vec<u8>,
    shown: Vec<u8>,
}

impl<T> std::fmt::Debug for Replica<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Replica<T> {
    pub(super) fn new(db: &str, coll: &str, scope: Scope, specs: Arc<[Index<T>]>) -> Self {
        Self {
            db: db.to_owned(),
            coll: coll.to_owned(),
            scope,
            state: State::new(specs),
            counts: Counts::default(),
            collection: None,
            copy: None,
            exact_from: (0, 0),
            is_settling: false,
            dirty: HashMap::new(),
            evidence: BTreeMap::new(),
            recurring: BTreeSet::new(),
            unit: Unit { at: Position::default(), txn: None, changes: Vec::new() },
            messages: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// The UUID of the collection, if it is known.
    pub(super) fn collection(&self) -> Option<[u8; 16]> {
        self.collection
    }

    /// A copy begins.
    pub(super) fn begin(&mut self, collection: Option<[u8; 16]>) {
        self.copy = Some(self.state.emptied());
        self.collection = collection;
        self.dirty.clear();
        self.evidence.clear();
        self.unit.changes.clear();
        self.messages.clear();
    }

    /// Documents of the copy.
    pub(super) fn copied(&mut self, documents: &[Vec<u8>]) -> Result<(), Trouble> {
        for document in documents {
            let document = RawDoc::new(document)?;
            let key = Key::of_document(document, &mut self.scratch.key)?;
            if !self.belongs(document) {
                continue;
            }
            let doc = match self.state.get(&key) {
                // What is the same keeps what was decoded of it.
                Some(old) if old.whole() == document => old.clone(),
                _ => self.doc(document)?,
            };
            if let Some(copy) = &mut self.copy {
                copy.put(&key, doc);
            }
        }
        Ok(())
    }

    /// The copy is complete.
    pub(super) fn loaded(&mut self, at: Position, exact_from: Position) {
        if let Some(mut copy) = self.copy.take() {
            copy.sequence = self.state.sequence;
            copy.at = at;
            self.state = copy;
        }
        self.exact_from = exact_from.timestamp();
        self.is_settling = true;
        self.ends(at);
    }

    /// Takes one event in.
    pub(super) fn apply(&mut self, event: &ChangeEvent<'_>) -> Result<(), Trouble> {
        if self.unit.at.timestamp() != event.at.timestamp() {
            self.close_unit();
        }
        self.unit.at = event.at;
        self.unit.txn = event.txn;
        match &event.change {
            Change::Command(command) => self.command(event, command),
            Change::Watermark => Ok(()),
            change if event.ns.db == self.db && event.ns.coll == self.coll => {
                self.incarnation(event.collection_id)?;
                self.document(event.at.timestamp(), change)
            }
            _ => Ok(()),
        }
    }

    /// Everything up to here has been taken in, and no transaction is open.
    pub(super) fn ends(&mut self, at: Position) {
        self.close_unit();
        self.state.at = self.state.at.max(at);
        if self.is_settling && at.timestamp() >= self.exact_from {
            let now = at.timestamp();
            for (key, id) in std::mem::take(&mut self.dirty) {
                self.evidence.insert(key, Evidence::of_copy(id, now));
            }
        }
        self.settle(at.timestamp());
        if self.is_settling
            && at.timestamp() >= self.exact_from
            && !self.evidence.values().any(|one| one.is_of_copy)
        {
            // Whoever follows begins anew, with this.
            self.is_settling = false;
            self.messages.clear();
            self.state.sequence += 1;
            self.messages.push(Message { sequence: self.state.sequence, batch: None });
        }
        self.recurring.clear();
        self.evidence.retain(|_, evidence| !evidence.is_exact());
    }

    /// What is to be shown, with the batches that led to it; none before the first copy is complete.
    pub(super) fn shown(&mut self) -> Option<(State<T>, std::vec::Drain<'_, Message<T>>)> {
        (!self.is_settling && self.copy.is_none() && self.unit.changes.is_empty())
            .then(|| (self.state.clone(), self.messages.drain(..)))
    }

    fn close_unit(&mut self) {
        if !self.unit.changes.is_empty() {
            self.state.sequence += 1;
            let changes = std::mem::take(&mut self.unit.changes);
            let batch = Batch { at: self.unit.at, txn: self.unit.txn, changes };
            if !self.is_settling {
                self.messages.push(Message { sequence: self.state.sequence, batch: Some(Arc::new(batch)) });
            }
        }
        self.state.at = self.state.at.max(self.unit.at);
    }

    /// Other collections may have had, or get, the same name.
    fn incarnation(&mut self, of: Option<[u8; 16]>) -> Result<(), Trouble> {
        match (of, self.collection) {
            (Some(one), Some(other)) if one != other => {
                Err(Trouble::Lost("a change of another collection of the same name".to_owned()))
            }
            (Some(one), None) => {
                self.collection = Some(one);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn is_exact_at(&self, now: Time) -> bool {
        now > self.exact_from
    }

    fn document(&mut self, now: Time, change: &Change<'_>) -> Result<(), Trouble> {
        let id = change
            .key()
            .and_then(crate::event::Key::id)
            .ok_or(Trouble::Lost("a change without `_id`".to_owned()))?;
        let key = Key::of(id, &mut self.scratch.key)?;
        if !self.evidence.is_empty()
            && let Some(evidence) = self.evidence.get(&key)
            && !(evidence.is_exact() && self.state.get(&key).is_some() && now > evidence.until)
        {
            return self.by_evidence(now, &key, id, change);
        }
        match change {
            Change::Insert { after, .. } => self.whole(&key, id, *after, Cause::Write),
            Change::Replace { after, .. } => self.whole(&key, id, *after, Cause::MoveIn),
            Change::Delete { .. } => {
                self.take(&key, Cause::Write);
                Ok(())
            }
            Change::Update { delta, .. } => self.update(now, &key, id, delta),
            Change::HeaderOnly(_) => Err(Trouble::Lost("an event without its document".to_owned())),
            Change::Command(_) | Change::Watermark => Ok(()),
        }
    }

    fn whole(&mut self, key: &Key, id: RawValue<'_>, after: RawDoc<'_>, cause: Cause) -> Result<(), Trouble> {
        self.dirty.remove(key);
        let mut image = std::mem::take(&mut self.scratch.image);
        image.clear();
        let written = stored(id, after, &mut image).and_then(|()| RawDoc::new(&image));
        let result = written.map_err(Trouble::from).and_then(|image| self.set(key, image, cause));
        self.scratch.image = image;
        result
    }

    fn update(&mut self, now: Time, key: &Key, id: RawValue<'_>, delta: &Delta<'_>) -> Result<(), Trouble> {
        let Some(old) = self.state.get(key).cloned() else { return self.update_of_absent(now, delta) };
        let mode = if self.is_exact_at(now) { Strictness::Strict } else { Strictness::Lenient };
        if mode == Strictness::Lenient && matches!(delta, Delta::Modifiers { .. }) {
            self.dirty.insert(key.clone(), only_id(id));
        }
        let mut image = std::mem::take(&mut self.scratch.image);
        image.clear();
        let applied = apply(old.whole(), delta, mode, &mut image);
        let result = match applied {
            Ok(()) => RawDoc::new(&image)
                .map_err(Trouble::from)
                .and_then(|image| self.set(key, image, Cause::MoveIn)),
            Err(error) => Err(Trouble::Lost(error.to_string())),
        };
        self.scratch.image = image;
        result
    }

    /// A document that the collection does not hold, and of which nothing else is known.
    fn update_of_absent(&mut self, now: Time, delta: &Delta<'_>) -> Result<(), Trouble> {
        match &self.scope.filter {
            Some(_) if !self.scope.could_hold_after(delta) => Ok(()),
            None if !self.is_exact_at(now) => Ok(()),
            _ => Err(Trouble::Lost("an update of a document that is not there".to_owned())),
        }
    }

    /// The document is this now.
    fn set(&mut self, key: &Key, image: RawDoc<'_>, cause: Cause) -> Result<(), Trouble> {
        if !self.belongs(image) {
            if self.recurring.contains(key) {
                self.evidence.insert(key.clone(), Evidence::parked(image.as_bytes()));
            }
            self.take(key, Cause::MoveOut);
            return Ok(());
        }
        let new = self.doc(image)?;
        match self.state.put(key, new.clone()) {
            None => {
                // In a full replica whatever comes is a write.
                let cause = if self.scope.filter.is_none() { Cause::Write } else { cause };
                self.unit.changes.push(Seen::Inserted { new, cause });
            }
            Some(old) if old.is_same(&new) => {}
            Some(old) => self.unit.changes.push(Seen::Updated { old, new }),
        }
        Ok(())
    }

    /// The document is gone.
    fn take(&mut self, key: &Key, cause: Cause) {
        if cause == Cause::Write {
            self.dirty.remove(key);
        }
        if let Some(old) = self.state.remove(key) {
            self.unit.changes.push(Seen::Removed { old, cause });
        }
    }

    fn belongs(&mut self, doc: RawDoc<'_>) -> bool {
        self.scope.holds(doc).unwrap_or_else(|_| {
            self.counts.filter_errors += 1;
            false
        })
    }

    fn doc(&mut self, image: RawDoc<'_>) -> Result<Doc<T>, Trouble> {
        let failures = &self.counts.decode_errors;
        let Some(projection) = &self.scope.projection else {
            return Ok(Doc::new(image, None, failures));
        };
        self.scratch.shown.clear();
        projection.apply(image, &mut self.scratch.shown)?;
        Ok(Doc::new(RawDoc::new(&self.scratch.shown)?, Some(image), failures))
    }
}

/// Writes the document as the server stores it: with its `_id` in front, also where the change does not repeat it.
fn stored(id: RawValue<'_>, after: RawDoc<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if after.iter().next().is_some_and(|first| first.is_ok_and(|first| first.name == b"_id")) {
        out.extend_from_slice(after.as_bytes());
        return Ok(());
    }
    let mut document = DocWriter::new(out);
    document.append(b"_id", id);
    for element in after {
        let element = element?;
        if element.name != b"_id" {
            document.append(element.name, element.value);
        }
    }
    document.finish();
    Ok(())
}
