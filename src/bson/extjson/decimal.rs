//! Decimal128 as text, by the rules that all drivers share.

use std::str::FromStr;

use crate::bson::Decimal;

/// Above it: plain notation, below: an exponent.
const PLAIN_EXPONENT_MIN: i32 = -6;

/// Appends the shortest text that keeps all digits, trailing zeros included: `1.20`, `1E+3`, `-Infinity`, `NaN`.
pub(super) fn write(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let sign = |negative| if negative { "-" } else { "" };
    match Decimal::of(bytes) {
        Decimal::Nan => out.extend_from_slice(b"NaN"),
        Decimal::Infinite { negative } => {
            out.extend_from_slice(sign(negative).as_bytes());
            out.extend_from_slice(b"Infinity");
        }
        Decimal::Finite { negative, coefficient, exponent } => {
            out.extend_from_slice(sign(negative).as_bytes());
            finite(out, itoa::Buffer::new().format(coefficient).as_bytes(), exponent);
        }
    }
}

fn finite(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let length = i32::try_from(digits.len()).expect("at most 34 digits");
    // The exponent of the first digit.
    let first = exponent + length - 1;
    if exponent > 0 || first < PLAIN_EXPONENT_MIN {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if first < 0 { b"E" } else { b"E+" });
        out.extend_from_slice(itoa::Buffer::new().format(first).as_bytes());
        return;
    }
    let whole = length + exponent;
    if let Ok(whole @ 1..) = usize::try_from(whole) {
        let (whole, fraction) = digits.split_at(whole);
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.extend_from_slice(b"0.");
        out.extend((whole..0).map(|_| b'0'));
        out.extend_from_slice(digits);
    }
}

/// Reads the text form. What has more digits than fit, or too large an exponent, is refused rather than rounded.
pub(super) fn parse(text: &str) -> Option<[u8; 16]> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = ["NaN", "Infinity"].contains(&unsigned);
    if !special && !is_number(unsigned) {
        return None;
    }
    bson::Decimal128::from_str(text).ok().map(|decimal| decimal.bytes())
}

/// Digits with at most one point among them, and perhaps an exponent.
fn is_number(text: &str) -> bool {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && are_digits(exponent)
        && !exponent.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse, write};

    fn text(bytes: [u8; 16]) -> String {
        let mut out = Vec::new();
        write(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_of_the_specification_round_trip() {
        for case in [
            "0",
            "-0",
            "0.0",
            "0E+3",
            "0E-7",
            "1",
            "-1",
            "12345.67890",
            "0.001234",
            "0.00000123",
            "1.23E-7",
            "1E+3",
            "1.05E+3",
            "9.999999999999999999999999999999999E+6144",
            "1E-6176",
            "-1.00E-8",
            "Infinity",
            "-Infinity",
            "NaN",
            "5192296858534827628530496329220095",
        ] {
            assert_eq!(text(parse(case).expect(case)), case);
        }
    }

    #[test]
    fn a_coefficient_beyond_34_digits_means_zero() {
        let exponent_zero = 6176_u128 << 113;
        assert_eq!(text((exponent_zero | (10_u128.pow(34))).to_le_bytes()), "0");
        assert_eq!(text(((3 << 125) | (6177_u128 << 111) | 7).to_le_bytes()), "0E+1");
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for case in [
            "", "-", ".", "1.2.3", "--1", "-+1", "1e", "1e+", "e5", "0x1", "1 ", "Inf", "nan", "1E+9999", "½",
        ] {
            assert_eq!(parse(case), None, "{case}");
        }
        assert_eq!(parse("12345678901234567890123456789012345"), None, "35 digits don't fit");
    }

    proptest! {
        #[test]
        fn any_bits_are_written_as_the_bson_crate_writes_them(bytes: [u8; 16]) {
            prop_assert_eq!(text(bytes), bson::Decimal128::from_bytes(bytes).to_string());
        }
    }
}
