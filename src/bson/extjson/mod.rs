//! Extended JSON, version 2, relaxed and canonical: straight from BSON bytes to text, and from text to BSON bytes.
//!
//! What text can't hold is said here once. Invalid UTF-8 becomes U+FFFD. The payload of a NaN, the encodings of a Decimal128 that mean
//! the same number, and a document that looks like a typed value (`{"$oid": "…"}`) don't survive a round trip; relaxed text does not
//! tell int32 from int64 either. Everything else does, order and duplicate names included.

mod date;
mod decimal;
pub mod java;
mod parse;
#[cfg(test)]
mod tests;
mod wrapper;
mod write;

pub(crate) use date::{civil, days};
pub use parse::{ParseError, parse};
pub use write::{write_array, write_doc, write_string, write_value};
pub(crate) use write::{write_date, write_hex, write_timestamp, write_uuid};

/// Which of the two forms of Extended JSON to write. Both are read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Numbers as JSON has them, dates as ISO-8601 text where they fit.
    Relaxed,
    /// Every value with its exact type.
    Canonical,
}
