//! The functions: their names, how many operands they take, and what knows how to compute them.

use super::value::{self, Maybe, Outcome, Value, compare};
use super::{arithmetic, arrays, dates, strings};
use crate::bson::Kind;

/// Computes a value from the values of the operands, of which there are as many as the table says.
pub(super) type Call = for<'v> fn(&[Maybe<'v>]) -> Outcome<'v>;

/// Name, least and greatest number of operands, function.
type Row = (&'static str, usize, usize, Call);

const ANY: usize = usize::MAX;

/// In the order of their names.
const FUNCTIONS: [Row; 68] = [
    ("abs", 1, 1, arithmetic::abs),
    ("add", 0, ANY, arithmetic::add),
    ("allElementsTrue", 1, 1, arrays::all_true),
    ("anyElementTrue", 1, 1, arrays::any_true),
    ("arrayElemAt", 2, 2, arrays::element_at),
    ("ceil", 1, 1, arithmetic::ceil),
    ("cmp", 2, 2, |operands| Ok(Some(Value::int(order(operands)? as i32)))),
    ("concat", 0, ANY, strings::concat),
    ("concatArrays", 0, ANY, arrays::concat),
    ("dayOfMonth", 1, 2, dates::day_of_month),
    ("dayOfWeek", 1, 2, dates::day_of_week),
    ("dayOfYear", 1, 2, dates::day_of_year),
    ("divide", 2, 2, arithmetic::divide),
    ("eq", 2, 2, |operands| truth(order(operands)?.is_eq())),
    ("exp", 1, 1, arithmetic::exp),
    ("first", 1, 1, arrays::first),
    ("floor", 1, 1, arithmetic::floor),
    ("gt", 2, 2, |operands| truth(order(operands)?.is_gt())),
    ("gte", 2, 2, |operands| truth(order(operands)?.is_ge())),
    ("hour", 1, 2, dates::hour),
    ("in", 2, 2, arrays::is_in),
    ("indexOfArray", 2, 4, arrays::index_of),
    ("indexOfBytes", 2, 4, strings::index_of_bytes),
    ("indexOfCP", 2, 4, strings::index_of_cp),
    ("isArray", 1, 1, |operands| truth(is(&operands[0], |kind| kind == Kind::Array))),
    ("isNumber", 1, 1, |operands| truth(operands[0].as_ref().is_some_and(|value| value.number().is_some()))),
    ("isoDayOfWeek", 1, 2, dates::iso_day_of_week),
    ("isoWeek", 1, 2, dates::iso_week),
    ("isoWeekYear", 1, 2, dates::iso_week_year),
    ("last", 1, 1, arrays::last),
    ("ln", 1, 1, arithmetic::ln),
    ("log", 2, 2, arithmetic::log),
    ("log10", 1, 1, arithmetic::log10),
    ("lt", 2, 2, |operands| truth(order(operands)?.is_lt())),
    ("lte", 2, 2, |operands| truth(order(operands)?.is_le())),
    ("ltrim", 1, 2, strings::trim_start),
    ("millisecond", 1, 2, dates::millisecond),
    ("minute", 1, 2, dates::minute),
    ("mod", 2, 2, arithmetic::modulo),
    ("month", 1, 2, dates::month),
    ("multiply", 0, ANY, arithmetic::multiply),
    ("ne", 2, 2, |operands| truth(order(operands)?.is_ne())),
    ("not", 1, 1, |operands| truth(!value::is_true(&operands[0]))),
    ("range", 2, 3, arrays::range),
    ("reverseArray", 1, 1, arrays::reverse),
    ("rtrim", 1, 2, strings::trim_end),
    ("second", 1, 2, dates::second),
    ("setDifference", 2, 2, arrays::set_difference),
    ("setEquals", 2, ANY, arrays::set_equals),
    ("setIntersection", 0, ANY, arrays::set_intersection),
    ("setIsSubset", 2, 2, arrays::set_is_subset),
    ("setUnion", 0, ANY, arrays::set_union),
    ("size", 1, 1, arrays::size),
    ("slice", 2, 3, arrays::slice),
    ("split", 2, 2, strings::split),
    ("sqrt", 1, 1, arithmetic::sqrt),
    ("strLenBytes", 1, 1, strings::length_bytes),
    ("strLenCP", 1, 1, strings::length_cp),
    ("strcasecmp", 2, 2, strings::compare_caseless),
    ("substrBytes", 3, 3, strings::substr_bytes),
    ("substrCP", 3, 3, strings::substr_cp),
    ("subtract", 2, 2, arithmetic::subtract),
    ("toLower", 1, 1, strings::to_lower),
    ("toUpper", 1, 1, strings::to_upper),
    ("trim", 1, 2, strings::trim),
    ("type", 1, 1, |operands| Ok(Some(Value::text(value::type_name(&operands[0]).as_bytes())))),
    ("week", 1, 2, dates::week),
    ("year", 1, 2, dates::year),
];

/// A function, and of how many operands at most the first null makes it null, whatever follows.
#[derive(Clone, Copy, Debug)]
pub(in crate::query) struct Function {
    pub(super) call: Call,
    pub(super) nulls: usize,
}

/// The function of that name, without `$`, and how many operands it takes.
pub(super) fn find(name: &str) -> Option<(usize, usize, Function)> {
    let name = match name {
        "substr" => "substrBytes",
        name => name,
    };
    let row = FUNCTIONS.iter().find(|(known, ..)| *known == name);
    let nulls = match name {
        "add" | "multiply" | "concat" | "concatArrays" | "setUnion" | "setIntersection" => ANY,
        "indexOfArray" | "indexOfBytes" | "indexOfCP" => 1,
        _ => 0,
    };
    row.map(|(_, least, most, call)| (*least, *most, Function { call: *call, nulls }))
}

/// Names that the server knows and that are not computed here.
pub(super) const UNSUPPORTED: [&str; 68] = [
    "accumulator",
    "acos",
    "acosh",
    "arrayToObject",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "binarySize",
    "bsonSize",
    "convert",
    "cos",
    "cosh",
    "dateAdd",
    "dateDiff",
    "dateFromParts",
    "dateFromString",
    "dateSubtract",
    "dateToParts",
    "dateToString",
    "dateTrunc",
    "degreesToRadians",
    "firstN",
    "function",
    "getField",
    "lastN",
    "max",
    "maxN",
    "mergeObjects",
    "meta",
    "min",
    "minN",
    "objectToArray",
    "pow",
    "radiansToDegrees",
    "rand",
    "regexFind",
    "regexFindAll",
    "regexMatch",
    "replaceAll",
    "replaceOne",
    "round",
    "sampleRate",
    "setField",
    "sin",
    "sinh",
    "sortArray",
    "stdDevPop",
    "stdDevSamp",
    "sum",
    "tan",
    "tanh",
    "toBool",
    "toDate",
    "toDecimal",
    "toDouble",
    "toHashedIndexKey",
    "toInt",
    "toLong",
    "toObjectId",
    "toString",
    "trunc",
    "tsIncrement",
    "tsSecond",
    "unsetField",
    "zip",
];

fn order(operands: &[Maybe<'_>]) -> Result<std::cmp::Ordering, crate::bson::Malformed> {
    compare(&operands[0], &operands[1])
}

// It ends functions that may fail.
#[allow(clippy::unnecessary_wraps)]
fn truth<'v>(truth: bool) -> Outcome<'v> {
    Ok(Some(Value::bool(truth)))
}

fn is(value: &Maybe<'_>, test: impl Fn(Kind) -> bool) -> bool {
    value.as_ref().is_some_and(|value| test(value.kind()))
}
