//! A collection that lives in memory: for tests of what is built on collections, and for examples.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bson::{Bson, Document};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::{Changes, Feed, FeedItem, Go, Looked, Wanted};
use crate::bson::{RawDoc, RawValue, key};
use crate::error::{Error, ErrorKind};
use crate::event::{self, Change, ChangeEvent, Command, Delta, Key, Namespace, Position, Strictness, Txn};

/// At most this many transactions come at once.
const BATCH: usize = 512;

/// A collection in memory, with its whole history. It takes writes and can be followed as a collection of a server can; each write is a
/// transaction, and the time is the number of transactions.
#[derive(Clone)]
pub struct MemorySource(Arc<Shared>);

struct Shared {
    ns: String,
    history: Mutex<History>,
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct History {
    docs: BTreeMap<Vec<u8>, Vec<u8>>,
    units: Vec<Arc<Vec<Op>>>,
}

/// One operation of a transaction. Documents are bytes.
enum Op {
    Insert(Vec<u8>),
    Replace(Vec<u8>),
    Set { id: Vec<u8>, paths: Vec<u8> },
    Delete { id: Vec<u8> },
    Drop,
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource").field("ns", &self.0.ns).finish_non_exhaustive()
    }
}

impl MemorySource {
    /// An empty collection of that name, `database.collection`.
    pub fn new(ns: &str) -> Self {
        let shared =
            Shared { ns: ns.to_owned(), history: Mutex::default(), length: watch::Sender::default() };
        Self(Arc::new(shared))
    }

    /// Makes writes, each a transaction of its own, that become visible together.
    pub fn write<R>(&self, writes: impl FnOnce(&mut Writes<'_>) -> R) -> R {
        let mut history = self.0.lock();
        let result = writes(&mut Writes { history: &mut history });
        let length = history.units.len();
        drop(history);
        self.0.length.send_replace(length);
        result
    }

    /// Inserts a document, or puts it in the place of the one with its `_id`.
    pub fn insert(&self, document: &Document) -> Position {
        self.write(|writes| writes.insert(document))
    }

    /// Sets some paths of the document with that `_id`. Where there is none, nothing happens.
    pub fn set(&self, id: impl Into<Bson>, paths: &Document) -> Position {
        self.write(|writes| writes.set(id, paths))
    }

    /// Deletes the document with that `_id`.
    pub fn delete(&self, id: impl Into<Bson>) -> Position {
        self.write(|writes| writes.delete(id))
    }

    /// Deletes all documents at once.
    pub fn drop_collection(&self) -> Position {
        self.write(|writes| writes.unit(vec![Op::Drop]))
    }

    pub(crate) fn ns(&self) -> &str {
        &self.0.ns
    }

    pub(crate) fn feed(&self) -> MemoryFeed {
        MemoryFeed { source: self.clone(), length: self.0.length.subscribe(), step: Step::Begin }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes writes.
pub struct Writes<'a> {
    history: &'a mut History,
}

impl fmt::Debug for Writes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").finish_non_exhaustive()
    }
}

impl Writes<'_> {
    /// Inserts a document, or puts it in the place of the one with its `_id`.
    pub fn insert(&mut self, document: &Document) -> Position {
        let op = self.written(document);
        self.unit(vec![op])
    }

    /// Sets some paths of the document with that `_id`.
    pub fn set(&mut self, id: impl Into<Bson>, paths: &Document) -> Position {
        self.unit(vec![Op::Set { id: only_id(id.into()), paths: bytes(paths) }])
    }

    /// Deletes the document with that `_id`.
    pub fn delete(&mut self, id: impl Into<Bson>) -> Position {
        self.unit(vec![Op::Delete { id: only_id(id.into()) }])
    }

    /// Inserts or replaces several documents in one transaction.
    pub fn insert_together(&mut self, documents: &[Document]) -> Position {
        let ops = documents.iter().map(|document| self.written(document)).collect();
        self.unit(ops)
    }

    fn written(&self, document: &Document) -> Op {
        let bytes = bytes(document);
        let is_new = !self.history.docs.contains_key(&key_of(&bytes));
        if is_new { Op::Insert(bytes) } else { Op::Replace(bytes) }
    }

    fn unit(&mut self, mut ops: Vec<Op>) -> Position {
        ops.retain(|op| self.history.take(op));
        self.history.units.push(Arc::new(ops));
        Position::behind_entry(1, self.history.units.len() as u32)
    }
}

impl History {
    /// Whether the operation changes anything.
    fn take(&mut self, op: &Op) -> bool {
        match op {
            Op::Insert(document) | Op::Replace(document) => {
                self.docs.insert(key_of(document), document.clone());
                true
            }
            Op::Set { id, paths } => match self.docs.get_mut(&key_of(id)) {
                Some(document) => {
                    *document = set(document, paths);
                    true
                }
                None => false,
            },
            Op::Delete { id } => self.docs.remove(&key_of(id)).is_some(),
            Op::Drop => {
                self.docs.clear();
                true
            }
        }
    }

    /// What a document was behind that many transactions.
    fn at(&self, id: &[u8], units: usize) -> Option<Vec<u8>> {
        let wanted = key_of(id);
        let mut image: Option<Vec<u8>> = None;
        for op in self.units.iter().take(units).flat_map(|unit| unit.iter()) {
            match op {
                Op::Insert(document) | Op::Replace(document) if key_of(document) == wanted => {
                    image = Some(document.clone());
                }
                Op::Set { id, paths } if key_of(id) == wanted => {
                    image = image.map(|image| set(&image, paths));
                }
                Op::Delete { id } if key_of(id) == wanted => image = None,
                Op::Drop => image = None,
                _ => {}
            }
        }
        image
    }
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().unwrap_or_else(|_| RawDoc::EMPTY.as_bytes().to_vec())
}

fn only_id(id: Bson) -> Vec<u8> {
    bytes(&Document::from_iter([("_id".to_owned(), id)]))
}

fn id_of(document: &[u8]) -> Option<RawValue<'_>> {
    RawDoc::new(document).ok()?.get("_id")
}

fn key_of(document: &[u8]) -> Vec<u8> {
    id_of(document).and_then(|id| key(id).ok()).unwrap_or_default()
}

fn delta(paths: &[u8]) -> Delta<'_> {
    Delta::Modifiers { set: RawDoc::new(paths).ok(), unset: None }
}

/// The document with these paths; as it was where they don't fit.
fn set(document: &[u8], paths: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let before = RawDoc::new(document).unwrap_or(RawDoc::EMPTY);
    match event::apply(before, &delta(paths), Strictness::Lenient, &mut out) {
        Ok(()) => out,
        Err(_) => document.to_vec(),
    }
}

/// Follows a source.
pub(crate) struct MemoryFeed {
    source: MemorySource,
    length: watch::Receiver<usize>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Copy,
    Loaded { units: usize },
    Tail { units: usize },
}

impl Feed for MemoryFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<FeedItem, Error>> {
        async move {
            match self.step {
                Step::Begin => {
                    self.step = Step::Copy;
                    Ok(FeedItem::Begin { collection: None })
                }
                Step::Copy => {
                    let history = self.source.0.lock();
                    self.step = Step::Loaded { units: history.units.len() };
                    Ok(FeedItem::Documents(history.docs.values().cloned().collect()))
                }
                Step::Loaded { units } => {
                    self.step = Step::Tail { units };
                    let at = Position::behind_entry(1, units as u32);
                    Ok(FeedItem::Loaded { at, exact_from: at })
                }
                Step::Tail { units } => self.tail(units).await,
            }
        }
        .boxed()
    }

    fn reload(&mut self) {
        self.step = Step::Begin;
    }

    fn look_up<'a>(
        &'a mut self,
        wanted: &'a [Wanted],
        _: Option<[u8; 16]>,
    ) -> BoxFuture<'a, Result<Vec<Looked>, Error>> {
        let history = self.source.0.lock();
        let looked = wanted.iter().map(|Wanted { id, at, .. }| Looked {
            image: history.at(id, at.1 as usize),
            from: *at,
            until: *at,
        });
        let looked = looked.collect();
        async move { Ok(looked) }.boxed()
    }
}

impl MemoryFeed {
    async fn tail(&mut self, from: usize) -> Result<FeedItem, Error> {
        let gone = |_| Error::new(ErrorKind::Internal, "the source is gone");
        self.length.wait_for(|length| *length > from).await.map_err(gone)?;
        let units: Vec<_> = self.source.0.lock().units.iter().skip(from).take(BATCH).cloned().collect();
        self.step = Step::Tail { units: from + units.len() };
        Ok(FeedItem::Changes(Box::new(MemoryChanges { ns: self.source.0.ns.clone(), from, units })))
    }
}

struct MemoryChanges {
    ns: String,
    from: usize,
    units: Vec<Arc<Vec<Op>>>,
}

impl Changes for MemoryChanges {
    fn visit(&self, each: &mut dyn FnMut(&ChangeEvent<'_>) -> Go) -> Result<(), String> {
        for (number, unit) in (self.from as u32 + 1..).zip(&self.units) {
            let txn = Txn { session: [0; 16], user: None, number: number.into(), count: unit.len() as u32 };
            for (ordinal, op) in (0..).zip(unit.iter()) {
                let event = ChangeEvent {
                    at: Position { t: 1, i: number, ordinal },
                    term: None,
                    wall_ms: None,
                    ns: Namespace::split(&self.ns),
                    collection_id: None,
                    change: op.change(),
                    images: event::Images::default(),
                    txn: (unit.len() > 1).then_some(txn),
                    source: "memory",
                };
                if each(&event) == Go::Enough {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn end(&self) -> Position {
        Position::behind_entry(1, (self.from + self.units.len()) as u32)
    }

    fn ends_unit(&self) -> bool {
        true
    }

    fn wall_ms(&self) -> Option<i64> {
        None
    }
}

impl Op {
    fn change(&self) -> Change<'_> {
        let doc = |bytes| RawDoc::new(bytes).unwrap_or(RawDoc::EMPTY);
        match self {
            Self::Insert(after) => Change::Insert { key: Key::Document(doc(after)), after: doc(after) },
            Self::Replace(after) => Change::Replace { key: Key::Document(doc(after)), after: doc(after) },
            Self::Set { id, paths } => Change::Update { key: Key::Document(doc(id)), delta: delta(paths) },
            Self::Delete { id } => Change::Delete { key: Key::Document(doc(id)) },
            Self::Drop => Change::Command(Command::new("drop", RawDoc::EMPTY)),
        }
    }
}
