//! What subscribers get: changes, in batches that are the source's transactions.

use std::fmt;

use super::document::Doc;
use crate::event::{Position, Txn};

/// Why a document came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was inserted or deleted.
    Write,
    /// It was changed, and matches the filter since.
    MoveIn,
    /// It was changed, and does not match the filter any more.
    MoveOut,
    /// The collection was dropped, renamed away or emptied.
    Drop,
}

/// One change of one document.
pub enum Change<T> {
    /// It was not there before.
    Inserted {
        /// The document.
        new: Doc<T>,
        /// Why.
        cause: Cause,
    },
    /// It has changed.
    Updated {
        /// What it was.
        old: Doc<T>,
        /// What it is.
        new: Doc<T>,
    },
    /// It is no longer there.
    Removed {
        /// What it was.
        old: Doc<T>,
        /// Why.
        cause: Cause,
    },
}

impl<T> Change<T> {
    /// What the document was, if it was there.
    pub fn old(&self) -> Option<&Doc<T>> {
        match self {
            Self::Inserted { .. } => None,
            Self::Updated { old, .. } | Self::Removed { old, .. } => Some(old),
        }
    }

    /// What the document is, if it is there.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(&self) -> Option<&Doc<T>> {
        match self {
            Self::Inserted { new, .. } | Self::Updated { new, .. } => Some(new),
            Self::Removed { .. } => None,
        }
    }
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Inserted { new, cause } => Self::Inserted { new: new.clone(), cause: *cause },
            Self::Updated { old, new } => Self::Updated { old: old.clone(), new: new.clone() },
            Self::Removed { old, cause } => Self::Removed { old: old.clone(), cause: *cause },
        }
    }
}

impl<T> fmt::Debug for Change<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inserted { new, cause } => write!(f, "Inserted({new:?}, {cause:?})"),
            Self::Updated { old, new } => write!(f, "Updated({old:?}, {new:?})"),
            Self::Removed { old, cause } => write!(f, "Removed({old:?}, {cause:?})"),
        }
    }
}

/// The changes of one transaction, or of one write that stands alone.
pub struct Batch<T> {
    pub(super) at: Position,
    pub(super) txn: Option<Txn>,
    pub(super) changes: Vec<Change<T>>,
}

impl<T> Batch<T> {
    /// The position of its last change.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The transaction, if it is one. Its `count` also counts operations on other collections.
    pub fn txn(&self) -> Option<Txn> {
        self.txn
    }

    /// The changes, in the order in which they were made. A transaction may have changed a document several times.
    pub fn iter(&self) -> std::slice::Iter<'_, Change<T>> {
        self.changes.iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a Change<T>;
    type IntoIter = std::slice::Iter<'a, Change<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({:?}, {:?})", self.at, self.changes)
    }
}
