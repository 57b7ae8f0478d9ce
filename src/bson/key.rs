//! Canonical bytes of a value: equal where the server takes the values for the same, ordered as it orders them.

use super::keystring::KeyString;
use super::{Malformed, RawValue};

/// The canonical bytes of a value. Two values have the same bytes exactly where [`super::compare`] says that they are equal, and the order
/// of the bytes is that of the values; so `1`, `1.0` and `{"$numberDecimal": "1.00"}` have one key. No key is the beginning of another.
///
/// It is the server's own encoding of an index key. It keeps values, not types: what was written can't be read back from it.
pub fn key(value: RawValue<'_>) -> Result<Vec<u8>, Malformed> {
    let mut key = KeyString::default();
    key.value(value, 0)?;
    Ok(key.bytes)
}

/// Appends the canonical bytes of a value. What was appended before an error stays there.
pub fn append_key(out: &mut Vec<u8>, value: RawValue<'_>) -> Result<(), Malformed> {
    let mut key = KeyString { bytes: std::mem::take(out), ..KeyString::default() };
    let written = key.value(value, 0);
    *out = key.bytes;
    written
}
