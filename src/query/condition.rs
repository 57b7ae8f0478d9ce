//! Conditions on one field: the tests of the operators, alone and combined.

use std::cmp::Ordering;

use super::Constant;
use super::bits::Bits;
use super::error::MatchError;
use super::node::Scope;
use super::path::Leaf;
use super::regex::Regex;
use super::types::Types;
use crate::bson::{Class, Kind, Malformed, Number, RawValue, compare};

/// What is asked of a field. Each test is asked by itself: in `{$gt: 1, $lt: 5}` two elements of an array may be the answer.
#[derive(Debug)]
pub(super) enum Condition {
    Test(Test),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Never,
}

/// What is asked of a value.
#[derive(Debug)]
pub(super) enum Test {
    Compare(Comparison, Constant),
    In(In),
    Exists,
    Type(Types),
    Mod {
        divisor: i64,
        remainder: i64,
    },
    Regex(Regex),
    Bits(Bits),
    Size(i64),
    /// An element of the array is a document that matches.
    ElementDoc(Box<Scope>),
    /// An element of the array is a value that matches.
    ElementValue(Box<Condition>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A list of values, in their order, and of regular expressions.
#[derive(Debug)]
pub(super) struct In {
    pub(super) values: Vec<Constant>,
    pub(super) regexes: Vec<Regex>,
}

impl Condition {
    /// Whether the condition holds, where `ask` answers its tests.
    pub(super) fn holds(
        &self,
        ask: &mut impl FnMut(&Test) -> Result<bool, MatchError>,
    ) -> Result<bool, MatchError> {
        match self {
            Self::Test(test) => ask(test),
            Self::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(ask)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(condition) => Ok(!condition.holds(ask)?),
            Self::Never => Ok(false),
        }
    }
}

impl Test {
    /// What it looks at where the field is an array.
    pub(super) fn leaf(&self) -> Leaf {
        match self {
            Self::Size(_) | Self::ElementDoc(_) | Self::ElementValue(_) => Leaf::Whole,
            _ => Leaf::Elements,
        }
    }

    /// Whether a value, or a missing one, passes.
    pub(super) fn matches(&self, value: Option<RawValue<'_>>) -> Result<bool, MatchError> {
        if let Self::Compare(comparison, constant) = self {
            return Ok(comparison.holds(value, constant.view())?);
        }
        let Some(value) = value else {
            return Ok(matches!(self, Self::In(list) if list.has_null()));
        };
        match self {
            Self::Compare(..) | Self::Exists => Ok(true),
            Self::In(list) => Ok(value.kind() == Kind::Undefined && list.has_null() || list.matches(value)?),
            Self::Type(types) => Ok(types.has(value.kind())),
            Self::Mod { divisor, remainder } => Ok(has_remainder(value, *divisor, *remainder)),
            Self::Regex(regex) => regex.matches(value),
            Self::Bits(bits) => Ok(bits.matches(value)),
            Self::Size(size) => Ok(has_size(value, *size)?),
            Self::ElementDoc(scope) => any_element(value, |element| match element.kind() {
                // An array is a document whose names are its indexes.
                Kind::Document | Kind::Array => scope.matches(element.as_doc_or_array()),
                _ => Ok(false),
            }),
            Self::ElementValue(condition) => {
                any_element(value, |element| condition.holds(&mut |test| test.matches(Some(element))))
            }
        }
    }
}

impl Comparison {
    fn holds(self, value: Option<RawValue<'_>>, constant: RawValue<'_>) -> Result<bool, Malformed> {
        let class = constant.kind().class();
        let own = value.map_or(Class::Undefined, |value| value.kind().class());
        let Some(value) = value.filter(|_| own == class) else {
            return Ok(match class {
                Class::Null => own == Class::Undefined && self.takes(Ordering::Equal),
                // The ends of the order are compared with everything.
                Class::MinKey | Class::MaxKey => self.takes(own.cmp(&class)),
                _ => false,
            });
        };
        if self == Self::Equal && value == constant {
            return Ok(true);
        }
        if let (Some(a), Some(b)) = (Number::of(value), Number::of(constant))
            && (a.is_nan() || b.is_nan())
        {
            return Ok(a.is_nan() && b.is_nan() && self.takes(Ordering::Equal));
        }
        Ok(self.takes(compare(value, constant)?))
    }

    fn takes(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl In {
    fn has_null(&self) -> bool {
        self.values.iter().any(|constant| constant.kind == Kind::Null)
    }

    fn matches(&self, value: RawValue<'_>) -> Result<bool, MatchError> {
        let (mut low, mut high) = (0, self.values.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(self.values[middle].view(), value)? {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(true),
            }
        }
        for regex in &self.regexes {
            if regex.matches(value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn has_remainder(value: RawValue<'_>, divisor: i64, remainder: i64) -> bool {
    let Some(whole) = Number::of(value).and_then(Number::trunc_i64) else { return false };
    // The least number has no opposite; what is left of it is nothing.
    whole.checked_rem(divisor).unwrap_or(0) == remainder
}

fn has_size(value: RawValue<'_>, size: i64) -> Result<bool, Malformed> {
    let Some(array) = value.as_array() else { return Ok(false) };
    let mut count = 0;
    for element in array {
        element?;
        count += 1;
    }
    Ok(count == size)
}

fn any_element<'d>(
    value: RawValue<'d>,
    mut matches: impl FnMut(RawValue<'d>) -> Result<bool, MatchError>,
) -> Result<bool, MatchError> {
    for element in value.as_array().into_iter().flatten() {
        if matches(element?.value)? {
            return Ok(true);
        }
    }
    Ok(false)
}
