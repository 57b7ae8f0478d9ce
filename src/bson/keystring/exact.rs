//! Exact arithmetic on the values of decimals and doubles, as far as their KeyStrings need it. All values are positive.

use std::cmp::Ordering;

use num_bigint::BigUint;

/// A fraction of two whole numbers.
#[derive(Clone, Debug)]
pub(crate) struct Exact {
    above: BigUint,
    below: BigUint,
}

/// `coefficient × 10^exponent`, with at most 34 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digits {
    pub(crate) coefficient: u128,
    pub(crate) exponent: i32,
}

/// The least exponent of a Decimal128.
const EXPONENT_MIN: i32 = -6176;
const DIGITS: i32 = 34;

impl Exact {
    /// A double.
    pub(crate) fn double(value: f64) -> Self {
        let bits = value.to_bits();
        let raw = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) =
            if raw == 0 { (fraction, -1074) } else { (fraction | 1 << 52, raw - 1075) };
        Self::scaled(BigUint::from(mantissa), 2, exponent)
    }

    /// `number × base^exponent`.
    fn scaled(number: BigUint, base: u32, exponent: i32) -> Self {
        let power = BigUint::from(base).pow(exponent.unsigned_abs());
        match exponent {
            0.. => Self { above: number * power, below: BigUint::from(1_u32) },
            _ => Self { above: number, below: power },
        }
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        Self { above: &self.above * &other.above, below: &self.below * &other.below }
    }

    /// The largest whole number that is not above it.
    pub(crate) fn floor(&self) -> BigUint {
        &self.above / &self.below
    }

    /// `(self - other) / 10^exponent`, which is known to be a whole number of 64 bits.
    pub(crate) fn distance(&self, other: &Self, exponent: i32) -> u64 {
        let above = &self.above * &other.below;
        let less = &other.above * &self.below;
        if above <= less {
            return 0;
        }
        let difference = Self { above: above - less, below: &self.below * &other.below };
        let units = difference.times(&Self::scaled(BigUint::from(1_u32), 10, -exponent)).floor();
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// The largest finite double that is not above it.
    pub(crate) fn floor_double(&self, text: &str) -> f64 {
        let mut nearest: f64 = text.parse().unwrap_or(f64::MAX);
        if nearest.is_infinite() {
            nearest = f64::MAX;
        }
        while nearest > 0.0 && Self::double(nearest).cmp(self) == Ordering::Greater {
            nearest = nearest.next_down();
        }
        nearest
    }

    /// The largest double that is not above it, found without a text.
    pub(crate) fn largest_double_below(&self) -> f64 {
        let (mut low, mut high) = (0_u64, f64::MAX.to_bits());
        // Positive doubles are ordered as their bits are.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if Self::double(f64::from_bits(middle)).cmp(self) == Ordering::Greater {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        f64::from_bits(low)
    }

    /// The decimal of at most `digits` digits that is nearest to it and not above it; `up`: not below it.
    pub(crate) fn round(&self, digits: i32, up: bool) -> Digits {
        let ten = BigUint::from(10_u32);
        let limit = ten.pow(digits.unsigned_abs());
        // Close to the number of decimal digits before the point, then corrected.
        let bits =
            i64::try_from(self.above.bits()).unwrap_or(0) - i64::try_from(self.below.bits()).unwrap_or(0);
        let mut exponent = i32::try_from(bits * 30103 / 100_000).unwrap_or(0) - digits - 1;
        loop {
            let scaled = self.times(&Self::scaled(BigUint::from(1_u32), 10, -exponent));
            let mut coefficient = scaled.floor();
            if coefficient >= limit {
                exponent += 1;
                continue;
            }
            if up && &coefficient * &scaled.below != scaled.above {
                coefficient += 1_u32;
            }
            if coefficient == limit {
                coefficient /= 10_u32;
                exponent += 1;
            }
            return Digits { coefficient: u128::try_from(coefficient).unwrap_or(0), exponent };
        }
    }

    pub(crate) fn cmp(&self, other: &Self) -> Ordering {
        (&self.above * &other.below).cmp(&(&other.above * &self.below))
    }
}

impl Digits {
    pub(crate) fn exact(self) -> Exact {
        Exact::scaled(BigUint::from(self.coefficient), 10, self.exponent)
    }

    /// The same value with 34 digits, or as many as the least exponent allows.
    pub(crate) fn widest(mut self) -> Self {
        let limit = 10_u128.pow(DIGITS.unsigned_abs() - 1);
        while self.coefficient < limit && self.exponent > EXPONENT_MIN && self.coefficient > 0 {
            self.coefficient *= 10;
            self.exponent -= 1;
        }
        self
    }

    /// Its 16 bytes as a Decimal128, the high half first.
    pub(crate) fn bid(self) -> [u8; 16] {
        let biased = u128::from((self.exponent - EXPONENT_MIN).unsigned_abs());
        (biased << 113 | self.coefficient).to_be_bytes()
    }

    pub(crate) fn text(self) -> String {
        format!("{}e{}", self.coefficient, self.exponent)
    }
}
