//! Parts of dates, in UTC or at an offset from it.

use super::value::{Maybe, Outcome, Value, fail, is_nullish, type_name};
use crate::bson::Kind;
use crate::bson::extjson::{civil, days};
use crate::query::error::MatchError;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A part of what date and time zone say together; null if one of them is null.
fn part<'v>(operands: &[Maybe<'v>], part: impl FnOnce(i64) -> i64) -> Outcome<'v> {
    let offset = match operands.get(1) {
        None => 0,
        Some(zone) if is_nullish(zone) => return Ok(Some(Value::null())),
        Some(zone) => offset(zone)?,
    };
    if is_nullish(&operands[0]) {
        return Ok(Some(Value::null()));
    }
    let Some(local) = millis(&operands[0])?.checked_add(offset) else {
        return fail("the date is out of range");
    };
    Ok(Some(Value::int_or_long(part(local))))
}

fn millis(date: &Maybe<'_>) -> Result<i64, MatchError> {
    let view = date.as_ref().map(Value::view);
    let seconds = |seconds: u32| i64::from(seconds) * SECOND_MS;
    let millis = view.and_then(|view| match view.kind() {
        Kind::Date => view.as_date_ms(),
        Kind::Timestamp => view.as_timestamp().map(|(t, _)| seconds(t)),
        Kind::ObjectId => view.as_bytes().first_chunk().map(|first| seconds(u32::from_be_bytes(*first))),
        _ => None,
    });
    millis.map_or_else(|| fail(format!("expected a date, not {}", type_name(date))), Ok)
}

/// A time zone's offset in milliseconds: `UTC`, `GMT`, `+hh`, `+hhmm`, `+hh:mm`. Names of places need the history of their clocks.
fn offset(zone: &Maybe<'_>) -> Result<i64, MatchError> {
    let text = zone.as_ref().and_then(|zone| zone.view().as_str_bytes());
    let Some(text) = text else { return fail(format!("a time zone is a string, not {}", type_name(zone))) };
    let (sign, rest) = match text {
        b"UTC" | b"GMT" => return Ok(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(MatchError::Unsupported("a time zone other than an offset from UTC".to_owned())),
    };
    let two = |a: &u8, b: &u8| {
        (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from((a - b'0') * 10 + b - b'0'))
    };
    let parts = match rest {
        [a, b] => two(a, b).map(|hours| (hours, 0)),
        [a, b, c, d] | [a, b, b':', c, d] => two(a, b).zip(two(c, d)),
        _ => None,
    };
    match parts {
        Some((hours, minutes)) => Ok(sign * (hours * HOUR_MS + minutes * MINUTE_MS)),
        None => fail("expected a time zone such as +02:00"),
    }
}

fn day(millis: i64) -> i64 {
    millis.div_euclid(DAY_MS)
}

/// Days since the Sunday before.
fn weekday(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// Days since the first of January.
fn day_of(day: i64) -> i64 {
    day - days(civil(day).0, 1, 1)
}

/// Year and number of the week that the day's Thursday lies in.
fn iso(day: i64) -> (i64, i64) {
    let thursday = day - (weekday(day) + 6) % 7 + 3;
    (civil(thursday).0, day_of(thursday) / 7 + 1)
}

pub(super) fn year<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| civil(day(at)).0)
}

pub(super) fn month<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| civil(day(at)).1)
}

pub(super) fn day_of_month<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| civil(day(at)).2)
}

pub(super) fn day_of_week<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| weekday(day(at)) + 1)
}

pub(super) fn day_of_year<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| day_of(day(at)) + 1)
}

/// Weeks begin on Sundays; what lies before the first one is week 0.
pub(super) fn week<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| (day_of(day(at)) + 7 - weekday(day(at))) / 7)
}

pub(super) fn iso_day_of_week<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| (weekday(day(at)) + 6) % 7 + 1)
}

pub(super) fn iso_week<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| iso(day(at)).1)
}

/// An int64, unlike the others.
pub(super) fn iso_week_year<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| iso(day(at)).0)
}

pub(super) fn hour<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| at.rem_euclid(DAY_MS) / HOUR_MS)
}

pub(super) fn minute<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| at.rem_euclid(HOUR_MS) / MINUTE_MS)
}

pub(super) fn second<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| at.rem_euclid(MINUTE_MS) / SECOND_MS)
}

pub(super) fn millisecond<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    part(operands, |at| at.rem_euclid(SECOND_MS))
}

/// A date of the years 0 to 9999 as text, with milliseconds.
pub(super) fn text(millis: i64) -> Option<String> {
    let (year, month, day) = civil(self::day(millis));
    let of_day = millis.rem_euclid(DAY_MS);
    let [hour, minute, second] = [of_day / HOUR_MS, of_day / MINUTE_MS % 60, of_day / SECOND_MS % 60];
    let text =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % SECOND_MS);
    (0..10_000).contains(&year).then_some(text)
}
