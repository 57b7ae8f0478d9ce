//! MongoDB's query filters on raw BSON, with the server's own semantics: of [`Filter`] the answers, of [`SortSpec`] the order.
//!
//! A filter is compiled once and then asked for any number of documents, without allocation for any of them ($expr aside). What the server
//! refuses is refused; what can't be decided from the document alone (`$where`, `$text`, `$near`, …) is refused with an error of another
//! kind. Version 6.0 is the norm. Older versions answer otherwise in a few places, all of which are in the table that the differential
//! tests keep (`tests/query/versions.rs`). There is no collation: strings are compared as bytes.
//!
//! Knows nothing of oplogs and does no I/O.
//!
//! ```
//! use mongo_observer::bson::{RawDoc, extjson::parse};
//! use mongo_observer::query::Filter;
//!
//! let filter = Filter::parse_json(r#"{"status": {"$in": ["open", "held"]}, "items.price": {"$gte": 100}}"#)?;
//! let order = parse(r#"{"_id": 1, "status": "open", "items": [{"price": 7}, {"price": 100.5}]}"#)?;
//! assert!(filter.matches(RawDoc::new(&order)?)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod affects;
mod bits;
mod condition;
mod error;
mod expr;
mod fields;
mod node;
mod parse;
mod path;
mod regex;
mod sort;
#[cfg(test)]
mod tests;
mod types;

pub use affects::Step;
pub use error::{FilterError, FilterErrorKind, MatchError};
pub use sort::SortSpec;

use crate::bson::{Kind, RawDoc, RawValue, extjson};
use node::Scope;

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    root: Scope,
    reads: Vec<affects::Read>,
}

impl Filter {
    /// Compiles a filter document.
    pub fn parse(filter: RawDoc<'_>) -> Result<Self, FilterError> {
        let root = parse::filter(filter)?;
        let reads = affects::reads(&root.root);
        Ok(Self { root, reads })
    }

    /// Compiles a filter in Extended JSON, relaxed or canonical.
    pub fn parse_json(filter: &str) -> Result<Self, FilterError> {
        let bytes = extjson::parse(filter).map_err(|error| FilterError::refused(error.to_string()))?;
        Self::parse(RawDoc::new(&bytes).map_err(FilterError::from)?)
    }

    /// Whether the document is among those that the server would find. Errors are damaged documents, and what the server would fail with
    /// on this document.
    pub fn matches(&self, doc: RawDoc<'_>) -> Result<bool, MatchError> {
        self.root.matches(doc)
    }
}

/// A value of the filter.
#[derive(Clone, PartialEq, Eq)]
struct Constant {
    kind: Kind,
    bytes: Box<[u8]>,
}

impl Constant {
    fn of(value: RawValue<'_>) -> Self {
        Self { kind: value.kind(), bytes: value.as_bytes().into() }
    }

    fn view(&self) -> RawValue<'_> {
        RawValue { kind: self.kind, bytes: &self.bytes }
    }
}

impl std::fmt::Debug for Constant {
    /// Only type and size, as of all values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}
