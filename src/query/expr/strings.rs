//! Functions of strings.

use super::arrays::{int32, range_of};
use super::dates;
use super::value::{Maybe, Outcome, Value, fail, is_nullish, type_name};
use crate::bson::{Kind, Number};
use crate::query::error::MatchError;

/// A string's bytes; nothing else is one.
fn string<'a>(operand: &'a Maybe<'_>, function: &str) -> Result<&'a [u8], MatchError> {
    let bytes = operand.as_ref().and_then(|value| value.view().as_str_bytes());
    bytes.map_or_else(|| fail(format!("{function} takes a string, not {}", type_name(operand))), Ok)
}

/// What the server takes for a string where it is not strict: null is empty, numbers and dates are their texts.
fn text(operand: &Maybe<'_>, function: &str) -> Result<Vec<u8>, MatchError> {
    let Some(value) = operand.as_ref().filter(|_| !is_nullish(operand)) else { return Ok(Vec::new()) };
    let (view, mut out) = (value.view(), Vec::new());
    match view.kind() {
        Kind::String | Kind::Symbol | Kind::Code => {
            let bytes = view.as_bytes();
            out.extend_from_slice(&bytes[4..bytes.len() - 1]);
        }
        Kind::Int32 | Kind::Int64 => {
            out.extend_from_slice(itoa::Buffer::new().format(view.as_i64().unwrap_or_default()).as_bytes());
        }
        Kind::Date => match dates::text(view.as_date_ms().unwrap_or_default()) {
            Some(text) => out = text.into_bytes(),
            None => return Err(MatchError::Unsupported(format!("{function} of a date of such a year"))),
        },
        Kind::Double | Kind::Decimal128 | Kind::Timestamp => {
            return Err(MatchError::Unsupported(format!("{function} of a {}", type_name(operand))));
        }
        _ => return fail(format!("{function} takes a string, not {}", type_name(operand))),
    }
    Ok(out)
}

pub(super) fn concat<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut all = Vec::new();
    for operand in operands {
        if is_nullish(operand) {
            return Ok(Some(Value::null()));
        }
        all.extend_from_slice(string(operand, "$concat")?);
    }
    Ok(Some(Value::text(&all)))
}

pub(super) fn to_lower<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    Ok(Some(Value::text(&text(&operands[0], "$toLower")?.to_ascii_lowercase())))
}

pub(super) fn to_upper<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    Ok(Some(Value::text(&text(&operands[0], "$toUpper")?.to_ascii_uppercase())))
}

pub(super) fn compare_caseless<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let upper = |operand| Ok::<_, MatchError>(text(operand, "$strcasecmp")?.to_ascii_uppercase());
    Ok(Some(Value::int(upper(&operands[0])?.cmp(&upper(&operands[1])?) as i32)))
}

pub(super) fn length_bytes<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    Ok(Some(Value::count(string(&operands[0], "$strLenBytes")?.len())))
}

pub(super) fn length_cp<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let text = string(&operands[0], "$strLenCP")?;
    Ok(Some(Value::count(text.iter().filter(|byte| begins(**byte)).count())))
}

/// Whether a byte is the first one of a character.
fn begins(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// A number, cut to a whole one.
fn place(operand: &Maybe<'_>) -> Result<i64, MatchError> {
    let number = operand.as_ref().and_then(Value::number);
    match number {
        Some(Number::Double(double)) if !double.is_finite() => fail("$substrBytes takes finite numbers"),
        Some(number) => number.trunc_i64().map_or_else(|| fail("$substrBytes takes numbers of 64 bits"), Ok),
        None => fail(format!("$substrBytes takes numbers, not {}", type_name(operand))),
    }
}

pub(super) fn substr_bytes<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let text = text(&operands[0], "$substrBytes")?;
    let (begin, length) = (place(&operands[1])?, place(&operands[2])?);
    let Ok(begin) = usize::try_from(begin) else { return fail("$substrBytes begins before the string") };
    if text.get(begin).is_some_and(|byte| !begins(*byte)) {
        return fail("$substrBytes begins within a character");
    }
    // A negative length is all that is left.
    let end = usize::try_from(length).map_or(text.len(), |length| begin.saturating_add(length));
    if text.get(end).is_some_and(|byte| !begins(*byte)) {
        return fail("$substrBytes ends within a character");
    }
    Ok(Some(Value::text(text.get(begin..end.min(text.len())).unwrap_or_default())))
}

pub(super) fn substr_cp<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let text = text(&operands[0], "$substrCP")?;
    let place = |operand| {
        usize::try_from(int32(operand, "$substrCP")?).or_else(|_| fail("$substrCP takes no negative numbers"))
    };
    let (begin, length) = (place(&operands[1])?, place(&operands[2])?);
    let starts = (0..text.len()).filter(|at| begins(text[*at])).chain([text.len()]);
    let starts: Vec<usize> = starts.skip(begin).take(length.saturating_add(1)).collect();
    let range = starts.first().copied().unwrap_or(text.len())..starts.last().copied().unwrap_or(text.len());
    Ok(Some(Value::text(&text[range])))
}

pub(super) fn index_of_bytes<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    index_of(operands, "$indexOfBytes", str::len, |text, at| at.min(text.len()))
}

pub(super) fn index_of_cp<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let place = |text: &str, count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    index_of(operands, "$indexOfCP", |text| text.chars().count(), place)
}

/// Counts in units: `count` of a text, and `place` where so many of them end.
fn index_of<'v>(
    operands: &[Maybe<'v>],
    function: &str,
    count: impl Fn(&str) -> usize,
    place: impl Fn(&str, usize) -> usize,
) -> Outcome<'v> {
    if is_nullish(&operands[0]) {
        return Ok(Some(Value::null()));
    }
    let text = String::from_utf8_lossy(string(&operands[0], function)?);
    let wanted = string(&operands[1], function)?;
    let length = count(&text);
    let (begin, end) = range_of(&operands[2..], length, function)?;
    let found = if begin > end || begin >= length.max(1) {
        None
    } else {
        let (from, to) = (place(&text, begin), place(&text, end));
        let within = &text.as_bytes()[from..to];
        let at = (0..=within.len()).find(|at| within[*at..].starts_with(wanted));
        at.map(|at| count(&String::from_utf8_lossy(&text.as_bytes()[..from + at])))
    };
    Ok(Some(found.map_or(Value::int(-1), Value::count)))
}

pub(super) fn split<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    if operands.iter().any(is_nullish) {
        return Ok(Some(Value::null()));
    }
    let (text, separator) = (string(&operands[0], "$split")?, string(&operands[1], "$split")?);
    if separator.is_empty() {
        return fail("$split takes a separator that is not empty");
    }
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at + separator.len() <= text.len() {
        if text[at..].starts_with(separator) {
            parts.push(Value::text(&text[begin..at]));
            at += separator.len();
            begin = at;
        } else {
            at += 1;
        }
    }
    parts.push(Value::text(&text[begin..]));
    Ok(Some(Value::array(parts)))
}

/// What counts as space: also the zero character.
const SPACES: [char; 20] = [
    '\0', ' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{a0}', '\u{1680}', '\u{2000}', '\u{2001}', '\u{2002}',
    '\u{2003}', '\u{2004}', '\u{2005}', '\u{2006}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{200a}',
];

pub(super) fn trim<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    trimmed(operands, true, true)
}

pub(super) fn trim_start<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    trimmed(operands, true, false)
}

pub(super) fn trim_end<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    trimmed(operands, false, true)
}

fn trimmed<'v>(operands: &[Maybe<'v>], start: bool, end: bool) -> Outcome<'v> {
    if operands.iter().any(is_nullish) {
        return Ok(Some(Value::null()));
    }
    let text = String::from_utf8_lossy(string(&operands[0], "$trim")?);
    let chars: Vec<char> = match operands.get(1) {
        Some(chars) => String::from_utf8_lossy(string(chars, "$trim")?).chars().collect(),
        None => SPACES.to_vec(),
    };
    let mut text = &text[..];
    if start {
        text = text.trim_start_matches(&chars[..]);
    }
    if end {
        text = text.trim_end_matches(&chars[..]);
    }
    Ok(Some(Value::text(text.as_bytes())))
}
