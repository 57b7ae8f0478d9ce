//! The writer: one walk over the bytes, appending text; no tree, and no allocation but the growth of the buffer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Mode, date, decimal};
use crate::bson::{DEPTH_MAX, Kind, Malformed, RawDoc, RawValue, fixed, read_i32};

/// Appends a document. After an error `out` is as it was before.
pub fn write_doc(out: &mut Vec<u8>, doc: RawDoc<'_>, mode: Mode) -> Result<(), Malformed> {
    whole(out, mode, |writer| writer.document(doc, 0))
}

/// Appends an array, given as the document whose names are its indexes. After an error `out` is as it was before.
pub fn write_array(out: &mut Vec<u8>, array: RawDoc<'_>, mode: Mode) -> Result<(), Malformed> {
    whole(out, mode, |writer| writer.array(array, 0))
}

/// Appends any value. After an error `out` is as it was before.
pub fn write_value(out: &mut Vec<u8>, value: RawValue<'_>, mode: Mode) -> Result<(), Malformed> {
    whole(out, mode, |writer| writer.value(value, 0))
}

/// Appends a JSON string, quotes included. Invalid UTF-8 becomes U+FFFD, once for each maximal invalid sequence.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if is_plain(text) {
        out.extend_from_slice(text);
    } else if std::str::from_utf8(text).is_ok() {
        escape(out, text);
    } else {
        for chunk in text.utf8_chunks() {
            escape(out, chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

/// Appends a date, given in milliseconds since 1970.
pub(crate) fn write_date(out: &mut Vec<u8>, ms: i64, mode: Mode) {
    out.extend_from_slice(br#"{"$date":"#);
    if mode == Mode::Relaxed && date::fits_iso(ms) {
        out.push(b'"');
        date::write_iso(out, ms);
        out.extend_from_slice(b"\"}");
    } else {
        out.extend_from_slice(br#"{"$numberLong":""#);
        integer(out, ms);
        out.extend_from_slice(b"\"}}");
    }
}

/// Appends a timestamp, given as its seconds since 1970 and the increment within the second.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, (t, i): (u32, u32)) {
    out.extend_from_slice(br#"{"$timestamp":{"t":"#);
    integer(out, t);
    out.extend_from_slice(br#","i":"#);
    integer(out, i);
    out.extend_from_slice(b"}}");
}

/// Appends bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends a UUID with its hyphens.
pub(crate) fn write_uuid(out: &mut Vec<u8>, uuid: [u8; 16]) {
    write_hex(out, &uuid[..4]);
    for part in [4..6, 6..8, 8..10, 10..16] {
        out.push(b'-');
        write_hex(out, &uuid[part]);
    }
}

fn whole(
    out: &mut Vec<u8>,
    mode: Mode,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let start = out.len();
    let result = write(&mut Writer { out, mode });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
}

impl Writer<'_> {
    fn document(&mut self, doc: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        self.out.push(b'{');
        for (number, element) in doc.iter().enumerate() {
            let element = element?;
            if number > 0 {
                self.out.push(b',');
            }
            write_string(self.out, element.name);
            self.out.push(b':');
            self.value(element.value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self, array: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        self.out.push(b'[');
        for (number, element) in array.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            self.value(element?.value, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn value(&mut self, value: RawValue<'_>, depth: usize) -> Result<(), Malformed> {
        let bytes = value.bytes;
        match value.kind {
            Kind::Document => return self.document(RawDoc(bytes), depth + 1),
            Kind::Array => return self.array(RawDoc(bytes), depth + 1),
            Kind::CodeWithScope => return self.code_with_scope(bytes, depth),
            Kind::Double => self.double(f64::from_le_bytes(fixed(bytes))),
            Kind::String => write_string(self.out, text(bytes)),
            Kind::Binary => self.binary(bytes[4], binary_content(bytes)),
            Kind::Undefined => self.raw(r#"{"$undefined":true}"#),
            Kind::ObjectId => self.object_id(bytes),
            Kind::Bool => self.raw(if bytes[0] == 0 { "false" } else { "true" }),
            Kind::Date => write_date(self.out, i64::from_le_bytes(fixed(bytes)), self.mode),
            Kind::Null => self.raw("null"),
            Kind::Regex => self.regex(bytes),
            Kind::DbPointer => self.db_pointer(bytes),
            Kind::Code => self.wrapped_text(r#"{"$code":"#, bytes),
            Kind::Symbol => self.wrapped_text(r#"{"$symbol":"#, bytes),
            Kind::Int32 => self.integer(r#"{"$numberInt":""#, i32::from_le_bytes(fixed(bytes))),
            Kind::Timestamp => write_timestamp(self.out, value.as_timestamp().unwrap_or_default()),
            Kind::Int64 => self.integer(r#"{"$numberLong":""#, i64::from_le_bytes(fixed(bytes))),
            Kind::Decimal128 => self.decimal(fixed(bytes)),
            Kind::MinKey => self.raw(r#"{"$minKey":1}"#),
            Kind::MaxKey => self.raw(r#"{"$maxKey":1}"#),
        }
        Ok(())
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn integer(&mut self, wrapper: &str, value: impl itoa::Integer) {
        if self.mode == Mode::Relaxed {
            return integer(self.out, value);
        }
        self.raw(wrapper);
        integer(self.out, value);
        self.raw("\"}");
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() && self.mode == Mode::Relaxed {
            // Shortest digits that read back as the same double; always with a point or an exponent, so it stays a double.
            self.raw(ryu::Buffer::new().format_finite(value));
            return;
        }
        self.raw(r#"{"$numberDouble":""#);
        match value {
            _ if value.is_nan() => self.raw("NaN"),
            f64::INFINITY => self.raw("Infinity"),
            f64::NEG_INFINITY => self.raw("-Infinity"),
            _ => self.raw(ryu::Buffer::new().format_finite(value)),
        }
        self.raw("\"}");
    }

    fn decimal(&mut self, bytes: [u8; 16]) {
        self.raw(r#"{"$numberDecimal":""#);
        decimal::write(self.out, bytes);
        self.raw("\"}");
    }

    fn object_id(&mut self, bytes: &[u8]) {
        self.raw(r#"{"$oid":""#);
        write_hex(self.out, bytes);
        self.raw("\"}");
    }

    fn binary(&mut self, subtype: u8, content: &[u8]) {
        self.raw(r#"{"$binary":{"base64":""#);
        write_base64(self.out, content);
        self.raw(r#"","subType":""#);
        write_hex(self.out, &[subtype]);
        self.raw("\"}}");
    }

    fn regex(&mut self, bytes: &[u8]) {
        let mut parts = bytes.split(|byte| *byte == 0);
        self.raw(r#"{"$regularExpression":{"pattern":"#);
        write_string(self.out, parts.next().unwrap_or_default());
        self.raw(r#","options":"#);
        write_string(self.out, parts.next().unwrap_or_default());
        self.raw("}}");
    }

    fn db_pointer(&mut self, bytes: &[u8]) {
        let (namespace, id) = bytes.split_at(bytes.len() - 12);
        self.raw(r#"{"$dbPointer":{"$ref":"#);
        write_string(self.out, text(namespace));
        self.raw(r#","$id":"#);
        self.object_id(id);
        self.raw("}}");
    }

    fn wrapped_text(&mut self, open: &str, bytes: &[u8]) {
        self.raw(open);
        write_string(self.out, text(bytes));
        self.out.push(b'}');
    }

    fn code_with_scope(&mut self, bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        let (code, scope) = code_and_scope(bytes)?;
        self.raw(r#"{"$code":"#);
        write_string(self.out, text(code));
        self.raw(r#","$scope":"#);
        self.document(scope, depth + 1)?;
        self.out.push(b'}');
        Ok(())
    }
}

/// Appends bytes as base64 digits.
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("four digits for every three bytes are enough");
}

pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn check_depth(depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX { Err(Malformed { what: "nested too deeply", offset: 0 }) } else { Ok(()) }
}

/// A string's bytes without its length and its final zero.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    &bytes[4..bytes.len() - 1]
}

/// The code, as a string, and the scope of a code with scope.
pub(super) fn code_and_scope(bytes: &[u8]) -> Result<(&[u8], RawDoc<'_>), Malformed> {
    let code = &bytes[4..];
    let length = usize::try_from(read_i32(code, 0)?).unwrap_or(0).saturating_add(4).clamp(5, code.len());
    let (code, scope) = code.split_at(length);
    Ok((code, RawDoc::new(scope)?))
}

/// The payload of a binary value.
pub(super) fn binary_content(bytes: &[u8]) -> &[u8] {
    let content = &bytes[5..];
    if bytes[4] == 2 { old_binary(content) } else { content }
}

/// The payload of the old binary subtype, which repeats its length. Where that length is wrong the bytes are given as they are.
fn old_binary(bytes: &[u8]) -> &[u8] {
    match bytes.split_first_chunk() {
        Some((length, rest)) if u32::from_le_bytes(*length) as usize == rest.len() => rest,
        _ => bytes,
    }
}

/// Whether text is ASCII that needs no escape: nearly all names and most values. Looks at eight bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    const SPACES: u64 = 0x2020_2020_2020_2020;
    let (words, rest) = text.as_chunks();
    let rest = rest.iter().fold(SPACES, |word, byte| word << 8 | u64::from(*byte));
    words.iter().all(|word| is_plain_word(u64::from_le_bytes(*word))) && is_plain_word(rest)
}

/// The same of eight bytes. A byte that is not plain sets its high bit in one of the sums; what it borrows may set others.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, 0x20) | is(b'"') | is(b'\\')) & (ONES * 0x80) == 0
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends UTF-8 text, copying the runs between the bytes that need an escape.
fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| needs_escape(*byte)) {
        out.extend_from_slice(&text[..at]);
        match text[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            byte @ 0..0x20 => {
                out.extend_from_slice(b"\\u00");
                write_hex(out, &[byte]);
            }
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::{is_plain, needs_escape};

    #[test]
    fn plain_is_what_needs_no_escape_and_is_ascii() {
        for length in 0..20 {
            for (place, byte) in (0..length).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
                for other in [b' ', b'!', b'#', b'a', 0x7f] {
                    let mut text = vec![other; length];
                    text[place] = byte;
                    let plain = byte.is_ascii() && !needs_escape(byte);
                    assert_eq!(is_plain(&text), plain, "{byte} at {place} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
