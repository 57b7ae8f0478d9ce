//! The operators that take a list of values.

use super::field::{are_operators, compare, elem_match};
use crate::bson::{self, Kind, Number, RawDoc, RawValue};
use crate::query::Constant;
use crate::query::condition::{Comparison, Condition, In, Test};
use crate::query::error::FilterError;
use crate::query::regex::Regex;

/// `$in`
pub(super) fn any_of(operand: RawValue<'_>) -> Result<Condition, FilterError> {
    let mut list = In { values: Vec::new(), regexes: Vec::new() };
    for element in elements(operand)? {
        let element = element?;
        let value = element.value;
        let refused = match value.kind() {
            Kind::Regex => {
                let regex = Regex::of(value).map_err(|error| error.within(element.name))?;
                list.regexes.push(regex);
                continue;
            }
            Kind::Undefined => "nothing can be compared with undefined; use null",
            Kind::Document if are_operators(value.as_doc_or_array())? => {
                "operators can't stand in a list; use $or"
            }
            _ => {
                list.values.push(Constant::of(value));
                continue;
            }
        };
        return Err(FilterError::refused(refused).within(element.name));
    }
    // A list of one is a comparison, which finds undefined where it looks for null.
    if let ([value], true) = (&list.values[..], list.regexes.is_empty()) {
        return compare(Comparison::Equal, value.view());
    }
    sort(&mut list.values)?;
    Ok(Condition::Test(Test::In(list)))
}

fn sort(values: &mut [Constant]) -> Result<(), FilterError> {
    let mut damage = None;
    values.sort_by(|a, b| {
        bson::compare(a.view(), b.view()).unwrap_or_else(|error| {
            damage = Some(error);
            std::cmp::Ordering::Equal
        })
    });
    damage.map_or(Ok(()), |damage| Err(damage.into()))
}

/// `$all`: each by itself; or `$elemMatch`, several times.
pub(super) fn all_of(operand: RawValue<'_>, depth: usize) -> Result<Condition, FilterError> {
    let mut conditions = Vec::new();
    let mut are_filters = None;
    for element in elements(operand)? {
        let element = element?;
        let filter = element_filter(element.value)?;
        let condition = if *are_filters.get_or_insert(filter.is_some()) == filter.is_some() {
            match filter {
                Some(filter) => elem_match(filter, depth).map(Condition::Test),
                None => member(element.value),
            }
        } else {
            Err(FilterError::refused("either all or none of the list are $elemMatch"))
        };
        conditions.push(condition.map_err(|error| error.within(element.name))?);
    }
    Ok(match conditions.len() {
        0 => Condition::Never,
        1 => conditions.remove(0),
        _ => Condition::All(conditions),
    })
}

/// The operand of `$elemMatch`, if the value is that.
fn element_filter(value: RawValue<'_>) -> Result<Option<RawValue<'_>>, FilterError> {
    let first = value.as_doc_or_array().iter().next().transpose()?;
    Ok(first
        .filter(|first| value.kind() == Kind::Document && first.name == b"$elemMatch")
        .map(|first| first.value))
}

fn member(value: RawValue<'_>) -> Result<Condition, FilterError> {
    match value.kind() {
        Kind::Regex => Ok(Condition::Test(Test::Regex(Regex::of(value)?))),
        Kind::Document if are_operators(value.as_doc_or_array())? => {
            Err(FilterError::refused("no operator but $elemMatch can stand in $all"))
        }
        _ => compare(Comparison::Equal, value),
    }
}

/// `$mod`
pub(super) fn modulus(operand: RawValue<'_>) -> Result<Test, FilterError> {
    let refused = || FilterError::refused("takes a list of two whole numbers: divisor and remainder");
    let mut numbers = Vec::new();
    for element in elements(operand).map_err(|_| refused())? {
        let number = Number::of(element?.value).and_then(Number::trunc_i64);
        numbers.push(number.ok_or_else(refused)?);
    }
    match numbers[..] {
        [0, _] => Err(FilterError::refused("nothing can be divided by 0")),
        [divisor, remainder] => Ok(Test::Mod { divisor, remainder }),
        _ => Err(refused()),
    }
}

fn elements(operand: RawValue<'_>) -> Result<RawDoc<'_>, FilterError> {
    operand.as_array().ok_or_else(|| FilterError::refused("takes a list"))
}
