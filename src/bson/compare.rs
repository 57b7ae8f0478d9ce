//! The server's order of values, and with it its equality.
//!
//! All values are ordered, whatever their types: first by class (all numbers are one class, strings and symbols another), then by value.
//! Documents are compared field by field: class, name, value; so `{a: 1, b: 2}` and `{b: 2, a: 1}` differ. This is the order without a
//! collation.

use std::cmp::Ordering;

use super::number::Number;
use super::{DEPTH_MAX, Kind, Malformed, RawDoc, RawValue, fixed, read_i32};

/// Types that are compared with each other by value, in the order of the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Class {
    MinKey,
    Undefined,
    Null,
    Number,
    String,
    Document,
    Array,
    Binary,
    ObjectId,
    Bool,
    Date,
    Timestamp,
    Regex,
    DbPointer,
    Code,
    CodeWithScope,
    MaxKey,
}

impl Kind {
    /// The class of values that it belongs to.
    pub fn class(self) -> Class {
        match self {
            Self::MinKey => Class::MinKey,
            Self::Undefined => Class::Undefined,
            Self::Null => Class::Null,
            Self::Int32 | Self::Int64 | Self::Double | Self::Decimal128 => Class::Number,
            Self::String | Self::Symbol => Class::String,
            Self::Document => Class::Document,
            Self::Array => Class::Array,
            Self::Binary => Class::Binary,
            Self::ObjectId => Class::ObjectId,
            Self::Bool => Class::Bool,
            Self::Date => Class::Date,
            Self::Timestamp => Class::Timestamp,
            Self::Regex => Class::Regex,
            Self::DbPointer => Class::DbPointer,
            Self::Code => Class::Code,
            Self::CodeWithScope => Class::CodeWithScope,
            Self::MaxKey => Class::MaxKey,
        }
    }
}

/// The order of two values.
pub fn compare(a: RawValue<'_>, b: RawValue<'_>) -> Result<Ordering, Malformed> {
    values(a, b, 0)
}

/// The order of two documents as values.
pub fn compare_docs(a: RawDoc<'_>, b: RawDoc<'_>) -> Result<Ordering, Malformed> {
    documents(a, b, 0)
}

fn values(a: RawValue<'_>, b: RawValue<'_>, depth: usize) -> Result<Ordering, Malformed> {
    let class = a.kind.class();
    let classes = class.cmp(&b.kind.class());
    if classes.is_ne() {
        return Ok(classes);
    }
    Ok(match class {
        Class::Number => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => Ordering::Equal,
        },
        Class::Document => documents(RawDoc(a.bytes), RawDoc(b.bytes), depth + 1)?,
        Class::Array => elements(RawDoc(a.bytes), RawDoc(b.bytes), depth + 1)?,
        Class::CodeWithScope => codes_with_scope(a, b, depth)?,
        Class::String | Class::Code => text(a).cmp(text(b)),
        Class::Binary => a.bytes[..4]
            .iter()
            .rev()
            .cmp(b.bytes[..4].iter().rev())
            .then_with(|| a.bytes[4..].cmp(&b.bytes[4..])),
        Class::Date => date(a).cmp(&date(b)),
        Class::Timestamp => date(a).cast_unsigned().cmp(&date(b).cast_unsigned()),
        Class::DbPointer => a.bytes.len().cmp(&b.bytes.len()).then_with(|| a.bytes[4..].cmp(&b.bytes[4..])),
        // Bytes in their order: an ObjectId, a boolean, a pattern and its options with a zero behind each; or none at all.
        _ => a.bytes.cmp(b.bytes),
    })
}

/// Field by field: class, name, value; then the shorter one.
fn documents(a: RawDoc<'_>, b: RawDoc<'_>, depth: usize) -> Result<Ordering, Malformed> {
    in_turn(a, b, depth, |a, b| {
        a.value.kind.class().cmp(&b.value.kind.class()).then_with(|| a.name.cmp(b.name))
    })
}

/// Value by value; the names are no part of an array.
fn elements(a: RawDoc<'_>, b: RawDoc<'_>, depth: usize) -> Result<Ordering, Malformed> {
    in_turn(a, b, depth, |_, _| Ordering::Equal)
}

fn in_turn(
    a: RawDoc<'_>,
    b: RawDoc<'_>,
    depth: usize,
    before: impl Fn(super::Element<'_>, super::Element<'_>) -> Ordering,
) -> Result<Ordering, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed { what: "nested too deeply", offset: 0 });
    }
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        let (a, b) = match (a.next().transpose()?, b.next().transpose()?) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => return Ok(a.is_some().cmp(&b.is_some())),
        };
        let order = before(a, b);
        if order.is_ne() {
            return Ok(order);
        }
        let order = values(a.value, b.value, depth)?;
        if order.is_ne() {
            return Ok(order);
        }
    }
}

fn codes_with_scope(a: RawValue<'_>, b: RawValue<'_>, depth: usize) -> Result<Ordering, Malformed> {
    let parts = |value: RawValue<'_>| -> Result<usize, Malformed> {
        Ok(8 + usize::try_from(read_i32(value.bytes, 4)?).unwrap_or(0))
    };
    let (a_end, b_end) = (parts(a)?, parts(b)?);
    let order = a.bytes[8..a_end].cmp(&b.bytes[8..b_end]);
    if order.is_ne() {
        return Ok(order);
    }
    documents(RawDoc(&a.bytes[a_end..]), RawDoc(&b.bytes[b_end..]), depth + 1)
}

/// The bytes of a string, a symbol or code, without length and final zero.
fn text(value: RawValue<'_>) -> &[u8] {
    &value.bytes[4..value.bytes.len() - 1]
}

fn date(value: RawValue<'_>) -> i64 {
    i64::from_le_bytes(fixed(value.bytes))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::compare;
    use crate::bson::extjson::parse;
    use crate::bson::{RawDoc, RawValue, key};

    /// Values from the least to the greatest; those of one line are equal.
    const ASCENDING: &[&[&str]] = &[
        &[r#"{"$minKey":1}"#],
        &[r#"{"$undefined":true}"#],
        &["null"],
        &[r#"{"$numberDouble":"NaN"}"#, r#"{"$numberDecimal":"NaN"}"#],
        &["-1"],
        &["0", "-0.0", r#"{"$numberLong":"0"}"#, r#"{"$numberDecimal":"-0.00"}"#],
        &["1.5", r#"{"$numberDecimal":"1.50"}"#],
        &[r#""""#, r#"{"$symbol":""}"#],
        &[r#""\u0000""#],
        &[r#""A""#],
        &[r#""a""#, r#"{"$symbol":"a"}"#],
        &[r#""a\u0000""#],
        &[r#""é""#],
        &["{}"],
        &[r#"{"b":null}"#],
        &[r#"{"a":1}"#, r#"{"a":1.0}"#],
        &[r#"{"a":1,"b":2}"#],
        &[r#"{"a":2}"#],
        &[r#"{"b":1}"#],
        &[r#"{"b":2,"a":1}"#],
        &[r#"{"a":"x"}"#],
        &["[]"],
        &["[null]"],
        &["[1]", "[1.0]"],
        &["[1,2]"],
        &["[2]"],
        &["[[1]]"],
        &[r#"{"$binary":{"base64":"","subType":"05"}}"#],
        &[r#"{"$binary":{"base64":"/w==","subType":"00"}}"#],
        &[r#"{"$binary":{"base64":"AA==","subType":"05"}}"#],
        &[r#"{"$binary":{"base64":"AAA=","subType":"00"}}"#],
        &[r#"{"$oid":"000000000000000000000001"}"#],
        &[r#"{"$oid":"ff0000000000000000000000"}"#],
        &["false"],
        &["true"],
        &[r#"{"$date":{"$numberLong":"-1"}}"#],
        &[r#"{"$date":{"$numberLong":"1"}}"#],
        &[r#"{"$timestamp":{"t":1,"i":4294967295}}"#],
        &[r#"{"$timestamp":{"t":4294967295,"i":1}}"#],
        &[r#"{"$regularExpression":{"pattern":"a","options":"i"}}"#],
        &[r#"{"$regularExpression":{"pattern":"a","options":"m"}}"#],
        &[r#"{"$regularExpression":{"pattern":"ab","options":""}}"#],
        &[r#"{"$dbPointer":{"$ref":"b","$id":{"$oid":"ff0000000000000000000000"}}}"#],
        &[r#"{"$dbPointer":{"$ref":"aa","$id":{"$oid":"000000000000000000000001"}}}"#],
        &[r#"{"$code":"f"}"#],
        &[r#"{"$code":"ff"}"#],
        &[r#"{"$code":"f","$scope":{}}"#],
        &[r#"{"$code":"f","$scope":{"a":1}}"#],
        &[r#"{"$maxKey":1}"#],
    ];

    fn wrapped(json: &str) -> Vec<u8> {
        parse(&format!(r#"{{"v":{json}}}"#)).expect(json)
    }

    fn value(doc: &[u8]) -> RawValue<'_> {
        RawDoc::new(doc).unwrap().get("v").unwrap()
    }

    #[test]
    fn every_class_has_its_place_and_keys_are_ordered_as_values_are() {
        for (low, lower) in ASCENDING.iter().enumerate() {
            for (high, higher) in ASCENDING.iter().enumerate() {
                for (a, b) in lower.iter().flat_map(|a| higher.iter().map(move |b| (a, b))) {
                    let (bytes, others) = (wrapped(a), wrapped(b));
                    let (x, y) = (value(&bytes), value(&others));
                    assert_eq!(compare(x, y), Ok(low.cmp(&high)), "{a} {b}");
                    assert_eq!(key(x).unwrap().cmp(&key(y).unwrap()), low.cmp(&high), "keys of {a} {b}");
                }
            }
        }
    }

    #[test]
    fn damage_is_an_error_not_an_end() {
        let mut damaged = wrapped(r#"{"a":1,"b":2}"#);
        let whole = damaged.clone();
        let at = damaged.iter().rposition(|byte| *byte == b'b').unwrap();
        damaged[at - 1] = 0x55;
        assert!(compare(value(&damaged), value(&whole)).is_err());
        assert_eq!(compare(value(&whole), value(&whole)), Ok(Ordering::Equal));
    }
}
