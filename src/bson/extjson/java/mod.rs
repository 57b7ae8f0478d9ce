//! JSON as the Java driver of MongoDB writes it, in the three ways that MongoDB's Kafka connector offers, byte for byte.
//!
//! | BSON | [`Style::Strict`] | [`Style::Simplified`] | [`Style::Extended`] |
//! |---|---|---|---|
//! | int32 | `1` | `1` | `{"$numberInt": "1"}` |
//! | int64 | `{"$numberLong": "1"}` | `1` | `{"$numberLong": "1"}` |
//! | double | `1.5`, and bare `NaN`: no JSON | `1.5`, `{"$numberDouble": "NaN"}` | `{"$numberDouble": "1.5"}` |
//! | decimal | `{"$numberDecimal": "1.5"}` | `"1.5"` | `{"$numberDecimal": "1.5"}` |
//! | date | `{"$date": 1000}` | `"1970-01-01T00:00:01Z"` | `{"$date": {"$numberLong": "1000"}}` |
//! | ObjectId | `{"$oid": "5f…"}` | `"5f…"` | `{"$oid": "5f…"}` |
//! | binary | `{"$binary": "AA==", "$type": "00"}` | `"AA=="` | `{"$binary": {"base64": "AA==", "subType": "00"}}` |
//! | regex | `{"$regex": "a", "$options": "i"}` | as extended | `{"$regularExpression": {"pattern": "a", "options": "i"}}` |
//! | DBPointer | `{"$ref": "a.b", "$id": …}` | as strict | `{"$dbPointer": {"$ref": "a.b", "$id": …}}` |
//! | symbol | `{"$symbol": "x"}` | `"x"` | `{"$symbol": "x"}` |
//!
//! Timestamps, code, undefined, minKey and maxKey look the same in all of them. This is what the connector's versions up to 2 do, with
//! the driver 4.7; version 3 puts a `+` into exponents (`1.0E+10`). Digits of doubles and the set of visible characters are Java 25's.
//! One difference is left: a Decimal128 with more than 34 digits, which no driver makes, is zero here, as the format's standard says.

mod double;
mod escaped;
mod string;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::write::{binary_content, check_depth, code_and_scope, integer, text, write_base64};
use super::{date, decimal, write_hex};
use crate::bson::{Kind, Malformed, RawDoc, RawValue, fixed};

/// The connector's formatters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Its default, `DefaultJson`: Extended JSON of version 1.
    Strict,
    /// `SimplifiedJson`: plain text and numbers where possible, without their types.
    Simplified,
    /// `ExtendedJson`: canonical Extended JSON of version 2.
    Extended,
}

/// Appends a document. After an error `out` is as it was before.
pub fn write_doc(out: &mut Vec<u8>, doc: RawDoc<'_>, style: Style) -> Result<(), Malformed> {
    let start = out.len();
    let result = Writer { out, style }.document(doc, 0);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    style: Style,
}

impl Writer<'_> {
    fn document(&mut self, doc: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        let mut separator = "{";
        for element in doc {
            let element = element?;
            self.raw(separator);
            string::write(self.out, element.name);
            self.raw(": ");
            self.value(element.value, depth)?;
            separator = ", ";
        }
        self.raw(if doc.is_empty() { "{}" } else { "}" });
        Ok(())
    }

    fn array(&mut self, array: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        let mut separator = "[";
        for element in array {
            self.raw(separator);
            self.value(element?.value, depth)?;
            separator = ", ";
        }
        self.raw(if array.is_empty() { "[]" } else { "]" });
        Ok(())
    }

    fn value(&mut self, value: RawValue<'_>, depth: usize) -> Result<(), Malformed> {
        let bytes = value.bytes;
        match value.kind {
            Kind::Document => return self.document(RawDoc(bytes), depth + 1),
            Kind::Array => return self.array(RawDoc(bytes), depth + 1),
            Kind::CodeWithScope => return self.code_with_scope(bytes, depth),
            Kind::Double => self.double(f64::from_le_bytes(fixed(bytes))),
            Kind::String => string::write(self.out, text(bytes)),
            Kind::Binary => self.binary(bytes[4], binary_content(bytes)),
            Kind::Undefined => self.raw(r#"{"$undefined": true}"#),
            Kind::ObjectId => self.object_id(bytes),
            Kind::Bool => self.raw(if bytes[0] == 0 { "false" } else { "true" }),
            Kind::Date => self.date(i64::from_le_bytes(fixed(bytes))),
            Kind::Null => self.raw("null"),
            Kind::Regex => self.regex(bytes),
            Kind::DbPointer => self.db_pointer(bytes),
            Kind::Code => self.code(r#"{"$code": "#, bytes),
            Kind::Symbol => self.symbol(bytes),
            Kind::Int32 => self.int32(i32::from_le_bytes(fixed(bytes))),
            Kind::Timestamp => self.timestamp(value.as_timestamp().unwrap_or_default()),
            Kind::Int64 => self.int64(i64::from_le_bytes(fixed(bytes))),
            Kind::Decimal128 => self.decimal(fixed(bytes)),
            Kind::MinKey => self.raw(r#"{"$minKey": 1}"#),
            Kind::MaxKey => self.raw(r#"{"$maxKey": 1}"#),
        }
        Ok(())
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// An object whose only member is text in quotes.
    fn wrapped(&mut self, open: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.raw(open);
        self.raw("\"");
        write(self.out);
        self.raw("\"}");
    }

    /// Text in quotes; wrapped, unless the style is simple.
    fn typed(&mut self, open: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.style == Style::Simplified {
            self.raw("\"");
            write(self.out);
            self.raw("\"");
        } else {
            self.wrapped(open, write);
        }
    }

    fn int32(&mut self, value: i32) {
        if self.style == Style::Extended {
            self.wrapped(r#"{"$numberInt": "#, |out| integer(out, value));
        } else {
            integer(self.out, value);
        }
    }

    fn int64(&mut self, value: i64) {
        if self.style == Style::Simplified {
            integer(self.out, value);
        } else {
            self.wrapped(r#"{"$numberLong": "#, |out| integer(out, value));
        }
    }

    fn double(&mut self, value: f64) {
        match self.style {
            Style::Simplified if value.is_finite() => double::write(self.out, value),
            Style::Strict => double::write(self.out, value),
            _ => self.wrapped(r#"{"$numberDouble": "#, |out| double::write(out, value)),
        }
    }

    fn date(&mut self, ms: i64) {
        match self.style {
            Style::Strict => {
                self.raw(r#"{"$date": "#);
                integer(self.out, ms);
                self.raw("}");
            }
            Style::Simplified => self.typed("", |out| date::write_java_iso(out, ms)),
            Style::Extended => {
                self.raw(r#"{"$date": "#);
                self.int64(ms);
                self.raw("}");
            }
        }
    }

    fn timestamp(&mut self, (t, i): (u32, u32)) {
        self.raw(r#"{"$timestamp": {"t": "#);
        integer(self.out, t);
        self.raw(r#", "i": "#);
        integer(self.out, i);
        self.raw("}}");
    }

    fn object_id(&mut self, bytes: &[u8]) {
        self.typed(r#"{"$oid": "#, |out| write_hex(out, bytes));
    }

    fn decimal(&mut self, bytes: [u8; 16]) {
        self.typed(r#"{"$numberDecimal": "#, |out| decimal::write(out, bytes));
    }

    fn binary(&mut self, subtype: u8, content: &[u8]) {
        let (open, middle, close) = match self.style {
            Style::Simplified => return self.typed("", |out| write_base64(out, content)),
            Style::Strict => (r#"{"$binary": ""#, r#"", "$type": ""#, "\"}"),
            Style::Extended => (r#"{"$binary": {"base64": ""#, r#"", "subType": ""#, "\"}}"),
        };
        self.raw(open);
        write_base64(self.out, content);
        self.raw(middle);
        let digits = self.out.len();
        write_hex(self.out, &[subtype]);
        self.out[digits..].make_ascii_uppercase();
        self.raw(close);
    }

    fn regex(&mut self, bytes: &[u8]) {
        let mut parts = bytes.split(|byte| *byte == 0);
        let (open, middle, close) = if self.style == Style::Strict {
            (r#"{"$regex": "#, r#", "$options": "#, "}")
        } else {
            (r#"{"$regularExpression": {"pattern": "#, r#", "options": "#, "}}")
        };
        self.raw(open);
        string::write(self.out, parts.next().unwrap_or_default());
        self.raw(middle);
        string::write(self.out, &sorted(parts.next().unwrap_or_default()));
        self.raw(close);
    }

    fn db_pointer(&mut self, bytes: &[u8]) {
        let (namespace, id) = bytes.split_at(bytes.len() - 12);
        let is_extended = self.style == Style::Extended;
        self.raw(if is_extended { r#"{"$dbPointer": {"$ref": "# } else { r#"{"$ref": "# });
        string::write(self.out, text(namespace));
        self.raw(r#", "$id": "#);
        self.object_id(id);
        self.raw(if is_extended { "}}" } else { "}" });
    }

    fn symbol(&mut self, bytes: &[u8]) {
        if self.style == Style::Simplified {
            string::write(self.out, text(bytes));
        } else {
            self.code(r#"{"$symbol": "#, bytes);
        }
    }

    fn code(&mut self, open: &str, bytes: &[u8]) {
        self.raw(open);
        string::write(self.out, text(bytes));
        self.raw("}");
    }

    fn code_with_scope(&mut self, bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        let (code, scope) = code_and_scope(bytes)?;
        self.raw(r#"{"$code": "#);
        string::write(self.out, text(code));
        self.raw(r#", "$scope": "#);
        self.document(scope, depth + 1)?;
        self.raw("}");
        Ok(())
    }
}

/// The options of a regular expression, which Java sorts as it reads them.
fn sorted(options: &[u8]) -> Cow<'_, [u8]> {
    if options.is_sorted() {
        return Cow::Borrowed(options);
    }
    let mut options: Vec<char> = String::from_utf8_lossy(options).chars().collect();
    options.sort_unstable();
    Cow::Owned(String::from_iter(options).into_bytes())
}
