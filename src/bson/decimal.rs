//! Decimal128, as BSON stores it: 16 bytes that hold a sign, a power of ten and at most 34 digits.

/// What a Decimal128 holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// No number.
    Nan,
    /// Beyond all numbers.
    Infinite {
        /// Below all of them.
        negative: bool,
    },
    /// `±coefficient × 10^exponent`, with at most 34 digits.
    Finite {
        /// Whether its sign is a minus; there is a negative zero.
        negative: bool,
        /// Its digits.
        coefficient: u128,
        /// The power of ten.
        exponent: i32,
    },
}

/// 34 digits.
const COEFFICIENT_MAX: u128 = 10_u128.pow(34) - 1;
/// What is added to the exponent where it is stored.
pub(super) const EXPONENT_BIAS: i32 = 6176;

impl Decimal {
    /// Reads the 16 bytes. A coefficient of more than 34 digits means zero.
    pub fn of(bytes: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        let negative = bits >> 127 == 1;
        match (bits >> 122) & 0x1f {
            0x1f => return Self::Nan,
            0x1e => return Self::Infinite { negative },
            _ => {}
        }
        // The encoding for coefficients from 2^113 on, all of which are too large.
        let (biased, coefficient) =
            if (bits >> 125) & 3 == 3 { (bits >> 111, 0) } else { (bits >> 113, bits & ((1 << 113) - 1)) };
        let coefficient = if coefficient > COEFFICIENT_MAX { 0 } else { coefficient };
        Self::Finite { negative, coefficient, exponent: (biased & 0x3fff) as i32 - EXPONENT_BIAS }
    }

    /// Its 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        let bits = match self {
            Self::Nan => 0x1f << 122,
            Self::Infinite { negative } => u128::from(negative) << 127 | 0x1e << 122,
            Self::Finite { negative, coefficient, exponent } => {
                let biased = u128::from((exponent + EXPONENT_BIAS).unsigned_abs());
                u128::from(negative) << 127 | biased << 113 | coefficient
            }
        };
        bits.to_le_bytes()
    }

    /// The double that is nearest to it.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Nan => f64::NAN,
            Self::Infinite { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Self::Finite { negative, coefficient, exponent } => {
                let sign = if negative { "-" } else { "" };
                format!("{sign}{coefficient}e{exponent}").parse().unwrap_or(f64::NAN)
            }
        }
    }

    /// Its whole part, if that is in the range of an `i128` with room to spare.
    pub fn trunc(self) -> Option<i128> {
        let Self::Finite { negative, coefficient, exponent } = self else { return None };
        let whole = match exponent {
            _ if coefficient == 0 => 0,
            0..=37 => coefficient.checked_mul(10_u128.pow(exponent.unsigned_abs()))?,
            38.. => return None,
            -38..0 => coefficient / 10_u128.pow(exponent.unsigned_abs()),
            _ => 0,
        };
        let whole = i128::try_from(whole).ok()?;
        Some(if negative { -whole } else { whole })
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        let Self::Finite { coefficient, exponent, .. } = self else { return false };
        match exponent {
            0.. => true,
            -38..0 => coefficient % 10_u128.pow(exponent.unsigned_abs()) == 0,
            _ => coefficient == 0,
        }
    }
}
