//! Numbers in a KeyString: the bytes of their value alone, whatever their type, ordered as the values are.

// Doubles are positive and whole where they are made integers of.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use super::bits::TypeBits;
use super::exact::{Digits, Exact};
use crate::bson::Decimal;
use crate::bson::decimal::EXPONENT_BIAS;

const ZERO: u8 = 0x29;
const NAN: u8 = 0x1E;
/// Below one, in integers of one to eight bytes, and from 2^63 on; negative numbers have their mirror images.
pub(crate) const SMALL: u8 = 0x2A;
pub(crate) const ONE_BYTE: u8 = 0x2B;
pub(crate) const LARGE: u8 = 0x33;
pub(crate) const MIRROR: u8 = 0x52;

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

pub(crate) fn int32(out: &mut Vec<u8>, bits: &mut TypeBits, value: i32) {
    bits.push(0b00, 2);
    integer(out, i64::from(value));
}

pub(crate) fn int64(out: &mut Vec<u8>, bits: &mut TypeBits, value: i64) {
    bits.push(0b01, 2);
    integer(out, value);
}

pub(crate) fn double(out: &mut Vec<u8>, bits: &mut TypeBits, value: f64) {
    if value == 0.0 && value.is_sign_negative() {
        bits.push(0b11000, 5);
        return out.push(ZERO);
    }
    bits.push(0b10, 2);
    if value.is_nan() {
        return out.push(NAN);
    }
    signed(out, value < 0.0, |out| positive_double(out, value.abs()));
}

/// A Decimal128, as BSON stores it.
pub(crate) fn decimal(out: &mut Vec<u8>, bits: &mut TypeBits, bytes: [u8; 16]) {
    let (negative, coefficient, exponent) = match Decimal::of(bytes) {
        Decimal::Nan => {
            bits.push(0b11, 2);
            return out.push(NAN);
        }
        Decimal::Infinite { negative } => {
            bits.push(0b11, 2);
            return signed(out, negative, infinity);
        }
        Decimal::Finite { negative, coefficient, exponent } => (negative, coefficient, exponent),
    };
    let biased = (exponent + EXPONENT_BIAS).unsigned_abs();
    if coefficient == 0 {
        let zero = biased + if negative { 12_288 } else { 0 };
        bits.push(26 + (zero >> 12), 5);
        bits.push(zero & 0xfff, 12);
        return out.push(ZERO);
    }
    bits.push(0b11, 2);
    bits.push(biased & 0b11_1111, 6);
    signed(out, negative, |out| positive_decimal(out, Digits { coefficient, exponent }));
}

/// A negative number has the mirrored type byte, and every other byte complemented.
fn signed(out: &mut Vec<u8>, negative: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    if negative && let Some((first, rest)) = out[start..].split_first_mut() {
        *first = MIRROR - *first;
        for byte in rest {
            *byte = !*byte;
        }
    }
}

fn integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0 => out.push(ZERO),
        i64::MIN => signed(out, true, |out| positive_double(out, TWO_63)),
        _ => signed(out, value < 0, |out| whole(out, value.unsigned_abs(), false)),
    }
}

/// A whole number below 2^63, in the fewest bytes; the lowest bit says whether a fraction follows.
fn whole(out: &mut Vec<u8>, value: u64, fraction: bool) {
    let doubled = value << 1;
    let length = byte_count(doubled);
    out.push(ONE_BYTE + length - 1);
    out.extend_from_slice(&(doubled | u64::from(fraction)).to_be_bytes()[8 - usize::from(length)..]);
}

fn byte_count(value: u64) -> u8 {
    (8 - value.leading_zeros() as u8 / 8).max(1)
}

fn infinity(out: &mut Vec<u8>) {
    out.push(LARGE);
    out.extend_from_slice(&[0xff; 8]);
}

fn positive_double(out: &mut Vec<u8>, value: f64) {
    if value.is_infinite() {
        infinity(out);
    } else if value == 0.0 {
        out.push(ZERO);
    } else {
        form(out, value, 0, false);
    }
}

/// A double in the form that its size asks for. `marker` (0 to 3) is what a decimal adds to a common double, `continued` what it adds to a
/// very large or very small one.
fn form(out: &mut Vec<u8>, value: f64, marker: u64, continued: bool) {
    if value >= TWO_63 {
        large(out, value, continued);
    } else if value.fract() == 0.0 && marker == 0 {
        whole(out, value as u64, false);
    } else if value >= 1.0 {
        fraction(out, value, marker);
    } else if value >= 2_f64.powi(-255) {
        out.push(SMALL);
        out.extend_from_slice(&(value.to_bits() << 2 | marker).to_be_bytes());
    } else {
        tiny(out, value * 2_f64.powi(256), continued);
    }
}

fn large(out: &mut Vec<u8>, value: f64, continued: bool) {
    out.push(LARGE);
    let word = (value.to_bits() << 1 | u64::from(continued)) & !(1 << 63);
    out.extend_from_slice(&word.to_be_bytes());
}

/// Below 2^-255, given times 2^256.
fn tiny(out: &mut Vec<u8>, value: f64, continued: bool) {
    out.push(SMALL);
    let word = (value.to_bits() << 1 | u64::from(continued)).wrapping_add(1 << 62);
    out.extend_from_slice(&word.to_be_bytes());
}

/// From 1 to 2^53, in eight bytes: the integer part in the fewest, the fraction in the others.
fn fraction(out: &mut Vec<u8>, value: f64, marker: u64) {
    let integer = value.trunc();
    let doubled = (integer as u64) << 1;
    let length = byte_count(doubled);
    let rest = u32::from(8 - length) * 8;
    // A power of two: exact.
    let scaled = ((value - integer) * 2_f64.powi(i32::try_from(rest).unwrap_or(0))) as u64;
    out.push(ONE_BYTE + length - 1);
    out.extend_from_slice(&((doubled | 1) << rest | scaled | marker).to_be_bytes());
}

/// 2^256 and 2^-256, cut to 34 digits, as the server has them.
const UP_256: Digits = Digits { coefficient: 1_157_920_892_373_161_954_235_709_850_086_879, exponent: 44 };
const DOWN_256: Digits =
    Digits { coefficient: 8_636_168_555_094_444_625_386_351_862_800_399, exponent: -111 };

/// By the largest double that is not above it, and what is missing from there.
fn positive_decimal(out: &mut Vec<u8>, decimal: Digits) {
    let x = decimal.exact();
    let b = x.floor_double(&decimal.text());
    let rest = |from: Digits| x.distance(&from.exact(), from.widest().exponent).to_be_bytes();
    if b > 0.0 && Exact::double(b).cmp(&x).is_eq() {
        positive_double(out, b);
    } else if b == 0.0 {
        out.push(SMALL);
        out.extend_from_slice(&decimal.widest().bid());
    } else if b < f64::MIN_POSITIVE {
        let enlarged = x.times(&UP_256.exact()).round(34, false).exact().largest_double_below();
        let z = enlarged.max(b * 2_f64.powi(256));
        tiny(out, z, true);
        let s = Exact::double(z).round(34, false).exact().times(&DOWN_256.exact()).round(34, false);
        out.extend_from_slice(&rest(s));
    } else if b.total_cmp(&f64::MAX).is_eq() {
        out.push(LARGE);
        let mut bid = decimal.widest().bid();
        bid[0] |= 0x80;
        out.extend_from_slice(&bid);
    } else if b >= TWO_63 || b < 2_f64.powi(-255) {
        form(out, b, 0, true);
        out.extend_from_slice(&rest(Exact::double(b).round(34, true)));
    } else if b >= 2_f64.powi(53) {
        large_integer(out, &x, decimal);
    } else {
        common(out, &x, b, rest);
    }
}

/// From 2^53 to 2^63: as an integer, and what is missing behind it.
fn large_integer(out: &mut Vec<u8>, x: &Exact, decimal: Digits) {
    let integer = u64::try_from(x.floor()).unwrap_or(u64::MAX);
    let of_integer = Digits { coefficient: u128::from(integer), exponent: 0 };
    let has_fraction = of_integer.exact().cmp(&decimal.exact()).is_ne();
    whole(out, integer, has_fraction);
    if has_fraction {
        if integer < 1 << 55 {
            out.push(0x03);
        }
        let units = x.distance(&of_integer.exact(), of_integer.widest().exponent);
        out.extend_from_slice(&units.to_be_bytes());
    }
}

/// From 2^-255 to 2^53: most are the shortest text of a double with 15 digits.
fn common(out: &mut Vec<u8>, x: &Exact, b: f64, rest: impl FnOnce(Digits) -> [u8; 8]) {
    let short = Exact::double(b).round(15, true);
    let marker = match x.cmp(&short.exact()) {
        std::cmp::Ordering::Equal => return form(out, b, 2, false),
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 3,
    };
    form(out, b, marker, false);
    out.extend_from_slice(&rest(Exact::double(b).round(34, true)));
}
