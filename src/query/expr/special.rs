//! The operators that are no plain functions: they look at some operands only, bind variables, or name their operands.

use super::Expr;
use super::functions;
use super::parse::{Parser, check_count, check_variable, constant, folded, logical};
use crate::bson::{Kind, RawDoc, RawValue};
use crate::query::error::FilterError;

/// The functions whose operands are a date and perhaps a time zone.
const DATE_PARTS: [&str; 13] = [
    "dayOfMonth",
    "dayOfWeek",
    "dayOfYear",
    "hour",
    "isoDayOfWeek",
    "isoWeek",
    "isoWeekYear",
    "millisecond",
    "minute",
    "month",
    "second",
    "week",
    "year",
];

/// Compiles such an operator; none if it is no such operator.
pub(super) fn operator(
    parser: &mut Parser,
    name: &str,
    operand: RawValue<'_>,
) -> Result<Option<Expr>, FilterError> {
    Ok(Some(match name {
        "literal" | "const" => constant(operand),
        "and" => logical(parser.operands(operand)?, false),
        "or" => logical(parser.operands(operand)?, true),
        "cond" => cond(parser, operand)?,
        "ifNull" => {
            let operands = parser.operands(operand)?;
            check_count(operands.len(), 2, usize::MAX)?;
            Expr::IfNull(operands)
        }
        "switch" => switch(parser, operand)?,
        "let" => bindings(parser, operand)?,
        "map" => each(parser, operand, "in")?,
        "filter" => each(parser, operand, "cond")?,
        "reduce" => reduce(parser, operand)?,
        "trim" | "ltrim" | "rtrim" => named(parser, name, operand, ["input", "chars"])?,
        _ if DATE_PARTS.contains(&name) => match date_parts(operand)? {
            Some(date) => call(name, vec![parser.value(date)?])?,
            None => named(parser, name, operand, ["date", "timezone"])?,
        },
        _ => return Ok(None),
    }))
}

/// The operands by name; others are refused.
fn options<'d, const N: usize>(
    operand: RawValue<'d>,
    names: [&str; N],
) -> Result<[Option<RawValue<'d>>; N], FilterError> {
    let doc = operand.as_doc().ok_or_else(|| FilterError::refused("takes a document"))?;
    let mut found = [None; N];
    for element in doc {
        let element = element?;
        let Some(at) = names.iter().position(|name| name.as_bytes() == element.name) else {
            let known = names.join(", ");
            return Err(FilterError::refused(format!("there is no such option; there are: {known}"))
                .within(element.name));
        };
        found[at] = Some(element.value);
    }
    Ok(found)
}

fn needed<'d>(option: Option<RawValue<'d>>, name: &str) -> Result<RawValue<'d>, FilterError> {
    option.ok_or_else(|| FilterError::refused(format!("needs `{name}`")))
}

fn cond(parser: &mut Parser, operand: RawValue<'_>) -> Result<Expr, FilterError> {
    let parts = if operand.kind() == Kind::Document {
        let [condition, then, otherwise] = options(operand, ["if", "then", "else"])?;
        vec![
            parser.value(needed(condition, "if")?)?,
            parser.value(needed(then, "then")?)?,
            parser.value(needed(otherwise, "else")?)?,
        ]
    } else {
        parser.operands(operand)?
    };
    let count = parts.len();
    match <[Expr; 3]>::try_from(parts) {
        Ok(parts) => Ok(Expr::Cond(Box::new(parts))),
        Err(_) => Err(FilterError::refused(format!("takes 3 operands, not {count}"))),
    }
}

fn switch(parser: &mut Parser, operand: RawValue<'_>) -> Result<Expr, FilterError> {
    let [list, default] = options(operand, ["branches", "default"])?;
    let list = list
        .and_then(RawValue::as_array)
        .ok_or_else(|| FilterError::refused("needs a list of `branches`"))?;
    let mut branches = Vec::new();
    for element in list {
        let element = element?;
        let [case, then] =
            options(element.value, ["case", "then"]).map_err(|error| error.within(element.name))?;
        branches.push((parser.value(needed(case, "case")?)?, parser.value(needed(then, "then")?)?));
    }
    if branches.is_empty() {
        return Err(FilterError::refused("needs at least one branch"));
    }
    let default = default.map(|default| parser.value(default)).transpose()?.map(Box::new);
    Ok(Expr::Switch { branches, default })
}

fn bindings(parser: &mut Parser, operand: RawValue<'_>) -> Result<Expr, FilterError> {
    let [variables, body] = options(operand, ["vars", "in"])?;
    let variables =
        needed(variables, "vars")?.as_doc().ok_or_else(|| FilterError::refused("`vars` is a document"))?;
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for element in variables {
        let element = element?;
        check_variable(element.name).map_err(|error| error.within(element.name))?;
        names.push(element.name.to_vec());
        values.push(parser.value(element.value).map_err(|error| error.within(element.name))?);
    }
    let body = parser.body(names, needed(body, "in")?)?;
    Ok(Expr::Let(values, Box::new(body)))
}

/// `$map` and `$filter`: the body is called `in` in the one and `cond` in the other.
fn each(parser: &mut Parser, operand: RawValue<'_>, body_name: &str) -> Result<Expr, FilterError> {
    let keeps = body_name == "cond";
    let (input, variable, body) = if keeps {
        let [input, variable, body, limit] = options(operand, ["input", "as", body_name, "limit"])?;
        if limit.is_some() {
            return Err(FilterError::unsupported("`limit` is not computed here; use $slice"));
        }
        (input, variable, body)
    } else {
        let [input, variable, body] = options(operand, ["input", "as", body_name])?;
        (input, variable, body)
    };
    let variable = match variable {
        Some(name) => name.as_str_bytes().ok_or_else(|| FilterError::refused("`as` is a string"))?,
        None => b"this",
    };
    check_variable(variable)?;
    let input = Box::new(parser.value(needed(input, "input")?)?);
    let body = Box::new(parser.body(vec![variable.to_vec()], needed(body, body_name)?)?);
    Ok(Expr::Each { input, body, keeps })
}

fn reduce(parser: &mut Parser, operand: RawValue<'_>) -> Result<Expr, FilterError> {
    let [input, initial, body] = options(operand, ["input", "initialValue", "in"])?;
    let input = Box::new(parser.value(needed(input, "input")?)?);
    let initial = Box::new(parser.value(needed(initial, "initialValue")?)?);
    let body = Box::new(parser.body(vec![b"this".to_vec(), b"value".to_vec()], needed(body, "in")?)?);
    Ok(Expr::Reduce { input, initial, body })
}

/// A function whose operands have names; the second one may be left out.
fn named(
    parser: &mut Parser,
    name: &str,
    operand: RawValue<'_>,
    names: [&str; 2],
) -> Result<Expr, FilterError> {
    let [first, second] = options(operand, names)?;
    let mut operands = vec![parser.value(needed(first, names[0])?)?];
    operands.extend(second.map(|second| parser.value(second)).transpose()?);
    call(name, operands)
}

fn call(name: &str, operands: Vec<Expr>) -> Result<Expr, FilterError> {
    let (_, _, call) =
        functions::find(name).ok_or_else(|| FilterError::refused("there is no such operator"))?;
    folded(Expr::Call(call, operands))
}

/// The date, where it stands alone: as it is, or in a list of one. Otherwise date and time zone are named.
fn date_parts(operand: RawValue<'_>) -> Result<Option<RawValue<'_>>, FilterError> {
    if let Some(list) = operand.as_array() {
        let first = list.iter().next().transpose()?;
        check_count(list.iter().count(), 1, 1)?;
        return Ok(first.map(|first| first.value));
    }
    let first = operand.as_doc().map(RawDoc::iter).and_then(|mut fields| fields.next()).transpose()?;
    let is_named =
        operand.kind() == Kind::Document && first.is_none_or(|first| !first.name.starts_with(b"$"));
    Ok(if is_named { None } else { Some(operand) })
}
