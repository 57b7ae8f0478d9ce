//! Which documents a collection holds, and what it shows of them.

use std::sync::Arc;

use super::projection::Projection;
use crate::bson::RawDoc;
use crate::event::Delta;
use crate::query::Filter;

/// All documents, or those that match; with all of their fields, or some.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) projection: Option<Projection>,
}

impl Scope {
    /// Whether the document belongs to the collection. An error is one that the server would fail with.
    pub(super) fn holds(&self, doc: RawDoc<'_>) -> Result<bool, crate::query::MatchError> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.matches(doc))
    }

    /// Whether a document that does not belong to the collection could belong to it after such a change. Where nothing else is known, it
    /// could.
    pub(super) fn could_hold_after(&self, delta: &Delta<'_>) -> bool {
        let _ = delta;
        self.filter.is_some()
    }
}
