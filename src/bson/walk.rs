//! The walker: one element after the other, each checked to lie within its document.

use super::{Kind, Malformed, RawValue, read_i32};

/// A name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The name's bytes, without the final zero; UTF-8 as a rule, not always.
    pub name: &'a [u8],
    /// The value.
    pub value: RawValue<'a>,
}

/// Walks the elements of one document. After an error it ends: what follows a damaged element can't be found.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    document: &'a [u8],
    at: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(document: &'a [u8]) -> Self {
        Self { document, at: 4 }
    }

    /// Where the next element starts, in bytes from the start of the document.
    pub fn offset(&self) -> usize {
        self.at
    }

    fn step(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        let end = self.document.len() - 1;
        if self.at == end {
            return Ok(None);
        }
        let kind = kind(self.document[self.at], self.at)?;
        let name_at = self.at + 1;
        let value_at = name_at + cstring(&self.document[..end], name_at)? + 1;
        let length = value_length(kind, &self.document[..end], value_at)?;
        let bytes = self
            .document
            .get(value_at..value_at.saturating_add(length))
            .filter(|_| value_at + length <= end)
            .ok_or(Malformed { what: "a value is cut off", offset: value_at })?;
        self.at = value_at + length;
        Ok(Some(Element { name: &self.document[name_at..value_at - 1], value: RawValue { kind, bytes } }))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.at = self.document.len() - 1;
        }
        step.transpose()
    }
}

fn kind(byte: u8, offset: usize) -> Result<Kind, Malformed> {
    Ok(match byte {
        0x01 => Kind::Double,
        0x02 => Kind::String,
        0x03 => Kind::Document,
        0x04 => Kind::Array,
        0x05 => Kind::Binary,
        0x06 => Kind::Undefined,
        0x07 => Kind::ObjectId,
        0x08 => Kind::Bool,
        0x09 => Kind::Date,
        0x0A => Kind::Null,
        0x0B => Kind::Regex,
        0x0C => Kind::DbPointer,
        0x0D => Kind::Code,
        0x0E => Kind::Symbol,
        0x0F => Kind::CodeWithScope,
        0x10 => Kind::Int32,
        0x11 => Kind::Timestamp,
        0x12 => Kind::Int64,
        0x13 => Kind::Decimal128,
        0xFF => Kind::MinKey,
        0x7F => Kind::MaxKey,
        _ => return Err(Malformed { what: "unknown type of value", offset }),
    })
}

/// The length of the zero-terminated string at `at`, without its zero.
fn cstring(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == 0))
        .ok_or(Malformed { what: "a name is cut off", offset: at })
}

fn value_length(kind: Kind, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    Ok(match kind {
        Kind::Undefined | Kind::Null | Kind::MinKey | Kind::MaxKey => 0,
        Kind::Bool => 1,
        Kind::Int32 => 4,
        Kind::Double | Kind::Date | Kind::Timestamp | Kind::Int64 => 8,
        Kind::ObjectId => 12,
        Kind::Decimal128 => 16,
        Kind::String | Kind::Code | Kind::Symbol => string_length(bytes, at)?,
        Kind::DbPointer => string_length(bytes, at)? + 12,
        Kind::Document | Kind::Array => document_length(bytes, at)?,
        Kind::Binary => prefix(bytes, at, 0)? + 5,
        Kind::Regex => {
            let pattern = cstring(bytes, at)? + 1;
            pattern + cstring(bytes, at + pattern)? + 1
        }
        Kind::CodeWithScope => {
            let total = prefix(bytes, at, 14)?;
            let code = string_length(bytes, at + 4)?;
            let scope = document_length(bytes, at + 4 + code)?;
            if total != 4 + code + scope {
                return Err(Malformed { what: "code with scope: the lengths do not add up", offset: at });
            }
            total
        }
    })
}

/// Length prefix and bytes of a string, whose final zero is checked.
fn string_length(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let length = prefix(bytes, at, 1)? + 4;
    match bytes.get(at.saturating_add(length) - 1) {
        Some(0) => Ok(length),
        _ => Err(Malformed { what: "a string does not end in a zero", offset: at }),
    }
}

fn document_length(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let length = prefix(bytes, at, 5)?;
    match bytes.get(at.saturating_add(length) - 1) {
        Some(0) => Ok(length),
        _ => Err(Malformed { what: "a nested document does not end in a zero", offset: at }),
    }
}

fn prefix(bytes: &[u8], at: usize, least: usize) -> Result<usize, Malformed> {
    usize::try_from(read_i32(bytes, at)?)
        .ok()
        .filter(|length| *length >= least)
        .ok_or(Malformed { what: "a length is out of range", offset: at })
}
