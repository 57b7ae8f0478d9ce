//! Database and collection.

use std::fmt;

/// `database.collection`, split at the first dot: collection names may hold dots, database names can't.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace<'a> {
    /// The database.
    pub db: &'a str,
    /// The collection; empty where a command concerns the whole database.
    pub coll: &'a str,
}

impl<'a> Namespace<'a> {
    /// Splits `database.collection`.
    pub fn split(full: &'a str) -> Self {
        let (db, coll) = full.split_once('.').unwrap_or((full, ""));
        Self { db, coll }
    }
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.coll.is_empty() { f.write_str(self.db) } else { write!(f, "{}.{}", self.db, self.coll) }
    }
}

impl fmt::Debug for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
