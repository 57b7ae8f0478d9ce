//! The uniform change event: what happened to one document, or one command on a namespace.
//!
//! An event is a view, borrowed from the bytes of an oplog entry; it never outlives them and never crosses a thread.

mod apply;
mod command;
mod diff;
mod image;
mod namespace;
mod position;
pub mod token;

pub use apply::{NotApplicable, Strictness, apply, id_first};
pub use diff::{Component, Components, Delta, DeltaVisitor, Section};
pub use image::{AfterImages, BeforeImages, Image, ImageSettings, Images, NoImage};
pub use namespace::Namespace;
pub use position::{Mark, NotAPosition, Position};

use crate::bson::{DocWriter, RawDoc, RawValue};

/// One change.
#[derive(Clone, Copy, Debug)]
pub struct ChangeEvent<'a> {
    /// Where it stands in the source's history.
    pub at: Position,
    /// The election term of its oplog entry.
    pub term: Option<i64>,
    /// The primary's wall clock when it was written, in milliseconds since 1970. Not monotonic: for latency, never for order.
    pub wall_ms: Option<i64>,
    /// The collection; a command on a whole database has an empty collection name.
    pub ns: Namespace<'a>,
    /// The collection's UUID as the oplog has it: survives a rename, changes when a collection is dropped and made again. With a command
    /// on a view it is that of the collection in which views are defined; see [`ChangeEvent::own_collection_id`].
    pub collection_id: Option<[u8; 16]>,
    /// What happened.
    pub change: Change<'a>,
    /// The whole document before it and behind it, where asked for.
    pub images: Images<'a>,
    /// The transaction that it belongs to; its index there is the ordinal of [`ChangeEvent::at`].
    pub txn: Option<Txn>,
    /// The replica set: its name, and its id where the privileges allow to read it.
    pub source: &'a str,
}

impl ChangeEvent<'_> {
    /// The UUID of what the event is about; a view has none.
    pub fn own_collection_id(&self) -> Option<[u8; 16]> {
        let is_view =
            matches!(self.change, Change::Command(command) if command.of != CollectionType::Collection);
        if is_view { None } else { self.collection_id }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A new document.
    Insert {
        /// The document's key.
        key: Key<'a>,
        /// The document, exact.
        after: RawDoc<'a>,
    },
    /// Some fields changed.
    Update {
        /// The document's key.
        key: Key<'a>,
        /// What changed.
        delta: Delta<'a>,
    },
    /// The whole document was replaced.
    Replace {
        /// The document's key.
        key: Key<'a>,
        /// The new document, exact. One that a user's `applyOps` wrote without its `_id`, which it keeps, has none here.
        after: RawDoc<'a>,
    },
    /// The document is gone.
    Delete {
        /// The document's key.
        key: Key<'a>,
    },
    /// A command on a collection or a database.
    Command(Command<'a>),
    /// A change of a document that is too large for the sink: only what happened, and to which.
    HeaderOnly(HeaderOnly<'a>),
    /// Nothing: says only that everything up to this position has been published.
    Watermark,
}

impl Change<'_> {
    /// The `op` of an event: MongoDB's own words, those of change streams.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Update { .. } => "update",
            Self::Replace { .. } => "replace",
            Self::Delete { .. } => "delete",
            Self::Command(command) => command.name,
            Self::HeaderOnly(header) => header.op,
            Self::Watermark => "watermark",
        }
    }

    /// Whether it concerns one document.
    pub fn is_document(&self) -> bool {
        self.key().is_some()
    }
}

impl<'a> Change<'a> {
    /// The document's key.
    pub fn key(&self) -> Option<&Key<'a>> {
        match self {
            Self::Insert { key, .. }
            | Self::Update { key, .. }
            | Self::Replace { key, .. }
            | Self::Delete { key } => Some(key),
            Self::HeaderOnly(header) => Some(&header.key),
            Self::Command(_) | Self::Watermark => None,
        }
    }
}

/// An event without what makes it too large for the sink.
#[derive(Clone, Copy, Debug)]
pub struct HeaderOnly<'a> {
    /// What happened, in the words of [`Change::name`].
    pub op: &'static str,
    /// The document's key.
    pub key: Key<'a>,
    /// How large the whole event would be, as the sink counts.
    pub bytes: usize,
    /// What the sink takes.
    pub limit: usize,
}

impl HeaderOnly<'_> {
    /// Appends the field that tells what is missing, and why: of the smallest type that holds the numbers.
    pub(crate) fn append(&self, doc: &mut DocWriter<'_>) {
        let mut fields = doc.document(b"tooLarge");
        for (name, number) in [("bytes", self.bytes), ("limit", self.limit)] {
            match i32::try_from(number) {
                Ok(number) => fields.append_i32(name.as_bytes(), number),
                Err(_) => fields.append_i64(name.as_bytes(), i64::try_from(number).unwrap_or(i64::MAX)),
            }
        }
        fields.finish();
    }
}

/// A command that changed a collection or a database.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The change stream's word for it: `create`, `drop`, `rename`, `dropDatabase`, `createIndexes`, `dropIndexes`, `modify`, …
    pub name: &'static str,
    /// The command as the oplog has it; of a view its document in `system.views`, which for a drop is only its `_id`.
    pub o: RawDoc<'a>,
    /// The entry's second document, such as the old options.
    pub o2: Option<RawDoc<'a>>,
    /// Where a rename leads to.
    pub to: Option<Namespace<'a>>,
    /// What sort of collection it is about.
    pub of: CollectionType,
    /// The collection, or that which a rename leads to, now has contents that no events before have told: those of a namespace that is
    /// not captured, or of another collection in the place of the one that was there.
    pub replaced: bool,
}

impl<'a> Command<'a> {
    /// A command on a collection, of which nothing is known but this.
    pub fn new(name: &'static str, o: RawDoc<'a>) -> Self {
        Self { name, o, o2: None, to: None, of: CollectionType::Collection, replaced: false }
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CollectionType {
    /// An ordinary collection, or a whole database.
    #[default]
    Collection,
    /// A view. The oplog does not tell that a dropped one was a time-series collection.
    View,
    /// A time-series collection, which is a view of its buckets.
    TimeSeries,
}

impl CollectionType {
    /// The change stream's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::View => "view",
            Self::TimeSeries => "timeseries",
        }
    }
}

/// A document's key: `_id`, behind the shard key's fields in a sharded collection.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// The oplog names the whole key.
    Document(RawDoc<'a>),
    /// The oplog has only the document, whose `_id` this is.
    Id(RawValue<'a>),
}

impl<'a> Key<'a> {
    /// The `_id`, which identifies a document within its collection.
    pub fn id(&self) -> Option<RawValue<'a>> {
        match self {
            Self::Document(key) => key.get("_id"),
            Self::Id(id) => Some(*id),
        }
    }
}

/// A multi-document transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Txn {
    /// The logical session's UUID.
    pub session: [u8; 16],
    /// The digest of the session's user.
    pub user: Option<[u8; 32]>,
    /// The transaction's number within the session.
    pub number: i64,
    /// How many operations it has, before any filter.
    pub count: u32,
}
