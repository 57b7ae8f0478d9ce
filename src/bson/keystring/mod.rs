//! KeyStrings: bytes that compare as the values do. Format V1, every field ascending, as the server's indexes have it.

pub(crate) mod bits;
pub(crate) mod exact;
pub(crate) mod number;

use bits::TypeBits;

use crate::bson::{DEPTH_MAX, Kind, Malformed, RawDoc, RawValue, fixed};

pub(crate) const END: u8 = 0x04;
const NUMBER: u8 = 0x1E;
const TRUE_OR_FALSE: u8 = 0x6E;

/// A KeyString that is being written.
#[derive(Debug, Default)]
pub(crate) struct KeyString {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bits: TypeBits,
}

impl KeyString {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn int32(&mut self, value: i32) {
        number::int32(&mut self.bytes, &mut self.bits, value);
    }

    pub(crate) fn timestamp(&mut self, t: u32, i: u32) {
        self.byte(0x82);
        self.bytes.extend_from_slice(&t.to_be_bytes());
        self.bytes.extend_from_slice(&i.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, uuid: [u8; 16]) {
        self.bytes.extend_from_slice(&[0x5A, 16, 4]);
        self.bytes.extend_from_slice(&uuid);
    }

    /// Begins an object; [`KeyString::object_ends`] ends it.
    pub(crate) fn object_begins(&mut self) {
        self.byte(0x46);
    }

    pub(crate) fn object_ends(&mut self) {
        self.byte(0);
    }

    /// A document as a value.
    pub(crate) fn object(&mut self, doc: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        self.object_begins();
        self.fields(doc, depth)?;
        self.object_ends();
        Ok(())
    }

    fn fields(&mut self, doc: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed { what: "nested too deeply", offset: 0 });
        }
        for element in doc {
            let element = element?;
            self.field(element.name, element.value, depth)?;
        }
        Ok(())
    }

    /// A field of an object.
    pub(crate) fn field(&mut self, name: &[u8], value: RawValue<'_>, depth: usize) -> Result<(), Malformed> {
        self.field_name(generic(value.kind), name);
        self.value(value, depth)
    }

    pub(crate) fn string_field(&mut self, name: &str, text: &str) {
        self.field_name(0x3C, name.as_bytes());
        self.bits.push(0, 1);
        self.string(0x3C, text.as_bytes());
    }

    /// A field that is an object; its fields and its end follow.
    pub(crate) fn object_field(&mut self, name: &str) {
        self.field_name(0x46, name.as_bytes());
        self.object_begins();
    }

    fn field_name(&mut self, generic: u8, name: &[u8]) {
        self.byte(generic);
        self.bytes.extend_from_slice(name);
        self.byte(0);
    }

    /// A value without a name.
    pub(crate) fn value(&mut self, value: RawValue<'_>, depth: usize) -> Result<(), Malformed> {
        let bytes = value.bytes;
        match value.kind {
            Kind::Document => return self.object(RawDoc::new(bytes)?, depth + 1),
            Kind::Array => return self.array(RawDoc::new(bytes)?, depth + 1),
            Kind::CodeWithScope => return self.code_with_scope(bytes, depth),
            Kind::Int32 => self.int32(i32::from_le_bytes(fixed(bytes))),
            Kind::Int64 => {
                number::int64(&mut self.bytes, &mut self.bits, i64::from_le_bytes(fixed(bytes)));
            }
            Kind::Double => number::double(&mut self.bytes, &mut self.bits, f64::from_le_bytes(fixed(bytes))),
            Kind::Decimal128 => number::decimal(&mut self.bytes, &mut self.bits, fixed(bytes)),
            Kind::String => {
                self.bits.push(0, 1);
                self.string(0x3C, text(bytes));
            }
            Kind::Symbol => {
                self.bits.push(1, 1);
                self.string(0x3C, text(bytes));
            }
            Kind::Code => self.string(0xA0, text(bytes)),
            Kind::Binary => self.binary(bytes[4], &bytes[5..]),
            Kind::Bool => self.byte(if bytes[0] == 0 { TRUE_OR_FALSE } else { 0x6F }),
            Kind::Date => {
                self.byte(0x78);
                let shifted = i64::from_le_bytes(fixed(bytes)).cast_unsigned() ^ 1 << 63;
                self.bytes.extend_from_slice(&shifted.to_be_bytes());
            }
            Kind::Timestamp => {
                let (t, i) = value.as_timestamp().unwrap_or_default();
                self.timestamp(t, i);
            }
            Kind::DbPointer => {
                let (ns, id) = bytes.split_at(bytes.len() - 12);
                let ns = text(ns);
                self.byte(0x96);
                self.bytes.extend_from_slice(&u32::try_from(ns.len()).unwrap_or(u32::MAX).to_be_bytes());
                self.bytes.extend_from_slice(ns);
                self.bytes.extend_from_slice(id);
            }
            // The rest is written as BSON stores it: an ObjectId, a regular expression's two strings, or nothing at all.
            kind => {
                self.byte(generic(kind));
                self.bytes.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// Each zero of the text is followed by a byte that no end has behind it.
    fn string(&mut self, kind: u8, text: &[u8]) {
        self.byte(kind);
        self.escaped(text);
    }

    fn escaped(&mut self, text: &[u8]) {
        for byte in text {
            self.byte(*byte);
            if *byte == 0 {
                self.byte(0xFF);
            }
        }
        self.byte(0);
    }

    fn array(&mut self, array: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed { what: "nested too deeply", offset: 0 });
        }
        self.byte(0x50);
        for element in array {
            self.value(element?.value, depth)?;
        }
        self.byte(0);
        Ok(())
    }

    fn binary(&mut self, subtype: u8, bytes: &[u8]) {
        self.byte(0x5A);
        if let Ok(short @ ..=254) = u8::try_from(bytes.len()) {
            self.byte(short);
        } else {
            self.byte(0xFF);
            self.bytes.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        self.byte(subtype);
        self.bytes.extend_from_slice(bytes);
    }

    fn code_with_scope(&mut self, bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        let code = &bytes[4..];
        let length = usize::try_from(crate::bson::read_i32(code, 0)?).unwrap_or(0).saturating_add(4);
        let (code, scope) = code.split_at(length.clamp(5, code.len()));
        self.byte(0xAA);
        self.escaped(text(code));
        self.fields(RawDoc::new(scope)?, depth + 1)?;
        self.byte(0);
        Ok(())
    }
}

/// What follows the value at the start of `bytes`; none if that is no value. Every value says by itself how long it is: a number tells
/// whether it continues, a string's zeros are marked.
pub(crate) fn skip(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        0x0A | 0xF0 | 0x0F | 0x14 | 0x1E | 0x29 | 0x6E | 0x6F => Some(rest),
        0x1F..=0x33 => skip_number(*kind, rest),
        0x3C | 0xA0 => skip_string(rest),
        0x46 => skip_fields(rest, depth),
        0x50 => skip_values(rest, depth),
        0x5A => {
            let (length, rest) = match rest.split_first()? {
                (0xFF, rest) => {
                    let (length, rest) = rest.split_first_chunk()?;
                    (usize::try_from(u32::from_be_bytes(*length)).ok()?, rest)
                }
                (length, rest) => (usize::from(*length), rest),
            };
            rest.get(length.checked_add(1)?..)
        }
        0x64 => rest.get(12..),
        0x78 | 0x82 => rest.get(8..),
        0x8C => skip_cstring(rest).and_then(skip_cstring),
        0x96 => {
            let (length, rest) = rest.split_first_chunk()?;
            rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_add(12)?..)
        }
        0xAA => skip_fields(skip_string(rest)?, depth),
        _ => None,
    }
}

fn skip_number(kind: u8, rest: &[u8]) -> Option<&[u8]> {
    let negative = kind < 0x29;
    let kind = if negative { number::MIRROR - kind } else { kind };
    let word = |bytes: usize| {
        let payload = rest.get(..bytes)?;
        let byte = |byte: &u8| u64::from(if negative { !byte } else { *byte });
        Some(payload.iter().fold(0, |word, next| word << 8 | byte(next)))
    };
    let continued = |word: u64, length: usize| if word & 1 == 1 { length + 8 } else { length };
    let length = match kind {
        number::SMALL => match word(8)? {
            word if word >> 62 == 0 => 16,
            // Of a common double the two low bits tell, of a tiny one the lowest.
            word => continued(word, 8),
        },
        number::LARGE => match word(8)? {
            u64::MAX => 8,
            word if word >> 63 == 1 => 16,
            word => continued(word, 8),
        },
        _ => {
            let whole = usize::from(kind.checked_sub(number::ONE_BYTE)?) + 1;
            // An odd one is followed by a fraction, in eight bytes with it.
            if word(whole)? & 1 == 0 { whole } else { continued(word(8)?, 8) }
        }
    };
    rest.get(length..)
}

fn skip_string(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let zero = bytes.iter().position(|byte| *byte == 0)?;
        bytes = &bytes[zero + 1..];
        match bytes.split_first() {
            Some((0xFF, rest)) => bytes = rest,
            _ => return Some(bytes),
        }
    }
}

fn skip_cstring(bytes: &[u8]) -> Option<&[u8]> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    Some(&bytes[zero + 1..])
}

fn skip_fields(mut bytes: &[u8], depth: usize) -> Option<&[u8]> {
    if depth > DEPTH_MAX {
        return None;
    }
    loop {
        match bytes.split_first()? {
            (0, rest) => return Some(rest),
            (_, field) => bytes = skip(skip_cstring(field)?, depth + 1)?,
        }
    }
}

fn skip_values(mut bytes: &[u8], depth: usize) -> Option<&[u8]> {
    if depth > DEPTH_MAX {
        return None;
    }
    loop {
        match bytes.split_first()? {
            (0, rest) => return Some(rest),
            _ => bytes = skip(bytes, depth + 1)?,
        }
    }
}

/// A string's bytes without its length and its final zero.
fn text(bytes: &[u8]) -> &[u8] {
    &bytes[4..bytes.len() - 1]
}

/// The byte of a type, as it stands before a field's name.
fn generic(kind: Kind) -> u8 {
    match kind {
        Kind::MinKey => 0x0A,
        Kind::Undefined => 0x0F,
        Kind::Null => 0x14,
        Kind::Int32 | Kind::Int64 | Kind::Double | Kind::Decimal128 => NUMBER,
        Kind::String | Kind::Symbol => 0x3C,
        Kind::Document => 0x46,
        Kind::Array => 0x50,
        Kind::Binary => 0x5A,
        Kind::ObjectId => 0x64,
        Kind::Bool => TRUE_OR_FALSE,
        Kind::Date => 0x78,
        Kind::Timestamp => 0x82,
        Kind::Regex => 0x8C,
        Kind::DbPointer => 0x96,
        Kind::Code => 0xA0,
        Kind::CodeWithScope => 0xAA,
        Kind::MaxKey => 0xF0,
    }
}
