//! What a collection is doing, and how far it has come.

use std::time::Duration;

use crate::event::Position;

/// What a collection is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The first copy is being read. Readers see an empty collection.
    #[default]
    Loading,
    /// The copy is there and follows its source.
    Live,
    /// The source can't be reached. Readers see what was there before; it goes on by itself.
    Stale {
        /// Why.
        reason: String,
    },
    /// Changes may have been missed, so a new copy is being read. Readers see what was there before; then they get it all at once.
    Resyncing {
        /// Why.
        reason: String,
    },
    /// It has ended, and will not follow its source any more.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The state of a collection, with what was counted since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Whether the first copy has been complete.
    pub is_ready: bool,
    /// Everything up to here is visible.
    pub position: Option<Position>,
    /// How old the newest change was when it became visible; nothing while there is nothing to do.
    pub lag: Option<Duration>,
    /// The number of documents.
    pub documents: usize,
    /// Documents that are not of the collection's type, among those whose typed view was asked for.
    pub decode_errors: u64,
    /// Documents that the filter fails on, as the server would; they are taken for ones that don't match.
    pub filter_errors: u64,
    /// Changes that did not fit what the collection held: each has led to a new copy, or was without effect.
    pub inconsistencies: u64,
    /// How often a new copy was read.
    pub resyncs: u64,
    /// Documents that were read from the source because their change alone did not say whether they match now.
    pub lookups: u64,
    /// Documents that are being read for that reason.
    pub pending: usize,
}
