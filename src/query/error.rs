//! What can be wrong with a filter, and with a document.

use crate::bson::Malformed;

/// Why a filter is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterErrorKind {
    /// The server refuses it, too.
    Refused,
    /// The server may accept it, but it can't be decided here.
    Unsupported,
}

/// A filter that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct FilterError {
    /// What sort of trouble it is.
    pub kind: FilterErrorKind,
    /// The names within the filter that lead there, joined with dots.
    pub path: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl FilterError {
    pub(super) fn refused(what: impl Into<String>) -> Self {
        Self { kind: FilterErrorKind::Refused, path: String::new(), what: what.into() }
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self { kind: FilterErrorKind::Unsupported, path: String::new(), what: what.into() }
    }

    /// The same error, seen from one name further out.
    pub(super) fn within(mut self, name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        self.path = if self.path.is_empty() { name.into_owned() } else { format!("{name}.{}", self.path) };
        self
    }
}

impl From<Malformed> for FilterError {
    fn from(damage: Malformed) -> Self {
        Self::refused(format!("the filter is not BSON: {damage}"))
    }
}

/// Why there is no answer for a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// The document is damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A regular expression took too many steps on a string of it.
    #[error("the regular expression gave up: {0}; make it simpler")]
    Regex(String),
    /// An expression fails on this document, as it does on the server.
    #[error("$expr failed: {0}")]
    Expression(String),
    /// What the server would compute is not computed here.
    #[error("$expr: {0} is not computed here")]
    Unsupported(String),
}
