//! Raw BSON: views of bytes, without decoding and without allocation.
//!
//! The oplog holds what applications wrote, copied verbatim: invalid UTF-8 in values and in names, duplicate and empty names,
//! documents above 16 MiB. So names and strings are bytes here, nothing is looked up in a map, and every step is checked:
//! a damaged document gives a [`Malformed`], never a panic, and never a document that silently lacks its last fields.
//!
//! Knows nothing of oplogs. Format: the BSON specification, version 1.1.

mod compare;
mod decimal;
pub mod extjson;
mod key;
pub(crate) mod keystring;
mod number;
mod plain;
mod walk;
mod write;

pub use compare::{Class, compare, compare_docs};
pub use decimal::Decimal;
pub use key::{append_key, key};
pub use number::Number;
pub use plain::{is_plainest, plainest};
pub use walk::{Element, Iter};
pub use write::DocWriter;

/// Nesting that a reader follows before it gives up. The server stores at most 180 levels; an oplog entry adds a few around them.
pub const DEPTH_MAX: usize = 220;

/// Bytes that are not BSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed BSON at byte {offset}: {what}")]
pub struct Malformed {
    /// What is wrong, as a phrase.
    pub what: &'static str,
    /// Where, counted from the start of the innermost document.
    pub offset: usize,
}

/// A BSON document as bytes: its length, its elements, a final zero. The elements are checked as they are walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawDoc<'a>(&'a [u8]);

impl<'a> RawDoc<'a> {
    /// The empty document.
    pub const EMPTY: RawDoc<'static> = RawDoc(&[5, 0, 0, 0, 0]);

    /// A view of `bytes`, which must be exactly one document.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let length = read_i32(bytes, 0)?;
        if usize::try_from(length).ok() != Some(bytes.len()) || bytes.len() < 5 {
            return Err(Malformed { what: "the document's length does not fit its bytes", offset: 0 });
        }
        if bytes[bytes.len() - 1] != 0 {
            return Err(Malformed { what: "the document does not end in a zero", offset: bytes.len() - 1 });
        }
        Ok(Self(bytes))
    }

    /// The same bytes as those of a view that was made by [`RawDoc::new`]: looks at none of them.
    #[cfg(feature = "reactive")]
    pub(crate) const fn known(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The document at the start of `bytes`, which may go on behind it.
    pub fn first_in(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let length = usize::try_from(read_i32(bytes, 0)?).unwrap_or(0);
        let document =
            bytes.get(..length).ok_or(Malformed { what: "the document is cut off", offset: bytes.len() })?;
        Self::new(document)
    }

    /// All its bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its elements, in order, duplicates included.
    pub fn iter(self) -> Iter<'a> {
        Iter::new(self.0)
    }

    /// The first element of that name, if the document can be read as far as that.
    pub fn get(self, name: &str) -> Option<RawValue<'a>> {
        self.iter()
            .map_while(Result::ok)
            .find(|element| element.name == name.as_bytes())
            .map(|element| element.value)
    }

    /// Whether it has no element.
    pub fn is_empty(self) -> bool {
        self.0.len() <= 5
    }
}

impl<'a> IntoIterator for RawDoc<'a> {
    type Item = Result<Element<'a>, Malformed>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for RawDoc<'_> {
    /// Only the size: document contents are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawDoc({} bytes)", self.0.len())
    }
}

/// The type byte of a BSON value.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Double = 0x01,
    String = 0x02,
    Document = 0x03,
    Array = 0x04,
    Binary = 0x05,
    Undefined = 0x06,
    ObjectId = 0x07,
    Bool = 0x08,
    Date = 0x09,
    Null = 0x0A,
    Regex = 0x0B,
    DbPointer = 0x0C,
    Code = 0x0D,
    Symbol = 0x0E,
    CodeWithScope = 0x0F,
    Int32 = 0x10,
    Timestamp = 0x11,
    Int64 = 0x12,
    Decimal128 = 0x13,
    MinKey = 0xFF,
    MaxKey = 0x7F,
}

/// One value: its type and its bytes, whose length fits the type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawValue<'a> {
    pub(crate) kind: Kind,
    pub(crate) bytes: &'a [u8],
}

impl<'a> RawValue<'a> {
    /// The value's type.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// The value's bytes as BSON stores them, without type and name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// A document's view; an array is not a document.
    pub fn as_doc(self) -> Option<RawDoc<'a>> {
        (self.kind == Kind::Document).then_some(RawDoc(self.bytes))
    }

    /// An array's view as a document whose names are indexes.
    pub fn as_array(self) -> Option<RawDoc<'a>> {
        (self.kind == Kind::Array).then_some(RawDoc(self.bytes))
    }

    /// What a document or an array holds, as a document; nothing of any other value.
    pub(crate) fn as_doc_or_array(self) -> RawDoc<'a> {
        match self.kind {
            Kind::Document | Kind::Array => RawDoc(self.bytes),
            _ => RawDoc::EMPTY,
        }
    }

    /// A string's bytes, without length and final zero. Not checked to be UTF-8.
    pub fn as_str_bytes(self) -> Option<&'a [u8]> {
        (self.kind == Kind::String).then(|| &self.bytes[4..self.bytes.len() - 1])
    }

    /// A string that is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.as_str_bytes()?).ok()
    }

    /// An int32.
    pub fn as_i32(self) -> Option<i32> {
        (self.kind == Kind::Int32).then(|| i32::from_le_bytes(fixed(self.bytes)))
    }

    /// An int64; an int32 is widened.
    pub fn as_i64(self) -> Option<i64> {
        match self.kind {
            Kind::Int64 => Some(i64::from_le_bytes(fixed(self.bytes))),
            Kind::Int32 => self.as_i32().map(i64::from),
            _ => None,
        }
    }

    /// A double.
    pub fn as_f64(self) -> Option<f64> {
        (self.kind == Kind::Double).then(|| f64::from_le_bytes(fixed(self.bytes)))
    }

    /// A boolean.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind == Kind::Bool).then(|| self.bytes[0] != 0)
    }

    /// A date, in milliseconds since 1970.
    pub fn as_date_ms(self) -> Option<i64> {
        (self.kind == Kind::Date).then(|| i64::from_le_bytes(fixed(self.bytes)))
    }

    /// A timestamp: seconds since 1970, and the increment within the second.
    pub fn as_timestamp(self) -> Option<(u32, u32)> {
        (self.kind == Kind::Timestamp).then(|| {
            let value = u64::from_le_bytes(fixed(self.bytes));
            ((value >> 32) as u32, value as u32)
        })
    }

    /// A binary value: its subtype and its bytes.
    pub fn as_binary(self) -> Option<(u8, &'a [u8])> {
        (self.kind == Kind::Binary).then(|| (self.bytes[4], &self.bytes[5..]))
    }

    /// A UUID: binary of subtype 4 with 16 bytes.
    pub fn as_uuid(self) -> Option<[u8; 16]> {
        let (subtype, bytes) = self.as_binary()?;
        if subtype == 4 { bytes.try_into().ok() } else { None }
    }
}

impl std::fmt::Debug for RawValue<'_> {
    /// Only type and size: document contents are never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({} bytes)", self.kind, self.bytes.len())
    }
}

/// The first `N` bytes of a value whose length the walker has checked.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("the walker checked the length of the value")
}

pub(crate) fn read_i32(bytes: &[u8], offset: usize) -> Result<i32, Malformed> {
    match bytes.get(offset..offset.saturating_add(4)) {
        Some(four) => Ok(i32::from_le_bytes(fixed(four))),
        None => Err(Malformed { what: "a length is cut off", offset }),
    }
}
