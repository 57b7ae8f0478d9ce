//! The plainest of the values that a server takes for the same: of `1`, `1.0` and `{"$numberDecimal": "1.00"}` the first.
//!
//! A document's `_id` may change from one of them to another: whoever replaces `{_id: 1}` by `{_id: 1.0}` gets that. What identifies a
//! document must not, so it is written plainly.

use super::{DEPTH_MAX, Decimal, DocWriter, Kind, Malformed, RawDoc, RawValue, fixed};

/// The exponent of a Decimal128 without trailing zeros is at most this.
const EXPONENT_MAX: i32 = 6111;
/// A double has so many bits of coefficient.
const DOUBLE_MAX: u128 = 1 << 53;

/// The plainest value that is equal to this one; it lies in `scratch` if it is another. A damaged value is returned as it is. Texts that
/// only a collation takes for the same are different.
pub fn plainest<'a>(value: RawValue<'a>, scratch: &'a mut Vec<u8>) -> RawValue<'a> {
    if is_plain(value, 0) {
        return value;
    }
    scratch.clear();
    let mut doc = DocWriter::new(scratch);
    if append(&mut doc, b"", value).is_err() {
        return value;
    }
    doc.finish();
    // A document of one value that has no name.
    let written = RawDoc::new(scratch).ok().and_then(|doc| doc.iter().next()?.ok());
    written.map_or(value, |element| element.value)
}

/// Whether [`plainest`] returns the value itself.
pub fn is_plainest(value: RawValue<'_>) -> bool {
    is_plain(value, 0)
}

fn is_plain(value: RawValue<'_>, depth: usize) -> bool {
    match value.kind {
        Kind::Int64 => value.as_i64().is_some_and(|number| i32::try_from(number).is_err()),
        Kind::Double | Kind::Decimal128 => Number::of(value).is_written_as(value),
        Kind::Symbol => false,
        Kind::Document | Kind::Array => {
            depth >= DEPTH_MAX
                || RawDoc(value.bytes)
                    .iter()
                    .all(|element| element.is_ok_and(|element| is_plain(element.value, depth + 1)))
        }
        _ => true,
    }
}

/// Appends the plainest form; recurses at most as deep as documents nest, which their reader limits.
fn append(doc: &mut DocWriter<'_>, name: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
    match value.kind {
        Kind::Int64 | Kind::Double | Kind::Decimal128 => {
            let (kind, bytes, length) = Number::of(value).written();
            doc.append_bytes(name, kind, &bytes[..length]);
        }
        Kind::Symbol => doc.append_bytes(name, Kind::String, value.bytes),
        Kind::Document | Kind::Array => {
            let mut inner = if value.kind == Kind::Array { doc.array(name) } else { doc.document(name) };
            for element in RawDoc(value.bytes) {
                let element = element?;
                append(&mut inner, element.name, element.value)?;
            }
            inner.finish();
        }
        _ => doc.append(name, value),
    }
    Ok(())
}

/// A number as its plainest type has it.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i64),
    Double(f64),
    /// One that no other type can tell exactly.
    Decimal(Decimal),
}

impl Number {
    fn of(value: RawValue<'_>) -> Self {
        match value.kind {
            Kind::Double => Self::of_double(f64::from_le_bytes(fixed(value.bytes))),
            Kind::Decimal128 => Self::of_decimal(Decimal::of(fixed(value.bytes))),
            _ => Self::Whole(value.as_i64().unwrap_or_default()),
        }
    }

    fn of_double(number: f64) -> Self {
        // What an int64 holds ends below 2^63.
        let whole = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
        if number.fract() == 0.0 && whole.contains(&number) {
            Self::Whole(number as i64)
        } else if number.is_nan() {
            Self::Double(f64::NAN)
        } else {
            Self::Double(number)
        }
    }

    fn of_decimal(decimal: Decimal) -> Self {
        let (negative, mut coefficient, mut exponent) = match decimal {
            Decimal::Nan => return Self::Double(f64::NAN),
            Decimal::Infinite { negative: true } => return Self::Double(f64::NEG_INFINITY),
            Decimal::Infinite { negative: false } => return Self::Double(f64::INFINITY),
            Decimal::Finite { coefficient: 0, .. } => return Self::Whole(0),
            Decimal::Finite { negative, coefficient, exponent } => (negative, coefficient, exponent),
        };
        while coefficient.is_multiple_of(10) && exponent < EXPONENT_MAX {
            coefficient /= 10;
            exponent += 1;
        }
        if let Some(whole) = whole(coefficient, exponent, negative) {
            return Self::Whole(whole);
        }
        match double(coefficient, exponent) {
            Some(number) => Self::Double(if negative { -number } else { number }),
            None => Self::Decimal(Decimal::Finite { negative, coefficient, exponent }),
        }
    }

    /// Type, bytes, and how many of them count.
    fn written(self) -> (Kind, [u8; 16], usize) {
        let mut bytes = [0; 16];
        let (kind, length) = match self {
            Self::Whole(number) => {
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                if i32::try_from(number).is_ok() { (Kind::Int32, 4) } else { (Kind::Int64, 8) }
            }
            Self::Double(number) => {
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                (Kind::Double, 8)
            }
            Self::Decimal(decimal) => {
                bytes = decimal.to_bytes();
                (Kind::Decimal128, 16)
            }
        };
        (kind, bytes, length)
    }

    fn is_written_as(self, value: RawValue<'_>) -> bool {
        let (kind, bytes, length) = self.written();
        kind == value.kind && bytes[..length] == *value.bytes
    }
}

/// `coefficient * 10^exponent` as an int64, if it is one. The coefficient has no trailing zero.
fn whole(coefficient: u128, exponent: i32, negative: bool) -> Option<i64> {
    let power = 10_u128.checked_pow(u32::try_from(exponent).ok()?)?;
    let size = i128::try_from(coefficient.checked_mul(power)?).ok()?;
    i64::try_from(if negative { -size } else { size }).ok()
}

/// The same as a double, if it is exactly one: an odd number of at most 53 bits times a power of two.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn double(mut coefficient: u128, exponent: i32) -> Option<f64> {
    for _ in exponent..0 {
        if !coefficient.is_multiple_of(5) {
            return None;
        }
        coefficient /= 5;
    }
    let twos = coefficient.trailing_zeros().cast_signed();
    coefficient >>= twos;
    for _ in 0..exponent {
        if coefficient >= DOUBLE_MAX {
            return None;
        }
        coefficient *= 5;
    }
    // At most 53 + 113 + 23 bits: far from a double's limits, as is 2^-48.
    (coefficient < DOUBLE_MAX).then(|| coefficient as f64 * 2_f64.powi(twos + exponent))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;
    use crate::bson::extjson::{Mode, parse, write_value};

    fn plain(json: &str) -> String {
        let bytes = parse(&format!(r#"{{"v":{json}}}"#)).unwrap();
        let value = RawDoc::new(&bytes).unwrap().get("v").unwrap();
        let mut scratch = Vec::new();
        let found = plainest(value, &mut scratch);
        assert_eq!(found == value, is_plainest(value), "{json}");
        assert!(is_plainest(found), "{json}");
        let mut text = Vec::new();
        write_value(&mut text, found, Mode::Canonical).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn equal_numbers_have_one_form() {
        let (int, long) = (r#"{"$numberInt":"#, r#"{"$numberLong":"#);
        let (double, decimal) = (r#"{"$numberDouble":"#, r#"{"$numberDecimal":"#);
        for (values, form) in [
            (
                vec![
                    (int, "1"),
                    (long, "1"),
                    (double, "1.0"),
                    (decimal, "1"),
                    (decimal, "1.000"),
                    (decimal, "0.1E+1"),
                ],
                (int, "1"),
            ),
            (
                vec![(int, "0"), (double, "0.0"), (double, "-0.0"), (decimal, "-0"), (decimal, "0E+3000")],
                (int, "0"),
            ),
            (
                vec![(long, "-3000000000"), (double, "-3000000000.0"), (decimal, "-3E+9")],
                (long, "-3000000000"),
            ),
            (
                vec![
                    (long, "-9223372036854775808"),
                    (double, "-9223372036854775808"),
                    (decimal, "-9223372036854775808"),
                ],
                (long, "-9223372036854775808"),
            ),
            (
                vec![(double, "9223372036854775808"), (decimal, "9223372036854775808")],
                (double, "9.223372036854776E+18"),
            ),
            (vec![(double, "0.5"), (decimal, "0.5"), (decimal, "0.500")], (double, "0.5")),
            (vec![(double, "-1.25"), (decimal, "-1.25")], (double, "-1.25")),
            (vec![(double, "0.1")], (double, "0.1")),
            (vec![(decimal, "0.1"), (decimal, "0.100")], (decimal, "0.1")),
            (vec![(double, "1E+22"), (decimal, "1E+22")], (double, "1E+22")),
            (vec![(decimal, "1E+23"), (decimal, "100E+21")], (decimal, "1E+23")),
            (
                vec![(decimal, "9007199254740993.5"), (decimal, "9007199254740993.50")],
                (decimal, "9007199254740993.5"),
            ),
            (vec![(double, "NaN"), (decimal, "NaN")], (double, "NaN")),
            (vec![(double, "-Infinity"), (decimal, "-Infinity")], (double, "-Infinity")),
            (
                vec![(decimal, "9.999999999999999999999999999999999E+6144")],
                (decimal, "9.999999999999999999999999999999999E+6144"),
            ),
            (vec![(decimal, "1E-6176")], (decimal, "1E-6176")),
        ] {
            let text = |(kind, number): (&str, &str)| format!("{kind}\"{number}\"}}");
            for value in values {
                assert_eq!(plain(&text(value)), plain(&text(form)), "{value:?}");
                assert!(plain(&text(value)).starts_with(form.0), "{value:?}");
            }
        }
    }

    #[test]
    fn numbers_inside_are_plain_too_and_everything_else_stays() {
        let inside =
            r#"{"a":{"$numberDouble":"1.0"},"b":[{"$numberLong":"2"},{"c":{"$symbol":"x"}}],"d":"1.0"}"#;
        assert_eq!(plain(inside), r#"{"a":{"$numberInt":"1"},"b":[{"$numberInt":"2"},{"c":"x"}],"d":"1.0"}"#);
        for other in [
            r#""1.0""#,
            "null",
            "true",
            r#"{"$oid":"65f0c0ffee65f0c0ffee65f0"}"#,
            r#"{"$date":{"$numberLong":"1"}}"#,
        ] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn what_is_damaged_stays_as_it_is() {
        let mut bytes = doc! { "v": { "a": 1.0, "b": Bson::Int64(2) } }.to_vec().unwrap();
        let name = bytes.windows(2).position(|two| two == b"b\0").unwrap();
        bytes[name - 1] = 0x55;
        let value = RawDoc::new(&bytes).unwrap().get("v").unwrap();
        let mut scratch = Vec::new();
        assert_eq!(plainest(value, &mut scratch), value);
    }
}
