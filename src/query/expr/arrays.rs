//! Functions of arrays and sets.

// `null` and `truth` end functions that may fail.
#![allow(clippy::unnecessary_wraps)]

use std::cmp::Ordering;

use super::value::{Maybe, Outcome, Value, compare, fail, is_nullish, is_true, type_name};
use crate::bson::{self, Kind, Malformed, Number};
use crate::query::error::MatchError;

/// The elements of an operand that has to be an array.
fn elements<'v>(operand: &Maybe<'v>, function: &str) -> Result<Vec<Value<'v>>, MatchError> {
    match operand {
        Some(array) if array.kind() == Kind::Array => Ok(array.elements()?),
        operand => fail(format!("{function} takes an array, not {}", type_name(operand))),
    }
}

/// A whole number of 32 bits.
pub(super) fn int32(operand: &Maybe<'_>, function: &str) -> Result<i32, MatchError> {
    let number = operand.as_ref().and_then(Value::number).and_then(Number::as_whole_i64);
    match number.and_then(|number| i32::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => fail(format!("{function} takes a whole number of 32 bits, not {}", type_name(operand))),
    }
}

/// A place in an array, which counts from the end where it is negative; none before the beginning.
fn place(index: i32, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

fn null<'v>() -> Outcome<'v> {
    Ok(Some(Value::null()))
}

fn truth<'v>(truth: bool) -> Outcome<'v> {
    Ok(Some(Value::bool(truth)))
}

pub(super) fn size<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let count = elements(&operands[0], "$size")?.len();
    Ok(Some(Value::count(count)))
}

pub(super) fn element_at<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if operands.iter().any(is_nullish) {
        return null();
    }
    let mut elements = elements(&operands[0], "$arrayElemAt")?;
    let index = place(int32(&operands[1], "$arrayElemAt")?, elements.len());
    let index = index.filter(|index| *index < elements.len());
    Ok(index.map(|index| elements.swap_remove(index)))
}

pub(super) fn first<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if is_nullish(&operands[0]) { null() } else { Ok(elements(&operands[0], "$first")?.into_iter().next()) }
}

pub(super) fn last<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if is_nullish(&operands[0]) { null() } else { Ok(elements(&operands[0], "$last")?.pop()) }
}

pub(super) fn is_in<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    for element in elements(&operands[1], "$in")? {
        if compare(&operands[0], &Some(element))?.is_eq() {
            return truth(true);
        }
    }
    truth(false)
}

pub(super) fn concat<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut all = Vec::new();
    for operand in operands {
        if is_nullish(operand) {
            return null();
        }
        all.extend(elements(operand, "$concatArrays")?);
    }
    Ok(Some(Value::array(all)))
}

pub(super) fn reverse<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if is_nullish(&operands[0]) {
        return null();
    }
    Ok(Some(Value::array(elements(&operands[0], "$reverseArray")?.into_iter().rev())))
}

pub(super) fn index_of<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if is_nullish(&operands[0]) {
        return null();
    }
    let elements = elements(&operands[0], "$indexOfArray")?;
    let (begin, end) = range_of(&operands[2..], elements.len(), "$indexOfArray")?;
    for (index, element) in elements.into_iter().enumerate().take(end).skip(begin) {
        if compare(&Some(element), &operands[1])?.is_eq() {
            return Ok(Some(Value::count(index)));
        }
    }
    Ok(Some(Value::int(-1)))
}

/// Where to look: from the first place to before the second one.
pub(super) fn range_of(
    bounds: &[Maybe<'_>],
    length: usize,
    function: &str,
) -> Result<(usize, usize), MatchError> {
    let mut range = [0, length];
    for (place, bound) in range.iter_mut().zip(bounds) {
        match usize::try_from(int32(bound, function)?) {
            Ok(bound) => *place = bound,
            Err(_) => return fail(format!("{function} takes no negative places")),
        }
    }
    Ok((range[0], range[1].min(length)))
}

pub(super) fn slice<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if is_nullish(&operands[0]) {
        return null();
    }
    let elements = elements(&operands[0], "$slice")?;
    if operands.iter().any(is_nullish) {
        return null();
    }
    let length = elements.len();
    let first = int32(&operands[1], "$slice")?;
    let begin = place(first, length).unwrap_or(0);
    let (begin, count) = match operands.get(2) {
        Some(count) => match usize::try_from(int32(count, "$slice")?) {
            Ok(count @ 1..) => (begin, count),
            _ => return fail("$slice takes a positive count"),
        },
        None if first < 0 => (begin, length),
        None => (0, begin),
    };
    let elements = elements.into_iter().skip(begin).take(count);
    Ok(Some(Value::array(elements)))
}

/// More numbers than a document could hold.
const RANGE_MAX: i64 = 4 << 20;

pub(super) fn range<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut bounds = [0, 0, 1];
    for (bound, operand) in bounds.iter_mut().zip(operands) {
        *bound = i64::from(int32(operand, "$range")?);
    }
    let [begin, end, step] = bounds;
    if step == 0 {
        return fail("$range takes a step that is not zero");
    }
    if (end - begin) / step > RANGE_MAX {
        return fail("$range is larger than a document");
    }
    let next = |at: &i64| Some(at + step);
    let numbers = std::iter::successors(Some(begin), next);
    let numbers = numbers.take_while(|at| if step > 0 { *at < end } else { *at > end });
    Ok(Some(Value::array(numbers.map(Value::int_or_long))))
}

/// Different values, in their order.
fn set<'v>(operand: &Maybe<'v>, function: &str) -> Result<Vec<Value<'v>>, MatchError> {
    sorted(elements(operand, function)?).map_err(MatchError::from)
}

fn sorted(mut values: Vec<Value<'_>>) -> Result<Vec<Value<'_>>, Malformed> {
    let mut damage = None;
    let mut order = |a: &Value<'_>, b: &Value<'_>| {
        bson::compare(a.view(), b.view()).unwrap_or_else(|error| {
            damage = Some(error);
            Ordering::Equal
        })
    };
    values.sort_by(&mut order);
    values.dedup_by(|a, b| order(a, b).is_eq());
    damage.map_or(Ok(values), Err)
}

/// Whether a set has the value.
fn has(set: &[Value<'_>], value: &Value<'_>) -> bool {
    set.binary_search_by(|element| {
        bson::compare(element.view(), value.view()).expect("all of the set was compared before")
    })
    .is_ok()
}

pub(super) fn set_equals<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut sets = Vec::new();
    for operand in operands {
        sets.push(set(operand, "$setEquals")?);
    }
    let equal = |pair: &[Vec<Value<'_>>]| {
        pair[0].len() == pair[1].len() && pair[0].iter().all(|value| has(&pair[1], value))
    };
    truth(sets.windows(2).all(equal))
}

pub(super) fn set_is_subset<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let (part, whole) = (set(&operands[0], "$setIsSubset")?, set(&operands[1], "$setIsSubset")?);
    truth(part.iter().all(|value| has(&whole, value)))
}

pub(super) fn set_union<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut all = Vec::new();
    for operand in operands {
        if is_nullish(operand) {
            return null();
        }
        all.extend(elements(operand, "$setUnion")?);
    }
    Ok(Some(Value::array(sorted(all)?)))
}

pub(super) fn set_intersection<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut common: Option<Vec<Value<'_>>> = None;
    for operand in operands {
        if is_nullish(operand) {
            return null();
        }
        let next = set(operand, "$setIntersection")?;
        common = Some(match common {
            Some(before) => before.into_iter().filter(|value| has(&next, value)).collect(),
            None => next,
        });
    }
    Ok(Some(Value::array(common.unwrap_or_default())))
}

/// In the order of the first operand.
pub(super) fn set_difference<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if operands.iter().any(is_nullish) {
        return null();
    }
    let (from, without) = (elements(&operands[0], "$setDifference")?, set(&operands[1], "$setDifference")?);
    let mut seen = sorted(from.clone())?;
    let mut left = Vec::new();
    for value in from {
        if has(&without, &value) {
            continue;
        }
        // The first of several equal ones stays.
        if let Some(at) =
            seen.iter().position(|other| bson::compare(other.view(), value.view()) == Ok(Ordering::Equal))
        {
            seen.remove(at);
            left.push(value);
        }
    }
    Ok(Some(Value::array(left)))
}

pub(super) fn any_true<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    truth(elements(&operands[0], "$anyElementTrue")?.into_iter().any(|value| is_true(&Some(value))))
}

pub(super) fn all_true<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    truth(elements(&operands[0], "$allElementsTrue")?.into_iter().all(|value| is_true(&Some(value))))
}
