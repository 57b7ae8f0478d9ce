//! Arithmetic on Decimal128: exact, then rounded to 34 digits, half to even. How many zeros end the digits is not kept.

use num_bigint::{BigInt, BigUint, Sign};

use crate::bson::{Decimal, Number};

const DIGITS: u64 = 34;
const EXPONENT_MIN: i32 = -6176;
const EXPONENT_MAX: i32 = 6111;
const NAN: u128 = 0x7c << 120;
const INFINITY: u128 = 0x78 << 120;

/// A finite number, or one of the others.
#[derive(Clone, Debug)]
pub(super) enum Wide {
    Nan,
    Infinite(Sign),
    Finite(BigInt, i32),
}

impl Wide {
    /// A double counts with its first 15 digits.
    pub(super) fn of(number: Number) -> Self {
        let bytes = match number {
            Number::Int(int) => return Self::Finite(int.into(), 0),
            Number::Double(double) if double.is_nan() => return Self::Nan,
            Number::Double(double) if double.is_infinite() => return Self::Infinite(sign(double < 0.0)),
            Number::Double(double) => {
                let text = format!("{double:.14e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let digits: BigInt = digits.replace('.', "").parse().unwrap_or_default();
                return Self::Finite(digits, exponent.parse::<i32>().unwrap_or(0) - 14);
            }
            Number::Decimal(bytes) => bytes,
        };
        match Decimal::of(bytes) {
            Decimal::Nan => Self::Nan,
            Decimal::Infinite { negative } => Self::Infinite(sign(negative)),
            Decimal::Finite { negative, coefficient, exponent } => {
                Self::Finite(BigInt::from_biguint(sign(negative), coefficient.into()), exponent)
            }
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Infinite(a), Self::Infinite(b)) if a != b => Self::Nan,
            (Self::Infinite(a), _) | (_, Self::Infinite(a)) => Self::Infinite(a),
            (Self::Finite(a, i), Self::Finite(b, j)) => {
                let least = i.min(j);
                Self::Finite(scaled(a, i - least) + scaled(b, j - least), least).rounded()
            }
        }
    }

    pub(super) fn negate(self) -> Self {
        match self {
            Self::Nan => Self::Nan,
            Self::Infinite(sign) => Self::Infinite(-sign),
            Self::Finite(digits, exponent) => Self::Finite(-digits, exponent),
        }
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        let signs = self.sign() * other.sign();
        match (self, other) {
            (Self::Finite(a, i), Self::Finite(b, j)) => Self::Finite(a * b, i + j).rounded(),
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            _ if signs == Sign::NoSign => Self::Nan,
            _ => Self::Infinite(signs),
        }
    }

    /// The divisor is not zero.
    pub(super) fn divide(self, other: Self) -> Self {
        let signs = self.sign() * other.sign();
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) | (Self::Infinite(_), Self::Infinite(_)) => Self::Nan,
            (Self::Infinite(_), divisor) => {
                Self::Infinite(if signs == Sign::NoSign { divisor.sign() } else { signs })
            }
            (_, Self::Infinite(_)) => Self::Finite(BigInt::ZERO, 0),
            (Self::Finite(a, i), Self::Finite(b, j)) => {
                // Two digits more than are kept, and one that says whether something is left.
                let shift = (digits(&b) + DIGITS + 2).saturating_sub(digits(&a)) as i32;
                let a = scaled(a, shift);
                let quotient = &a / &b;
                let is_exact = &quotient * &b == a;
                let sticky = if is_exact { BigInt::ZERO } else { BigInt::from_biguint(signs, 1_u32.into()) };
                Self::Finite(quotient * 10 + sticky, i - j - shift - 1).rounded()
            }
        }
    }

    /// What is left of the division that is cut to a whole number.
    pub(super) fn modulo(self, other: Self) -> Self {
        match (self, other) {
            (Self::Finite(a, i), Self::Finite(b, j)) => {
                let least = i.min(j);
                Self::Finite(scaled(a, i - least) % scaled(b, j - least), least).rounded()
            }
            (finite @ Self::Finite(..), Self::Infinite(_)) => finite,
            _ => Self::Nan,
        }
    }

    /// The whole number next to it in one direction.
    pub(super) fn whole(self, up: bool) -> Self {
        let (digits, exponent) = match self {
            Self::Finite(digits, exponent @ ..0) => (digits, exponent),
            // What can't have its last digit before the point can't be cut there.
            Self::Finite(digits, exponent)
                if self::digits(&digits) + u64::from(exponent.unsigned_abs()) > DIGITS =>
            {
                return Self::Nan;
            }
            Self::Infinite(_) => return Self::Nan,
            whole => return whole,
        };
        let unit = BigInt::from(10).pow(exponent.unsigned_abs());
        let cut = &digits / &unit;
        let is_whole = &cut * &unit == digits;
        let step = match (is_whole, up, digits.sign()) {
            (false, true, Sign::Plus) => 1,
            (false, false, Sign::Minus) => -1,
            _ => 0,
        };
        Self::Finite(cut + step, 0)
    }

    pub(super) fn abs(self) -> Self {
        if self.sign() == Sign::Minus { self.negate() } else { self }
    }

    fn sign(&self) -> Sign {
        match self {
            Self::Nan => Sign::NoSign,
            Self::Infinite(sign) => *sign,
            Self::Finite(digits, _) => digits.sign(),
        }
    }

    fn rounded(self) -> Self {
        let Self::Finite(digits, exponent) = self else { return self };
        let excess = self::digits(&digits).saturating_sub(DIGITS) as i32;
        let excess = excess.max(EXPONENT_MIN - exponent);
        if excess <= 0 {
            return Self::Finite(digits, exponent);
        }
        let (sign, magnitude) = digits.into_parts();
        let unit = BigUint::from(10_u32).pow(excess.unsigned_abs().min(2 * 6176));
        let (cut, left) = (&magnitude / &unit, &magnitude % &unit);
        let twice = left * 2_u32;
        let up = twice > unit || (twice == unit && cut.bit(0));
        let rounded = cut + u32::from(up);
        // It may have become a digit longer.
        Self::Finite(BigInt::from_biguint(sign, rounded), exponent + excess).rounded()
    }

    /// The 16 bytes.
    pub(super) fn bytes(self) -> [u8; 16] {
        let bits = match self.rounded() {
            Self::Nan => NAN,
            Self::Infinite(sign) => INFINITY | sign_bit(sign),
            Self::Finite(digits, _) if digits.sign() == Sign::NoSign => {
                EXPONENT_MIN.unsigned_abs().into_bits()
            }
            Self::Finite(digits, exponent) => {
                let (sign, mut magnitude) = digits.into_parts();
                let mut exponent = exponent;
                let room = DIGITS - self::digits(&BigInt::from(magnitude.clone()));
                if exponent > EXPONENT_MAX && u64::from((exponent - EXPONENT_MAX).unsigned_abs()) <= room {
                    magnitude *= BigUint::from(10_u32).pow((exponent - EXPONENT_MAX).unsigned_abs());
                    exponent = EXPONENT_MAX;
                }
                match u128::try_from(magnitude) {
                    Ok(coefficient) if exponent <= EXPONENT_MAX => {
                        sign_bit(sign) | (exponent - EXPONENT_MIN).unsigned_abs().into_bits() | coefficient
                    }
                    _ => INFINITY | sign_bit(sign),
                }
            }
        };
        bits.to_le_bytes()
    }
}

/// A biased exponent at its place among the bits.
trait Biased {
    fn into_bits(self) -> u128;
}

impl Biased for u32 {
    fn into_bits(self) -> u128 {
        u128::from(self) << 113
    }
}

fn sign(negative: bool) -> Sign {
    if negative { Sign::Minus } else { Sign::Plus }
}

fn sign_bit(sign: Sign) -> u128 {
    u128::from(sign == Sign::Minus) << 127
}

fn scaled(digits: BigInt, by: i32) -> BigInt {
    digits * BigInt::from(10).pow(by.unsigned_abs())
}

fn digits(number: &BigInt) -> u64 {
    if number.sign() == Sign::NoSign { 1 } else { number.magnitude().to_string().len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Wide {
        Wide::of(Number::Decimal(text.parse::<bson::Decimal128>().unwrap().bytes()))
    }

    fn is(wide: Wide, text: &str) {
        let expected = Number::Decimal(text.parse::<bson::Decimal128>().unwrap().bytes());
        let got = wide.bytes();
        assert!(
            Number::Decimal(got).compare(expected).is_eq(),
            "{} is not {text}",
            bson::Decimal128::from_bytes(got)
        );
    }

    #[test]
    fn results_are_rounded_once_half_to_even() {
        is(wide("0.1").add(wide("0.2")), "0.3");
        is(wide("1").divide(wide("3")), "0.3333333333333333333333333333333333");
        is(wide("2").divide(wide("-3")), "-0.6666666666666666666666666666666667");
        is(wide("9999999999999999999999999999999999").add(wide("0.5")), "1E+34");
        is(wide("9999999999999999999999999999999998").add(wide("0.5")), "9999999999999999999999999999999998");
        is(wide("1E+6144").multiply(wide("10")), "Infinity");
        is(wide("1E-6176").multiply(wide("0.1")), "0");
        is(wide("-7.5").modulo(wide("2")), "-1.5");
        is(wide("Infinity").add(wide("-Infinity")), "NaN");
        is(wide("-0.5").whole(true), "0");
        is(wide("-0.5").whole(false), "-1");
        is(wide("7E+33").whole(false), "7E+33");
        is(wide("7E+34").whole(false), "NaN");
        is(Wide::of(Number::Double(0.1)), "0.1");
    }
}
