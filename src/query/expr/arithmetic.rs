//! Arithmetic: of the types of the operands the widest, int32 before int64, double and decimal.

// Doubles and integers are made of each other as the server does it.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::float_cmp)]

use std::cmp::Ordering;

use super::decimal::Wide;
use super::value::{Maybe, Outcome, Value, fail, is_nullish, type_name};
use crate::bson::{Kind, Number};
use crate::query::error::MatchError;

/// A number with the rank of its type.
#[derive(Clone, Copy)]
struct Typed {
    number: Number,
    kind: Kind,
}

impl Typed {
    fn of(value: &Maybe<'_>, function: &str) -> Result<Self, MatchError> {
        let number = value.as_ref().and_then(Value::number);
        match (number, value) {
            (Some(number), Some(value)) => Ok(Self { number, kind: value.kind() }),
            _ => fail(format!("{function} takes numbers, not {}", type_name(value))),
        }
    }

    fn double(self) -> f64 {
        match self.number {
            Number::Int(int) => int as f64,
            Number::Double(double) => double,
            Number::Decimal(bytes) => crate::bson::Decimal::of(bytes).to_f64(),
        }
    }
}

/// The wider of two types.
fn wider(a: Kind, b: Kind) -> Kind {
    let rank = |kind| match kind {
        Kind::Int32 => 0,
        Kind::Int64 => 1,
        Kind::Double => 2,
        _ => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// A whole number in the type that was asked for, or in the next one that holds it.
fn whole<'v>(number: i128, kind: Kind) -> Value<'v> {
    match i64::try_from(number) {
        Ok(number) if kind == Kind::Int32 => Value::int_or_long(number),
        Ok(number) => Value::long(number),
        Err(_) => Value::double(number as f64),
    }
}

/// One after the other, each sum in the wider type of the two.
pub(super) fn add<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let mut sum = Value::int(0);
    for operand in operands {
        if is_nullish(operand) {
            return Ok(Some(Value::null()));
        }
        let date = |value: &Value<'_>| value.view().as_date_ms();
        sum = match (date(&sum), operand.as_ref().and_then(date)) {
            (Some(_), Some(_)) => return fail("$add takes one date at most"),
            (Some(millis), None) => shifted(millis, Typed::of(operand, "$add")?)?,
            (None, Some(millis)) => shifted(millis, Typed::of(&Some(sum), "$add")?)?,
            (None, None) => plus(Typed::of(&Some(sum), "$add")?, Typed::of(operand, "$add")?),
        };
    }
    Ok(Some(sum))
}

fn plus<'v>(a: Typed, b: Typed) -> Value<'v> {
    match (wider(a.kind, b.kind), a.number, b.number) {
        (Kind::Decimal128, a, b) => Value::decimal(Wide::of(a).add(Wide::of(b)).bytes()),
        (kind, Number::Int(a), Number::Int(b)) => whole(i128::from(a) + i128::from(b), kind),
        _ => Value::double(a.double() + b.double()),
    }
}

/// A date, so many milliseconds later; fractions are rounded.
fn shifted<'v>(millis: i64, by: Typed) -> Result<Value<'v>, MatchError> {
    let by = match by.number {
        Number::Int(int) => Some(int),
        Number::Double(double) => Number::Double(double.round()).trunc_i64(),
        decimal @ Number::Decimal(_) => {
            let up = Wide::of(decimal).add(Wide::Finite(5.into(), -1)).whole(false);
            Number::Decimal(up.bytes()).trunc_i64()
        }
    };
    let later = by.and_then(|by| millis.checked_add(by));
    later.map_or_else(|| fail("the date is out of range"), |millis| Ok(Value::date(millis)))
}

fn negated(by: Typed) -> Typed {
    let number = match by.number {
        Number::Int(int) => int.checked_neg().map_or(Number::Double(-(int as f64)), Number::Int),
        Number::Double(double) => Number::Double(-double),
        decimal @ Number::Decimal(_) => Number::Decimal(Wide::of(decimal).negate().bytes()),
    };
    Typed { number, ..by }
}

pub(super) fn subtract<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let [a, b] = operands else { return fail("$subtract takes two operands") };
    if is_nullish(a) || is_nullish(b) {
        return Ok(Some(Value::null()));
    }
    let date = |value: &Maybe<'_>| value.as_ref().and_then(|value| value.view().as_date_ms());
    match (date(a), date(b)) {
        (Some(a), Some(b)) => {
            let Some(difference) = a.checked_sub(b) else { return fail("the difference is out of range") };
            return Ok(Some(Value::long(difference)));
        }
        (Some(millis), None) => {
            return shifted(millis, negated(Typed::of(b, "$subtract")?)).map(Some);
        }
        _ => {}
    }
    let (a, b) = (Typed::of(a, "$subtract")?, Typed::of(b, "$subtract")?);
    Ok(Some(match (wider(a.kind, b.kind), a.number, b.number) {
        (Kind::Decimal128, a, b) => Value::decimal(Wide::of(a).add(Wide::of(b).negate()).bytes()),
        (kind, Number::Int(a), Number::Int(b)) => whole(i128::from(a) - i128::from(b), kind),
        _ => Value::double(a.double() - b.double()),
    }))
}

pub(super) fn multiply<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let (mut kind, mut ints, mut doubles, mut wide) =
        (Kind::Int32, Some(1_i64), 1.0, Wide::Finite(1.into(), 0));
    let has_decimal = operands.iter().flatten().any(|value| value.kind() == Kind::Decimal128);
    for operand in operands {
        if is_nullish(operand) {
            return Ok(Some(Value::null()));
        }
        let factor = Typed::of(operand, "$multiply")?;
        kind = wider(kind, factor.kind);
        if has_decimal {
            wide = wide.multiply(Wide::of(factor.number));
        }
        doubles *= factor.double();
        if let Number::Int(int) = factor.number {
            ints = ints.and_then(|product| product.checked_mul(int));
        }
    }
    Ok(Some(match (kind, ints) {
        (Kind::Decimal128, _) => Value::decimal(wide.bytes()),
        (Kind::Int32 | Kind::Int64, Some(product)) => whole(product.into(), kind),
        _ => Value::double(doubles),
    }))
}

/// Two numbers; none if one of them is null.
fn two(operands: &[Maybe<'_>], function: &str) -> Result<Option<(Typed, Typed)>, MatchError> {
    let (a, b) = (&operands[0], &operands[1]);
    if is_nullish(a) || is_nullish(b) {
        return Ok(None);
    }
    Ok(Some((Typed::of(a, function)?, Typed::of(b, function)?)))
}

pub(super) fn divide<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let Some((a, b)) = two(operands, "$divide")? else { return Ok(Some(Value::null())) };
    if b.number.is_zero() {
        return fail("$divide by zero");
    }
    Ok(Some(match wider(a.kind, b.kind) {
        Kind::Decimal128 => Value::decimal(Wide::of(a.number).divide(Wide::of(b.number)).bytes()),
        _ => Value::double(a.double() / b.double()),
    }))
}

pub(super) fn modulo<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let Some((a, b)) = two(operands, "$mod")? else { return Ok(Some(Value::null())) };
    if b.number.is_zero() {
        return fail("$mod by zero");
    }
    Ok(Some(match (wider(a.kind, b.kind), a.number, b.number) {
        (Kind::Decimal128, a, b) => Value::decimal(Wide::of(a).modulo(Wide::of(b)).bytes()),
        (kind, Number::Int(a), Number::Int(b)) => whole(a.checked_rem(b).unwrap_or(0).into(), kind),
        _ => Value::double(a.double() % b.double()),
    }))
}

/// One number; null stays null.
fn one<'v>(
    operands: &[Maybe<'v>],
    function: &str,
    compute: impl FnOnce(Typed) -> Result<Value<'v>, MatchError>,
) -> Outcome<'v> {
    if is_nullish(&operands[0]) {
        return Ok(Some(Value::null()));
    }
    compute(Typed::of(&operands[0], function)?).map(Some)
}

pub(super) fn abs<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    one(operands, "$abs", |typed| match typed.number {
        Number::Int(i64::MIN) => fail("$abs of the least int64"),
        Number::Int(int) => Ok(whole(int.abs().into(), typed.kind)),
        Number::Double(double) => Ok(Value::double(double.abs())),
        Number::Decimal(_) => Ok(Value::decimal(Wide::of(typed.number).abs().bytes())),
    })
}

pub(super) fn ceil<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    next_whole(operands, "$ceil", true)
}

pub(super) fn floor<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    next_whole(operands, "$floor", false)
}

fn next_whole<'v>(operands: &[Maybe<'v>], function: &str, up: bool) -> Outcome<'v> {
    one(operands, function, |typed| {
        Ok(match typed.number {
            Number::Int(int) => whole(int.into(), typed.kind),
            Number::Double(double) => Value::double(if up { double.ceil() } else { double.floor() }),
            Number::Decimal(_) => Value::decimal(Wide::of(typed.number).whole(up).bytes()),
        })
    })
}

/// A function of doubles.
fn real<'v>(
    operands: &[Maybe<'v>],
    function: &str,
    compute: impl FnOnce(f64) -> f64,
    least: Option<Ordering>,
) -> Outcome<'v> {
    one(operands, function, |typed| {
        let zero = typed.number.compare(Number::Int(0));
        if least.is_some_and(|least| zero < least) && !typed.number.is_nan() {
            return fail(format!("{function} of a number that is too small for it"));
        }
        no_decimal(typed, function)?;
        Ok(Value::double(compute(typed.double())))
    })
}

fn no_decimal(typed: Typed, function: &str) -> Result<(), MatchError> {
    match typed.kind {
        Kind::Decimal128 => Err(MatchError::Unsupported(format!("{function} of a decimal"))),
        _ => Ok(()),
    }
}

pub(super) fn sqrt<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    real(operands, "$sqrt", f64::sqrt, Some(Ordering::Equal))
}

pub(super) fn exp<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    real(operands, "$exp", f64::exp, None)
}

pub(super) fn ln<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    real(operands, "$ln", f64::ln, Some(Ordering::Greater))
}

pub(super) fn log10<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    real(operands, "$log10", f64::log10, Some(Ordering::Greater))
}

pub(super) fn log<'v>(operands: &[Maybe<'v>]) -> Outcome<'v> {
    let Some((number, base)) = two(operands, "$log")? else { return Ok(Some(Value::null())) };
    no_decimal(number, "$log")?;
    no_decimal(base, "$log")?;
    let (number, base) = (number.double(), base.double());
    if number <= 0.0 || base <= 0.0 || base == 1.0 {
        return fail("$log takes a positive number and a positive base that is not 1");
    }
    Ok(Some(Value::double(number.ln() / base.ln())))
}
