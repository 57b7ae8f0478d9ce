//! Where a collection's documents and changes come from.

pub(super) mod memory;
#[cfg(feature = "mongodb")]
pub(super) mod mongodb;

use futures::future::BoxFuture;

use crate::error::Error;
use crate::event::{ChangeEvent, Position};

/// A history of one collection: a full copy first, then the changes behind it, in order.
pub(super) trait Feed: Send {
    /// What comes next. After an error that may pass it is asked again, and goes on where it was.
    fn next(&mut self) -> BoxFuture<'_, Result<FeedItem, Error>>;

    /// Begins anew: with a full copy.
    fn reload(&mut self);

    /// Reads documents of the collection with that UUID, in the order in which they are wanted.
    fn look_up<'a>(
        &'a mut self,
        wanted: &'a [Wanted],
        collection: Option<[u8; 16]>,
    ) -> BoxFuture<'a, Result<Vec<Looked>, Error>>;
}

/// What a feed gives.
pub(super) enum FeedItem {
    /// A full copy begins: of that collection, none if there is none yet.
    Begin { collection: Option<[u8; 16]> },
    /// Documents of the copy.
    Documents(Vec<Vec<u8>>),
    /// The copy is complete. Changes follow from behind `at` on; the copy may hold effects of some up to `exact_from`.
    Loaded { at: Position, exact_from: Position },
    /// Changes.
    Changes(Box<dyn Changes>),
}

/// Some changes, in order.
pub(super) trait Changes: Send + Sync {
    /// Calls `each` for every event until it says that it is enough. An error is an event that can't be understood.
    fn visit(&self, each: &mut dyn FnMut(&ChangeEvent<'_>) -> Go) -> Result<(), String>;
    /// With these, everything up to here is done.
    fn end(&self) -> Position;
    /// Whether that is the end of a transaction.
    fn ends_unit(&self) -> bool;
    /// When the newest of them was made, by its server's clock, in milliseconds since 1970.
    fn wall_ms(&self) -> Option<i64>;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Enough,
}

/// A document that has to be read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// A document with only its `_id`.
    pub(super) id: Vec<u8>,
    /// The change that can't be decided without it.
    pub(super) since: (u32, u32),
    /// The document is wanted as it was behind the effects of the entry at this time.
    pub(super) at: (u32, u32),
}

/// What was read, in the order in which it was wanted.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// The document; none if there is none.
    pub(super) image: Option<Vec<u8>>,
    /// It has the effects of everything up to here,
    pub(super) from: (u32, u32),
    /// and may have those of what came up to here.
    pub(super) until: (u32, u32),
}
