//! The typed values of Extended JSON: documents such as `{"$oid": "…"}` that stand for a value of another type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{date, decimal};
use crate::bson::{Element, Kind, RawDoc, RawValue};

/// Appends the bytes of the value that `doc` stands for and gives its type; none if it is an ordinary document. An error says what the
/// wrapper must hold.
pub(super) fn read(doc: RawDoc<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, String> {
    let mut elements = doc.iter().map_while(Result::ok);
    match (elements.next(), elements.next(), elements.next()) {
        (Some(only), None, None) => single(only, out),
        (Some(code), Some(scope), None) if code.name == b"$code" && scope.name == b"$scope" => {
            code_with_scope(code.value, scope.value, out)
                .map(Some)
                .ok_or_else(|| "`$code` and `$scope` need a string and a document".into())
        }
        _ => Ok(None),
    }
}

fn single(element: Element<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, String> {
    let value = element.value;
    let (kind, needs) = match element.name {
        b"$oid" => (object_id(value, out), "24 hexadecimal digits"),
        b"$numberInt" => (int32(value, out), "an int32 as text"),
        b"$numberLong" => (int64(value, out), "an int64 as text"),
        b"$numberDouble" => (double(value, out), "a number as text, or NaN, Infinity, -Infinity"),
        b"$numberDecimal" => (decimal128(value, out), "a decimal number of at most 34 digits as text"),
        b"$binary" => (binary(value, out), "`base64` and a `subType` of one or two hexadecimal digits"),
        b"$uuid" => (uuid(value, out), "a UUID with hyphens"),
        b"$date" => (date(value, out), "an ISO-8601 date or milliseconds since 1970"),
        b"$timestamp" => (timestamp(value, out), "`t` and `i` from 0 to 4294967295"),
        b"$regularExpression" => (regex(value, out), "`pattern` and `options` as strings without zero bytes"),
        b"$dbPointer" => (db_pointer(value, out), "`$ref` as a string and `$id` as an ObjectId"),
        b"$symbol" => (text(Kind::Symbol, value, out), "a string"),
        b"$code" => (text(Kind::Code, value, out), "a string"),
        b"$undefined" => (holds(value.as_bool() == Some(true), Kind::Undefined), "true"),
        b"$minKey" => (holds(value.as_i64() == Some(1), Kind::MinKey), "1"),
        b"$maxKey" => (holds(value.as_i64() == Some(1), Kind::MaxKey), "1"),
        _ => return Ok(None),
    };
    kind.map(Some).ok_or_else(|| format!("`{}` needs {needs}", String::from_utf8_lossy(element.name)))
}

/// A value of that type without bytes, if the wrapper holds what it must.
fn holds(expected: bool, kind: Kind) -> Option<Kind> {
    expected.then_some(kind)
}

fn object_id(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let digits = value.as_str().filter(|digits| digits.len() == 24)?;
    hex(digits, out)?;
    Some(Kind::ObjectId)
}

fn int32(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let number: i32 = number_text(value)?.parse().ok()?;
    out.extend_from_slice(&number.to_le_bytes());
    Some(Kind::Int32)
}

fn int64(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let number: i64 = number_text(value)?.parse().ok()?;
    out.extend_from_slice(&number.to_le_bytes());
    Some(Kind::Int64)
}

fn double(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let number = match value.as_str()? {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        // The standard library would take words such as `inf` too.
        text if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) => {
            return None;
        }
        text => text.parse().ok().filter(|number: &f64| number.is_finite())?,
    };
    out.extend_from_slice(&number.to_le_bytes());
    Some(Kind::Double)
}

fn decimal128(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    out.extend_from_slice(&decimal::parse(value.as_str()?)?);
    Some(Kind::Decimal128)
}

fn binary(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let (base64, subtype) = pair(value, "base64", "subType")?;
    let subtype = subtype.as_str().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let subtype = u8::from_str_radix(subtype, 16).ok()?;
    let bytes = STANDARD.decode(base64.as_str_bytes()?).ok()?;
    if subtype == 2 {
        // The old subtype repeats the length of its payload.
        push_binary(subtype, bytes.len() + 4, out)?;
        push_length(bytes.len(), out)?;
    } else {
        push_binary(subtype, bytes.len(), out)?;
    }
    out.extend_from_slice(&bytes);
    Some(Kind::Binary)
}

fn uuid(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let text = value.as_str().filter(|text| text.len() == 36)?;
    push_binary(4, 16, out)?;
    let mut parts = text.split('-');
    for digits in [8, 4, 4, 4, 12] {
        hex(parts.next().filter(|part| part.len() == digits)?, out)?;
    }
    parts.next().is_none().then_some(Kind::Binary)
}

fn date(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    // A number arrives here unwrapped: `{"$numberLong": "…"}` has been read already.
    let ms = value.as_i64().or_else(|| date::parse_iso(value.as_str()?))?;
    out.extend_from_slice(&ms.to_le_bytes());
    Some(Kind::Date)
}

fn timestamp(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let (t, i) = pair(value, "t", "i")?;
    for part in [i, t] {
        out.extend_from_slice(&u32::try_from(part.as_i64()?).ok()?.to_le_bytes());
    }
    Some(Kind::Timestamp)
}

fn regex(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let (pattern, options) = pair(value, "pattern", "options")?;
    for part in [pattern, options] {
        let text = part.as_str_bytes().filter(|text| !text.contains(&0))?;
        out.extend_from_slice(text);
        out.push(0);
    }
    Some(Kind::Regex)
}

fn db_pointer(value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let (namespace, id) = pair(value, "$ref", "$id")?;
    text(Kind::DbPointer, namespace, out)?;
    out.extend_from_slice((id.kind() == Kind::ObjectId).then(|| id.as_bytes())?);
    Some(Kind::DbPointer)
}

/// A value that is stored as a string is.
fn text(kind: Kind, value: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    out.extend_from_slice((value.kind() == Kind::String).then(|| value.as_bytes())?);
    Some(kind)
}

fn code_with_scope(code: RawValue<'_>, scope: RawValue<'_>, out: &mut Vec<u8>) -> Option<Kind> {
    let scope = scope.as_doc()?.as_bytes();
    push_length(4 + code.as_bytes().len() + scope.len(), out)?;
    text(Kind::CodeWithScope, code, out)?;
    out.extend_from_slice(scope);
    Some(Kind::CodeWithScope)
}

/// The two members of a document that has just these two, in any order.
fn pair<'a>(value: RawValue<'a>, first: &str, second: &str) -> Option<(RawValue<'a>, RawValue<'a>)> {
    let doc = value.as_doc().filter(|doc| doc.iter().count() == 2)?;
    Some((doc.get(first)?, doc.get(second)?))
}

/// The text of a whole number. The standard library would take a plus sign too.
fn number_text(value: RawValue<'_>) -> Option<&str> {
    value.as_str().filter(|text| !text.starts_with('+'))
}

fn push_binary(subtype: u8, length: usize, out: &mut Vec<u8>) -> Option<()> {
    push_length(length, out)?;
    out.push(subtype);
    Some(())
}

fn push_length(length: usize, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&i32::try_from(length).ok()?.to_le_bytes());
    Some(())
}

fn hex(digits: &str, out: &mut Vec<u8>) -> Option<()> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for pair in digits.as_bytes().chunks_exact(2) {
        out.push(u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?);
    }
    Some(())
}
