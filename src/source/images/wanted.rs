//! Which documents operations want.

use std::collections::{HashMap, HashSet};

use super::CollectionId;
use crate::bson::{Kind, RawDoc, RawValue};
use crate::event::{AfterImages, BeforeImages, Change, ChangeEvent, ImageSettings, Key, NoImage, Position};
use crate::source::oplog::translate;
use crate::source::{Chunk, Namespaces, Op};

/// What the server is asked for at once.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is sought.
    pub sought: Sought<'a>,
    /// All changes up to that position must be in what is read.
    pub not_before: Position,
    /// About how many documents a reply should hold.
    pub at_once: u32,
}

/// Documents of one sort.
#[derive(Clone, Debug)]
pub enum Sought<'a> {
    /// The documents of a collection that have these `_id`s, as they are now. None of a collection that is gone, whatever has its name.
    Current {
        /// The collection's database.
        db: &'a str,
        /// The collection.
        collection: CollectionId,
        /// The `_id`s, each once.
        ids: Vec<RawValue<'a>>,
    },
    /// What was there before the changes of a collection between two positions, both included: documents of `config.system.preimages`.
    Records {
        /// The collection.
        collection: CollectionId,
        /// The first change.
        first: Position,
        /// The last one.
        last: Position,
    },
    /// The no-ops of the oplog between two entries, both included.
    NoOps {
        /// The first entry.
        first: Position,
        /// The last one.
        last: Position,
    },
}

/// Names a document that an image is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted<'a> {
    /// The current one with that `_id`, byte for byte: where a collation takes several texts for the same, another one with the same `_id`
    /// is another document.
    Current { collection: CollectionId, kind: Kind, id: &'a [u8] },
    /// What was there before the change at that place.
    Record { collection: CollectionId, at: Position },
    /// What is in the no-op of that entry.
    NoOp { at: Position },
}

/// What one operation wants: nothing, a document, or something that can't be had.
type Want<'a> = Option<Result<Wanted<'a>, NoImage>>;

/// What one operation wants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants<'a> {
    /// What was there before it; for an image of that, or for one of what it led to.
    pub(super) before: Want<'a>,
    /// What is there now.
    pub(super) now: Want<'a>,
    db: &'a str,
}

impl<'a> Wants<'a> {
    /// What that operation wants; nothing if it is none that is published.
    pub(super) fn of(
        chunk: &'a Chunk,
        op: &Op,
        namespaces: &Namespaces,
        settings: ImageSettings,
        keeps_records: bool,
    ) -> Self {
        let Ok(Some(event)) = translate(chunk, op, namespaces, "") else { return Self::default() };
        let is_update = matches!(event.change, Change::Update { .. });
        let ends_something =
            is_update || matches!(event.change, Change::Replace { .. } | Change::Delete { .. });
        let wants_before = ends_something && settings.before == BeforeImages::Stored
            || is_update && settings.after == AfterImages::Stored;
        let wants_now = is_update && settings.after == AfterImages::Lookup;
        Self {
            before: wants_before.then(|| record(chunk, op, &event, keeps_records)),
            now: wants_now.then(|| current(&event)),
            db: event.ns.db,
        }
    }

    /// Whether it wants nothing.
    pub(super) fn is_nothing(&self) -> bool {
        self.before.is_none() && self.now.is_none()
    }

    /// The documents that it wants.
    pub(super) fn all(&self) -> impl Iterator<Item = Wanted<'a>> {
        [self.before, self.now].into_iter().flatten().filter_map(Result::ok)
    }
}

/// Where the entry names a no-op there it is: servers before 6.0, of collections with `recordPreImages`, and of retryable findAndModify.
fn record<'a>(
    chunk: &'a Chunk,
    op: &Op,
    event: &ChangeEvent<'a>,
    keeps_records: bool,
) -> Result<Wanted<'a>, NoImage> {
    if let Some(at) = named_no_op(chunk, op) {
        return Ok(Wanted::NoOp { at });
    }
    match event.collection_id {
        _ if !keeps_records => Err(NoImage::NotRecorded),
        // In a transaction of several entries it is the entry that holds the operation, not the one that commits it.
        Some(collection) => Ok(Wanted::Record { collection, at: op.piece.unwrap_or(op.at) }),
        None => Err(NoImage::NotFound),
    }
}

fn named_no_op(chunk: &Chunk, op: &Op) -> Option<Position> {
    let named = RawDoc::new(chunk.document(op)).ok()?.get("preImageOpTime")?.as_doc()?;
    let (t, i) = named.get("ts")?.as_timestamp()?;
    Some(Position::of_entry(t, i))
}

fn current<'a>(event: &ChangeEvent<'a>) -> Result<Wanted<'a>, NoImage> {
    let id = event.change.key().and_then(Key::id);
    // A user's `applyOps` may name no collection: what has that name now may be another one.
    let (collection, id) = event.collection_id.zip(id).ok_or(NoImage::NotFound)?;
    Ok(Wanted::Current { collection, kind: id.kind(), id: id.as_bytes() })
}

/// What to ask for, so that all of that is found.
pub(super) fn requests<'a>(all: &[Wants<'a>], not_before: Position, at_once: u32) -> Vec<Request<'a>> {
    let mut current: HashMap<CollectionId, (&'a str, Vec<RawValue<'a>>)> = HashMap::new();
    let mut records: HashMap<CollectionId, (Position, Position)> = HashMap::new();
    let mut no_ops: Option<(Position, Position)> = None;
    let mut seen = HashSet::new();
    let widened = |range: Option<(Position, Position)>, at: Position| match range {
        Some((first, last)) => (first.min(at), last.max(at)),
        None => (at, at),
    };
    for wants in all {
        for wanted in wants.all() {
            match wanted {
                Wanted::Current { collection, kind, id } => {
                    if seen.insert(wanted) {
                        let (_, ids) = current.entry(collection).or_insert((wants.db, Vec::new()));
                        ids.push(RawValue { kind, bytes: id });
                    }
                }
                Wanted::Record { collection, at } => {
                    let range = widened(records.get(&collection).copied(), at);
                    records.insert(collection, range);
                }
                Wanted::NoOp { at } => no_ops = Some(widened(no_ops, at)),
            }
        }
    }
    let current = current.into_iter().map(|(collection, (db, ids))| Sought::Current { db, collection, ids });
    let records =
        records.into_iter().map(|(collection, (first, last))| Sought::Records { collection, first, last });
    let no_ops = no_ops.into_iter().map(|(first, last)| Sought::NoOps { first, last });
    let sought = current.chain(records).chain(no_ops);
    sought.map(|sought| Request { sought, not_before, at_once }).collect()
}

impl Sought<'_> {
    /// What a document of the answer is, and which part of it the image.
    pub(super) fn found<'d>(&self, document: RawDoc<'d>) -> Option<(Wanted<'d>, RawDoc<'d>)> {
        match *self {
            Self::Current { collection, .. } => {
                let id = document.get("_id")?;
                Some((Wanted::Current { collection, kind: id.kind(), id: id.as_bytes() }, document))
            }
            Self::Records { collection, .. } => {
                let id = document.get("_id")?.as_doc()?;
                let (t, i) = id.get("ts")?.as_timestamp()?;
                let ordinal = u32::try_from(id.get("applyOpsIndex")?.as_i64()?).ok()?;
                let at = Position { t, i, ordinal };
                Some((Wanted::Record { collection, at }, document.get("preImage")?.as_doc()?))
            }
            Self::NoOps { .. } => {
                let (t, i) = document.get("ts")?.as_timestamp()?;
                Some((Wanted::NoOp { at: Position::of_entry(t, i) }, document.get("o")?.as_doc()?))
            }
        }
    }
}
