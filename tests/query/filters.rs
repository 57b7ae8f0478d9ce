//! Filters: mostly such as the server accepts, and some that it refuses.

use std::ops::Range;

use mongodb::bson::{Bson, Document, doc};

use crate::dice::Dice;
use crate::expressions;
use crate::values::{NAMES, number, regex, value};

/// Any filter.
pub(crate) fn filter(dice: &mut Dice, depth: usize) -> Document {
    let mut filter = Document::new();
    let fields = [1, 1, 1, 1, 2, 2, 3][dice.below(7)];
    for _ in 0..fields {
        if depth > 0 && dice.once_in(6) {
            let name = *dice.pick(&["$and", "$or", "$nor"]);
            let filters: Vec<Bson> =
                (0..=dice.below(3)).map(|_| self::filter(dice, depth - 1).into()).collect();
            filter.insert(name, filters);
        } else if dice.once_in(8) {
            filter.insert("$expr", expressions::truth(dice, 3));
        } else if dice.once_in(60) {
            let (name, value) = odd(dice);
            filter.insert(name, value);
        } else {
            filter.insert(path(dice), condition(dice, depth));
        }
    }
    filter
}

pub(crate) fn path(dice: &mut Dice) -> String {
    let parts = [1, 1, 1, 2, 2, 2, 3, 4][dice.below(8)];
    (0..parts).map(|_| *dice.pick(&NAMES)).collect::<Vec<_>>().join(".")
}

/// A sort, and the documents to sort: few, since some can't be sorted at all.
pub(crate) fn sort(dice: &mut Dice, documents: usize) -> (Range<usize>, Document) {
    let first = dice.below(documents);
    let range = first..documents.min(first + dice.pick(&[2, 4, 8, documents]));
    let mut sort = Document::new();
    for _ in 0..[1, 1, 1, 2, 2, 3][dice.below(6)] {
        sort.insert(path(dice), *dice.pick(&[1, -1]));
    }
    if dice.once_in(20) {
        sort.insert(*dice.pick(&["a..b", "$a", "a.", "", "a"]), *dice.pick(&[1, 0, 2]));
    }
    sort.insert("_id", 1);
    (range, sort)
}

fn odd(dice: &mut Dice) -> (&'static str, Bson) {
    match dice.below(9) {
        0 => ("$comment", value(dice, 1)),
        1 => ("$alwaysTrue", dice.pick(&[1, 1, 0]).into()),
        2 => ("$alwaysFalse", dice.pick(&[1.0, 1.0, 0.5]).into()),
        3 => ("$ref", value(dice, 1)),
        4 => ("$id", value(dice, 1)),
        5 => ("$unknown", 1.into()),
        6 => ("$and", Bson::Array(vec![])),
        7 => ("$or", value(dice, 1)),
        _ => ("$eq", 1.into()),
    }
}

/// A filter that is an expression, and often one that can't be computed.
pub(crate) fn wild(dice: &mut Dice) -> Document {
    doc! { "$expr": expressions::wild(dice, 2) }
}

fn condition(dice: &mut Dice, depth: usize) -> Bson {
    match dice.below(10) {
        0 | 1 => value(dice, 2),
        2 => regex(dice),
        _ => operators(dice, depth).into(),
    }
}

fn operators(dice: &mut Dice, depth: usize) -> Document {
    let mut operators = Document::new();
    for _ in 0..[1, 1, 1, 1, 2, 2, 3][dice.below(7)] {
        let (name, operand) = operator(dice, depth);
        operators.insert(name, operand);
    }
    operators
}

fn operator(dice: &mut Dice, depth: usize) -> (&'static str, Bson) {
    // An operand of the wrong kind, now and then.
    if dice.once_in(25) {
        let name = *dice.pick(&[
            "$eq",
            "$ne",
            "$gt",
            "$in",
            "$nin",
            "$not",
            "$all",
            "$elemMatch",
            "$exists",
            "$type",
            "$size",
            "$mod",
            "$regex",
            "$options",
            "$bitsAllSet",
            "$bitsAnyClear",
            "$unknown",
            "$and",
            "$id",
            "$ref",
            "$comment",
            "$expr",
            "a",
        ]);
        return (name, value(dice, 2));
    }
    match dice.below(26) {
        0 => ("$eq", value(dice, 2)),
        1 => ("$ne", value(dice, 2)),
        2 | 3 => ("$gt", value(dice, 1)),
        4 | 5 => ("$gte", value(dice, 1)),
        6 | 7 => ("$lt", value(dice, 1)),
        8 | 9 => ("$lte", value(dice, 1)),
        10 | 11 => ("$in", list(dice, 1)),
        12 => ("$nin", list(dice, 1)),
        13 => ("$exists", Bson::Boolean(dice.once_in(2))),
        14 | 15 => ("$type", types(dice)),
        16 => ("$size", if dice.once_in(5) { number(dice) } else { Bson::Int32(dice.below(4) as i32) }),
        17 | 18 => ("$mod", modulus(dice)),
        19 => ("$regex", pattern(dice)),
        20 | 21 => ("$all", all(dice, depth)),
        22 if depth > 0 => {
            ("$not", if dice.once_in(6) { regex(dice) } else { operators(dice, depth - 1).into() })
        }
        23 | 24 if depth > 0 => ("$elemMatch", elem_match(dice, depth - 1).into()),
        _ => (*dice.pick(&["$bitsAllSet", "$bitsAllClear", "$bitsAnySet", "$bitsAnyClear"]), mask(dice)),
    }
}

fn list(dice: &mut Dice, depth: usize) -> Bson {
    let length = [0, 1, 1, 2, 2, 3, 4][dice.below(7)];
    Bson::Array((0..length).map(|_| if dice.once_in(8) { regex(dice) } else { value(dice, depth) }).collect())
}

fn all(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(2) {
        return list(dice, 1);
    }
    let filters = (0..=dice.below(2)).map(|_| Bson::from(doc! { "$elemMatch": elem_match(dice, depth - 1) }));
    let mut filters: Vec<Bson> = filters.collect();
    if dice.once_in(6) {
        filters.push(value(dice, 1));
    }
    Bson::Array(filters)
}

fn elem_match(dice: &mut Dice, depth: usize) -> Document {
    if dice.once_in(2) { filter(dice, depth) } else { operators(dice, depth) }
}

fn types(dice: &mut Dice) -> Bson {
    if dice.once_in(3) {
        return Bson::Array((0..dice.below(4)).map(|_| one_type(dice)).collect());
    }
    one_type(dice)
}

fn one_type(dice: &mut Dice) -> Bson {
    if dice.once_in(10) {
        return number(dice);
    }
    match dice.below(2) {
        0 => {
            Bson::Int32(*dice.pick(&[
                -1, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 127,
            ]))
        }
        _ => (*dice.pick(&[
            "number",
            "double",
            "string",
            "object",
            "array",
            "binData",
            "undefined",
            "objectId",
            "bool",
            "date",
            "null",
            "regex",
            "javascript",
            "symbol",
            "javascriptWithScope",
            "int",
            "timestamp",
            "long",
            "decimal",
            "minKey",
            "maxKey",
            "missing",
            "Int",
        ]))
        .into(),
    }
}

fn modulus(dice: &mut Dice) -> Bson {
    if dice.once_in(6) {
        return list(dice, 0);
    }
    let divisor = if dice.once_in(4) { number(dice) } else { Bson::Int32(*dice.pick(&[1, 2, 3, -2, 4])) };
    let remainder = if dice.once_in(4) { number(dice) } else { Bson::Int32(*dice.pick(&[0, 0, 1, -1])) };
    Bson::Array(vec![divisor, remainder])
}

fn pattern(dice: &mut Dice) -> Bson {
    match dice.below(4) {
        0 => regex(dice),
        _ => (*dice.pick(&["^a", "a", "b$", "", "(", "^A", "\\d", "(?i)a", "é"])).into(),
    }
}

fn mask(dice: &mut Dice) -> Bson {
    match dice.below(4) {
        0 => number(dice),
        1 => value(dice, 0),
        2 => Bson::Array(
            (0..dice.below(3)).map(|_| Bson::Int32(*dice.pick(&[0, 1, 2, 7, 63, 64, 200]))).collect(),
        ),
        _ => Bson::Int32(*dice.pick(&[0, 1, 2, 3, 5, 128])),
    }
}
