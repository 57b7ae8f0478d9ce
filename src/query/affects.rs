//! Whether a change of a document can change a filter's answer, told from the changed path alone.

use super::Filter;
use super::condition::{Condition, Test};
use super::node::{Node, Scope};
use super::path::Name;

/// One step on the way to what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a field of a document.
    Name(&'a [u8]),
    /// Into an element of an array.
    Index(usize),
    /// Into the one or the other: a dotted path of digits doesn't say.
    Either(&'a [u8]),
}

/// What changed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The value is another one, or is there now, or is gone.
    Value,
    /// The array has lost what it had from that index on.
    Truncated(usize),
}
