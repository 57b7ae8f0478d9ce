//! Numbers: the four types of them as one, compared by value.

// What is converted is known to fit.
#![allow(clippy::cast_precision_loss)]

use std::cmp::Ordering;

use super::keystring::bits::TypeBits;
use super::{Decimal, Kind, RawValue, fixed, keystring};

/// A number of any type.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An int32 or an int64.
    Int(i64),
    /// A double.
    Double(f64),
    /// A Decimal128, as BSON stores it.
    Decimal([u8; 16]),
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

impl Number {
    /// The number that a value is, if it is one.
    pub fn of(value: RawValue<'_>) -> Option<Self> {
        Some(match value.kind {
            Kind::Int32 => Self::Int(i64::from(i32::from_le_bytes(fixed(value.bytes)))),
            Kind::Int64 => Self::Int(i64::from_le_bytes(fixed(value.bytes))),
            Kind::Double => Self::Double(f64::from_le_bytes(fixed(value.bytes))),
            Kind::Decimal128 => Self::Decimal(fixed(value.bytes)),
            _ => return None,
        })
    }

    /// Whether it is not a number after all.
    pub fn is_nan(self) -> bool {
        match self {
            Self::Int(_) => false,
            Self::Double(double) => double.is_nan(),
            Self::Decimal(bytes) => Decimal::of(bytes) == Decimal::Nan,
        }
    }

    /// Whether it is zero, of either sign.
    pub fn is_zero(self) -> bool {
        match self {
            Self::Int(int) => int == 0,
            Self::Double(double) => double == 0.0,
            Self::Decimal(bytes) => matches!(Decimal::of(bytes), Decimal::Finite { coefficient: 0, .. }),
        }
    }

    /// Its whole part as an int64, if it has one in that range.
    pub fn trunc_i64(self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(int),
            Self::Double(double) => trunc_i64(double),
            Self::Decimal(bytes) => Decimal::of(bytes).trunc().and_then(|whole| i64::try_from(whole).ok()),
        }
    }

    /// The same number as an int64, if there is one.
    pub fn as_whole_i64(self) -> Option<i64> {
        let is_whole = match self {
            Self::Int(_) => true,
            Self::Double(double) => double.fract() == 0.0,
            Self::Decimal(bytes) => Decimal::of(bytes).is_whole(),
        };
        self.trunc_i64().filter(|_| is_whole)
    }

    /// The order of their values, whatever their types, without rounding. No number comes before all others and is equal to itself; the
    /// two zeros are equal.
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Double(a), Self::Double(b)) => doubles(a, b),
            (Self::Int(a), Self::Double(b)) => int_double(a, b),
            (Self::Double(a), Self::Int(b)) => int_double(b, a).reverse(),
            (Self::Int(a), Self::Decimal(b)) => int_decimal(a, Decimal::of(b)),
            (Self::Decimal(a), Self::Int(b)) => int_decimal(b, Decimal::of(a)).reverse(),
            (Self::Decimal(a), Self::Decimal(b)) => decimals(Decimal::of(a), Decimal::of(b)),
            (Self::Double(a), Self::Decimal(b)) => double_decimal(a, b),
            (Self::Decimal(a), Self::Double(b)) => double_decimal(b, a).reverse(),
        }
    }
}

/// The whole part, if an int64 holds it.
#[allow(clippy::cast_possible_truncation)]
fn trunc_i64(double: f64) -> Option<i64> {
    ((-TWO_63..TWO_63).contains(&double)).then_some(double as i64)
}

fn doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn int_double(int: i64, double: f64) -> Ordering {
    match trunc_i64(double) {
        Some(whole) => int.cmp(&whole).then_with(|| doubles(0.0, double.fract())),
        None if double.is_nan() || double < 0.0 => Ordering::Greater,
        None => Ordering::Less,
    }
}

fn int_decimal(int: i64, decimal: Decimal) -> Ordering {
    match decimal {
        Decimal::Nan | Decimal::Infinite { negative: true } => Ordering::Greater,
        Decimal::Infinite { negative: false } => Ordering::Less,
        Decimal::Finite { negative, .. } => match decimal.trunc() {
            Some(whole) if decimal.is_whole() => i128::from(int).cmp(&whole),
            Some(whole) if negative => i128::from(int).cmp(&whole).then(Ordering::Greater),
            Some(whole) => i128::from(int).cmp(&whole).then(Ordering::Less),
            None if negative => Ordering::Greater,
            None => Ordering::Less,
        },
    }
}

fn decimals(a: Decimal, b: Decimal) -> Ordering {
    rank(a).cmp(&rank(b))
}

/// Ranks of decimals are ordered as the decimals are: sign and size, power of ten, and digits, the first of which is not zero.
fn rank(decimal: Decimal) -> (i8, i32, i128) {
    match decimal {
        Decimal::Nan => (-3, 0, 0),
        Decimal::Infinite { negative } => (if negative { -2 } else { 2 }, 0, 0),
        Decimal::Finite { coefficient: 0, .. } => (0, 0, 0),
        Decimal::Finite { negative, coefficient, exponent } => {
            let missing = 33 - coefficient.ilog10();
            let digits = (coefficient * 10_u128.pow(missing)).cast_signed();
            let exponent = exponent - missing.cast_signed();
            if negative { (-1, -exponent, -digits) } else { (1, exponent, digits) }
        }
    }
}

/// By the bytes of their keys, which the server computes exactly.
fn double_decimal(double: f64, decimal: [u8; 16]) -> Ordering {
    if double.is_nan() {
        return Decimal::Nan.eq(&Decimal::of(decimal)).cmp(&true);
    }
    if let Some(whole) = trunc_i64(double).filter(|_| double.fract() == 0.0) {
        return int_decimal(whole, Decimal::of(decimal));
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    keystring::number::double(&mut a, &mut TypeBits::default(), double);
    keystring::number::decimal(&mut b, &mut TypeBits::default(), decimal);
    a.cmp(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        if let Some(decimal) = text.strip_suffix('m') {
            return Number::Decimal(decimal.parse::<bson::Decimal128>().unwrap().bytes());
        }
        text.parse().map_or_else(|_| Number::Double(text.parse().unwrap()), Number::Int)
    }

    #[test]
    fn numbers_are_ordered_by_their_values_alone() {
        let ascending: &[&[&str]] = &[
            &["NaN", "NaNm"],
            &["-inf", "-Infinitym"],
            &["-1E+6000m"],
            &["-1.7976931348623157e308"],
            &["-1e19", "-1E+19m"],
            &["-9223372036854775808", "-9.223372036854775808e18", "-9223372036854775808m"],
            &["-9223372036854775807", "-9223372036854775807m"],
            &["-1.5", "-1.50m"],
            &["-1", "-1.0", "-1.00m"],
            &["-0.1m"],
            &["-5e-324"],
            &["-1E-6000m"],
            &["0", "-0.0", "0.0", "0m", "-0E+3m", "0E-6000m"],
            &["1E-6000m"],
            &["5e-324"],
            &["0.1m"],
            &["0.1", "0.1000000000000000055511151231257827m"],
            &["0.2m"],
            &["1", "1.0", "1.00m", "1000E-3m"],
            &["1.0000000000000002"],
            &["9007199254740992", "9007199254740992.0", "9007199254740992m"],
            &["9007199254740993", "9007199254740993m"],
            &["9007199254740993.5m"],
            &["9007199254740994.0"],
            &["9223372036854775807", "9223372036854775807m"],
            &["9.223372036854775808e18", "9223372036854775808m"],
            &["1e300", "1E+300m"],
            &["9.999999999999999999999999999999999E+6144m"],
            &["inf", "Infinitym"],
        ];
        for (low, lower) in ascending.iter().enumerate() {
            for (high, higher) in ascending.iter().enumerate() {
                for (a, b) in lower.iter().flat_map(|a| higher.iter().map(move |b| (a, b))) {
                    // Two exceptions: these doubles have no exact decimal of 34 digits.
                    if low == high && ["0.1", "1e300"].iter().any(|short| *a == *short || *b == *short) {
                        continue;
                    }
                    assert_eq!(number(a).compare(number(b)), low.cmp(&high), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn whole_parts_are_cut_towards_zero() {
        for (text, whole) in [
            ("4.9", Some(4)),
            ("-4.9", Some(-4)),
            ("-4.9m", Some(-4)),
            ("1E-50m", Some(0)),
            ("1E+18m", Some(1_000_000_000_000_000_000)),
            ("1E+19m", None),
            ("1e19", None),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("9223372036854775808.0", None),
            ("inf", None),
            ("NaNm", None),
        ] {
            assert_eq!(number(text).trunc_i64(), whole, "{text}");
        }
        assert_eq!(number("2.50m").as_whole_i64(), None);
        assert_eq!(number("2.00m").as_whole_i64(), Some(2));
    }
}
