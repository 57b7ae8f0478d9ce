//! The key of a document: the canonical bytes of its `_id`.

use std::cmp::Ordering;

use bson::Bson;

use crate::bson::{Kind, Malformed, RawDoc, RawValue, append_key};

/// How many bytes need no allocation: an ObjectId, a number, a UUID, a short string.
const INLINE: usize = 22;

/// Canonical bytes: equal where the server takes the values for the same, ordered as it orders them.
#[derive(Clone, Debug)]
pub(super) struct Key(Bytes);

#[derive(Clone, Debug)]
enum Bytes {
    Inline { length: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Key {
    /// The key of an `_id`. `scratch` is working space.
    pub(super) fn of(id: RawValue<'_>, scratch: &mut Vec<u8>) -> Result<Self, Malformed> {
        scratch.clear();
        append_key(scratch, id)?;
        Ok(Self::from_bytes(scratch))
    }

    /// The key of a document.
    pub(super) fn of_document(document: RawDoc<'_>, scratch: &mut Vec<u8>) -> Result<Self, Malformed> {
        let id = document.get("_id").ok_or(Malformed { what: "a document without `_id`", offset: 0 })?;
        Self::of(id, scratch)
    }

    pub(super) fn from_bytes(from: &[u8]) -> Self {
        if from.len() > INLINE {
            return Self(Bytes::Heap(from.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..from.len()].copy_from_slice(from);
        Self(Bytes::Inline { length: from.len() as u8, bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// The canonical bytes of a value of the driver's; none if it can't be written as BSON.
pub(super) fn key_of_bson(value: &Bson) -> Option<Key> {
    let of = |kind, bytes: &[u8]| Key::of(RawValue { kind, bytes }, &mut Vec::with_capacity(INLINE)).ok();
    match value {
        Bson::ObjectId(id) => of(Kind::ObjectId, &id.bytes()),
        Bson::Int32(number) => of(Kind::Int32, &number.to_le_bytes()),
        Bson::Int64(number) => of(Kind::Int64, &number.to_le_bytes()),
        other => {
            let document = bson::Document::from_iter([(String::new(), other.clone())]).to_vec().ok()?;
            let value = RawDoc::new(&document).ok()?.iter().next()?.ok()?.value;
            of(value.kind, value.bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_of_several_types_has_one_key_and_long_ones_are_kept_whole() {
        let key = |value: Bson| key_of_bson(&value).unwrap();
        assert_eq!(key(Bson::Int32(1)), key(Bson::Double(1.0)));
        assert_eq!(key(Bson::Int32(1)), key(Bson::Int64(1)));
        assert!(key(Bson::Int32(1)) < key(Bson::Int32(2)) && key(Bson::Int32(2)) < key("1".into()));
        let (long, longer) = ("x".repeat(100), "x".repeat(101));
        assert!(key(long.clone().into()) < key(longer.into()));
        assert_eq!(key(long.clone().into()), key(long.into()));
    }
}
