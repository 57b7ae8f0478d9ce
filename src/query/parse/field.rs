//! The operators that stand behind a field's name.

use super::{NESTING_MAX, Parser, list};
use crate::bson::{Kind, Number, RawDoc, RawValue};
use crate::query::Constant;
use crate::query::bits::{Bits, Wanted};
use crate::query::condition::{Comparison, Condition, Test};
use crate::query::error::FilterError;
use crate::query::fields::Names;
use crate::query::regex::Regex;
use crate::query::types::Types;

/// What stands behind a field's name: operators, a regular expression, or a value to be equal to.
pub(super) fn condition(value: RawValue<'_>, depth: usize) -> Result<Condition, FilterError> {
    match value.as_doc() {
        Some(operators) if are_operators(operators)? => self::operators(operators, depth),
        _ if value.kind() == Kind::Regex => Ok(Condition::Test(Test::Regex(Regex::of(value)?))),
        _ => compare(Comparison::Equal, value),
    }
}

/// Whether a document holds operators rather than being a value: its first name begins with `$`, and it is no reference to another document.
pub(super) fn are_operators(doc: RawDoc<'_>) -> Result<bool, FilterError> {
    let (mut is_first, mut starts, mut reference, mut id) = (true, false, false, false);
    for element in doc {
        let name = element?.name;
        starts |= is_first && name.starts_with(b"$");
        is_first = false;
        reference |= name == b"$ref";
        id |= name == b"$id";
    }
    Ok(starts && !(reference && id))
}

fn operators(operators: RawDoc<'_>, depth: usize) -> Result<Condition, FilterError> {
    if depth > NESTING_MAX {
        return Err(FilterError::refused(format!("filters nest at most {NESTING_MAX} levels deep")));
    }
    let mut conditions = Vec::new();
    let mut pattern_is_read = false;
    for element in operators {
        let element = element?;
        let condition = match element.name {
            // Two names, one condition.
            b"$regex" | b"$options" if pattern_is_read => continue,
            b"$regex" | b"$options" => {
                pattern_is_read = true;
                regex(operators)
            }
            name => operator(name, element.value, depth),
        };
        conditions.push(condition.map_err(|error| error.within(element.name))?);
    }
    Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::All(conditions) })
}

fn operator(name: &[u8], operand: RawValue<'_>, depth: usize) -> Result<Condition, FilterError> {
    let test = match name {
        b"$eq" => return compare(Comparison::Equal, operand),
        b"$gt" => return compare(Comparison::Greater, operand),
        b"$gte" => return compare(Comparison::GreaterOrEqual, operand),
        b"$lt" => return compare(Comparison::Less, operand),
        b"$lte" => return compare(Comparison::LessOrEqual, operand),
        b"$ne" if operand.kind() == Kind::Regex => {
            return Err(FilterError::refused("takes no regular expression; use $not"));
        }
        b"$ne" => return Ok(Condition::Not(Box::new(compare(Comparison::Equal, operand)?))),
        b"$in" => return list::any_of(operand),
        b"$nin" => return Ok(Condition::Not(Box::new(list::any_of(operand)?))),
        b"$not" => return not(operand, depth),
        b"$all" => return list::all_of(operand, depth),
        b"$elemMatch" => elem_match(operand, depth)?,
        b"$exists" if is_true(operand) => Test::Exists,
        b"$exists" => return Ok(Condition::Not(Box::new(Condition::Test(Test::Exists)))),
        b"$type" => Test::Type(Types::parse(operand)?),
        b"$size" => Test::Size(size(operand)?),
        b"$mod" => list::modulus(operand)?,
        b"$bitsAllSet" => Test::Bits(Bits::parse(Wanted::AllSet, operand)?),
        b"$bitsAllClear" => Test::Bits(Bits::parse(Wanted::AllClear, operand)?),
        b"$bitsAnySet" => Test::Bits(Bits::parse(Wanted::AnySet, operand)?),
        b"$bitsAnyClear" => Test::Bits(Bits::parse(Wanted::AnyClear, operand)?),
        b"$geoWithin" | b"$geoIntersects" | b"$within" | b"$near" | b"$nearSphere" | b"$geoNear"
        | b"$maxDistance" | b"$minDistance" => {
            return Err(FilterError::unsupported("places are not compared here"));
        }
        _ if name.starts_with(b"$_internal") => {
            return Err(FilterError::unsupported("this is for the server's own use"));
        }
        _ => return Err(FilterError::refused("there is no such operator behind a field's name")),
    };
    Ok(Condition::Test(test))
}

pub(super) fn compare(comparison: Comparison, operand: RawValue<'_>) -> Result<Condition, FilterError> {
    match operand.kind() {
        Kind::Undefined => Err(FilterError::refused("nothing can be compared with undefined; use null")),
        Kind::Regex if comparison != Comparison::Equal => {
            Err(FilterError::refused("takes no regular expression; use $regex"))
        }
        _ => Ok(Condition::Test(Test::Compare(comparison, Constant::of(operand)))),
    }
}

fn not(operand: RawValue<'_>, depth: usize) -> Result<Condition, FilterError> {
    let condition = match operand.as_doc() {
        Some(doc) if !doc.is_empty() => operators(doc, depth + 1)?,
        _ if operand.kind() == Kind::Regex => Condition::Test(Test::Regex(Regex::of(operand)?)),
        _ => {
            return Err(FilterError::refused(
                "takes operators or a regular expression; to exclude a value, use $ne",
            ));
        }
    };
    Ok(Condition::Not(Box::new(condition)))
}

pub(super) fn elem_match(operand: RawValue<'_>, depth: usize) -> Result<Test, FilterError> {
    let filter = operand.as_doc().ok_or_else(|| FilterError::refused("takes a document"))?;
    if is_about_values(filter)? {
        return Ok(Test::ElementValue(Box::new(operators(filter, depth + 1)?)));
    }
    let parser = Parser { names: Names::default(), is_outermost: false };
    Ok(Test::ElementDoc(Box::new(parser.scope(filter, depth + 1)?)))
}

/// Whether the elements are asked for as values: the first name is an operator that stands behind a field's name.
fn is_about_values(filter: RawDoc<'_>) -> Result<bool, FilterError> {
    let (mut first, mut is_reference) = (None, false);
    for element in filter {
        let name = element?.name;
        first = first.or(Some(name));
        is_reference |= [&b"$ref"[..], b"$id", b"$db"].contains(&name);
    }
    let first = first.and_then(|first| first.strip_prefix(b"$"));
    Ok(first.is_some_and(|first| !super::OPERATORS.contains(&first)) && !is_reference)
}

/// Pattern and options, which may stand in either order.
fn regex(operators: RawDoc<'_>) -> Result<Condition, FilterError> {
    let pattern = operators.get("$regex").ok_or_else(|| FilterError::refused("$options needs a $regex"))?;
    let options = match operators.get("$options") {
        None => None,
        Some(options) => {
            Some(options.as_str_bytes().ok_or_else(|| FilterError::refused("$options is a string"))?)
        }
    };
    let regex = if pattern.kind() == Kind::Regex {
        let (text, own) = crate::query::regex::parts(pattern);
        match options {
            Some(_) if !own.is_empty() => {
                return Err(FilterError::refused("options stand both in $regex and in $options"));
            }
            options => Regex::new(text, options.unwrap_or(own))?,
        }
    } else {
        let text = pattern.as_str_bytes().ok_or_else(|| FilterError::refused("$regex is a string"))?;
        Regex::new(text, options.unwrap_or_default())?
    };
    Ok(Condition::Test(Test::Regex(regex)))
}

fn size(operand: RawValue<'_>) -> Result<i64, FilterError> {
    let size = Number::of(operand).and_then(Number::as_whole_i64).filter(|size| (0..1 << 31).contains(size));
    size.ok_or_else(|| FilterError::refused("takes a whole number of 32 bits that is not negative"))
}

/// What the server takes for true: everything but false, null, undefined and zero.
pub(in crate::query) fn is_true(value: RawValue<'_>) -> bool {
    match value.kind() {
        Kind::Bool => value.as_bool() == Some(true),
        Kind::Null | Kind::Undefined => false,
        _ => Number::of(value).is_none_or(|number| !number.is_zero()),
    }
}
