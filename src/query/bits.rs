//! `$bitsAllSet` and its three siblings.

use super::error::FilterError;
use crate::bson::{Number, RawValue};

/// Which bits must be what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    AllSet,
    AllClear,
    AnySet,
    AnyClear,
}

/// A test of bits.
#[derive(Debug)]
pub(super) struct Bits {
    wanted: Wanted,
    /// In ascending order.
    positions: Vec<u32>,
}

const REFUSED: &str = "takes a whole number, binary data, or a list of positions; none of them negative";

impl Bits {
    /// Reads the operand: a mask as a number or as binary data, or a list of positions.
    pub(super) fn parse(wanted: Wanted, operand: RawValue<'_>) -> Result<Self, FilterError> {
        let positions = if let Some(list) = operand.as_array() {
            let mut positions = Vec::new();
            for element in list {
                let element = element?;
                positions.push(position(element.value).map_err(|error| error.within(element.name))?);
            }
            positions
        } else if let Some((_, bytes)) = operand.as_binary() {
            let bits = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_mul(8);
            (0..bits).filter(|at| bytes[*at as usize / 8] >> (at % 8) & 1 == 1).collect()
        } else {
            let mask = Number::of(operand).and_then(Number::as_whole_i64).filter(|mask| *mask >= 0);
            let mask = mask.ok_or_else(|| FilterError::refused(REFUSED))?;
            (0..63).filter(|at| mask >> at & 1 == 1).collect()
        };
        Ok(Self { wanted, positions })
    }

    /// Whole numbers of 64 bits, whose sign goes on for ever, and binary data, behind which there are zeros.
    pub(super) fn matches(&self, value: RawValue<'_>) -> bool {
        if let Some((_, bytes)) = value.as_binary() {
            return self.hold(|at| bytes.get(at as usize / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1));
        }
        let whole = Number::of(value).and_then(Number::as_whole_i64);
        whole.is_some_and(|whole| self.hold(|at| whole >> at.min(63) & 1 == 1))
    }

    fn hold(&self, mut is_set: impl FnMut(u32) -> bool) -> bool {
        let mut positions = self.positions.iter().copied();
        match self.wanted {
            Wanted::AllSet => positions.all(is_set),
            Wanted::AllClear => positions.all(|at| !is_set(at)),
            Wanted::AnySet => positions.any(is_set),
            Wanted::AnyClear => positions.any(|at| !is_set(at)),
        }
    }
}

fn position(value: RawValue<'_>) -> Result<u32, FilterError> {
    let whole = Number::of(value).and_then(Number::as_whole_i64);
    let position =
        whole.and_then(|whole| i32::try_from(whole).ok()).and_then(|whole| u32::try_from(whole).ok());
    position.ok_or_else(|| FilterError::refused(REFUSED))
}
