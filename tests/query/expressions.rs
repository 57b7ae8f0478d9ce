//! Expressions for `$expr`: by the type of their values, so that most of them don't fail.

use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::dice::Dice;
use crate::values::{NAMES, array, number, value};

/// Something to be true or not.
pub(crate) fn truth(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 {
        return field(dice);
    }
    let depth = depth - 1;
    match dice.below(22) {
        0..6 => {
            let name = *dice.pick(&["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]);
            op(name, [any(dice, depth), any(dice, depth)])
        }
        6..8 => op(dice.pick::<&str>(&["$eq", "$gt", "$lte"]), [numeric(dice, depth), numeric(dice, depth)]),
        8 => op(
            dice.pick::<&str>(&["$and", "$or"]),
            (0..dice.below(4)).map(|_| truth(dice, depth)).collect::<Vec<_>>(),
        ),
        9 => op("$not", [truth(dice, depth)]),
        10 => op("$in", [any(dice, depth), list(dice, depth)]),
        11 => op(dice.pick::<&str>(&["$setEquals", "$setIsSubset"]), [list(dice, depth), list(dice, depth)]),
        12 => op(dice.pick::<&str>(&["$anyElementTrue", "$allElementsTrue"]), [list(dice, depth)]),
        13 => op("$isArray", [any(dice, depth)]),
        14 => doc! { "$isNumber": any(dice, depth) }.into(),
        15 => op(
            "$eq",
            [
                doc! { "$type": any(dice, depth) }.into(),
                (*dice.pick(&["int", "missing", "array", "string"])).into(),
            ],
        ),
        16 | 17 => op(dice.pick::<&str>(&["$eq", "$lt"]), [text(dice, depth), text(dice, depth)]),
        18 => op("$eq", [list(dice, depth), list(dice, depth)]),
        19 => op("$gt", [date(dice, depth), date(dice, depth)]),
        20 => op("$cmp", [any(dice, depth), any(dice, depth)]),
        _ => any(dice, depth),
    }
}

fn op(name: &str, operands: impl Into<Vec<Bson>>) -> Bson {
    let mut document = Document::new();
    document.insert(name, operands.into());
    document.into()
}

fn field(dice: &mut Dice) -> Bson {
    let names = ["a", "b", "c", "x", "0"];
    let parts = [1, 1, 1, 2, 2, 3][dice.below(6)];
    let path = (0..parts).map(|_| *dice.pick(&names)).collect::<Vec<_>>().join(".");
    let root = *dice.pick(&["$", "$", "$", "$$ROOT.", "$$CURRENT."]);
    format!("{root}{path}").into()
}

fn any(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(3) {
        return match dice.below(8) {
            0..5 => field(dice),
            5 => doc! { "$literal": value(dice, 2) }.into(),
            6 => number(dice),
            _ => (*dice.pick(&["$$ROOT", "$$REMOVE", "$nothing", "a"])).into(),
        };
    }
    let depth = depth - 1;
    match dice.below(14) {
        0 => op("$cond", [truth(dice, depth), any(dice, depth), any(dice, depth)]),
        1 => {
            doc! { "$cond": { "if": truth(dice, depth), "then": any(dice, depth), "else": any(dice, depth) } }
                .into()
        }
        2 => op("$ifNull", [any(dice, depth), any(dice, depth)]),
        3 => {
            let branch = doc! { "case": truth(dice, depth), "then": any(dice, depth) };
            doc! { "$switch": { "branches": [branch], "default": any(dice, depth) } }.into()
        }
        4 => op("$arrayElemAt", [list(dice, depth), (dice.below(5) as i32 - 2).into()]),
        5 => op(dice.pick::<&str>(&["$first", "$last"]), [list(dice, depth)]),
        6 => {
            let body = op("$eq", ["$$v".into(), any(dice, depth)]);
            doc! { "$let": { "vars": { "v": any(dice, depth) }, "in": body } }.into()
        }
        7 => {
            doc! { "$let": { "vars": { "v": any(dice, depth) }, "in": format!("$$v.{}", dice.pick(&NAMES)) } }
                .into()
        }
        8 => {
            let body = op("$concatArrays", ["$$value".into(), Bson::Array(vec!["$$this".into()])]);
            doc! { "$reduce": { "input": list(dice, depth), "initialValue": [], "in": body } }.into()
        }
        9 => list(dice, depth),
        10 => numeric(dice, depth),
        11 => text(dice, depth),
        12 => doc! { "p": any(dice, depth), "q": any(dice, depth) }.into(),
        _ => truth(dice, depth),
    }
}

fn numeric(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(4) {
        let field = field(dice);
        let is_number = doc! { "$isNumber": field.clone() };
        return if dice.once_in(2) {
            op("$cond", [is_number.into(), field, small(dice)])
        } else {
            small(dice)
        };
    }
    let depth = depth - 1;
    match dice.below(14) {
        0..2 => op("$add", (0..dice.below(4)).map(|_| numeric(dice, depth)).collect::<Vec<_>>()),
        2 => op("$subtract", [numeric(dice, depth), numeric(dice, depth)]),
        3 => op("$multiply", [numeric(dice, depth), numeric(dice, depth)]),
        4 => op("$divide", [numeric(dice, depth), dice.pick(&[1, 2, 3, -7]).into()]),
        5 => op("$mod", [numeric(dice, depth), Bson::Int32(*dice.pick(&[1, 2, 3, -7]))]),
        6 => op(dice.pick::<&str>(&["$ceil", "$floor"]), [numeric(dice, depth)]),
        7 => op("$size", [list(dice, depth)]),
        8 => op(dice.pick::<&str>(&["$strLenBytes", "$strLenCP"]), [text(dice, depth)]),
        9 => op("$indexOfArray", [list(dice, depth), any(dice, depth)]),
        10 => op(
            dice.pick::<&str>(&["$indexOfCP", "$indexOfBytes"]),
            [text(dice, depth), (*dice.pick(&["a", "b", ""])).into()],
        ),
        11 => date_part(dice, depth),
        12 => op("$abs", [small(dice)]),
        _ => op("$strcasecmp", [text(dice, depth), text(dice, depth)]),
    }
}

/// Numbers whose sums and products no version computes differently.
fn small(dice: &mut Dice) -> Bson {
    match dice.below(4) {
        0 => Bson::Double(*dice.pick(&[0.5, 1.5, -2.25, 1e10])),
        1 => Bson::Int64(*dice.pick(&[1, 7, 1 << 40])),
        2 => Bson::Decimal128(dice.pick(&["1.5", "0.1", "-3", "7E+3"]).parse().unwrap()),
        _ => Bson::Int32(*dice.pick(&[0, 1, 2, 5, -3, 1_000_000])),
    }
}

fn text(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(4) {
        let field = field(dice);
        let is_text = op("$eq", [doc! { "$type": field.clone() }.into(), "string".into()]);
        return op("$cond", [is_text, field, (*dice.pick(&["", "aBc", "é b", "xAx"])).into()]);
    }
    let depth = depth - 1;
    match dice.below(8) {
        0 => op("$concat", (0..dice.below(4)).map(|_| text(dice, depth)).collect::<Vec<_>>()),
        1 => doc! { *dice.pick(&["$toLower", "$toUpper"]): text(dice, depth) }.into(),
        2 => {
            op("$substrCP", [text(dice, depth), (dice.below(3) as i32).into(), (dice.below(3) as i32).into()])
        }
        3 => op(
            "$substrBytes",
            [op("$concat", ["ab".into(), text(dice, depth)]), 1.into(), (*dice.pick(&[1, -1])).into()],
        ),
        4 => doc! { *dice.pick(&["$trim", "$ltrim", "$rtrim"]): { "input": text(dice, depth) } }.into(),
        5 => doc! { "$trim": { "input": text(dice, depth), "chars": "ax" } }.into(),
        6 => doc! { "$type": any(dice, depth) }.into(),
        _ => op("$arrayElemAt", [op("$split", [text(dice, depth), "b".into()]), 0.into()]),
    }
}

fn list(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(3) {
        let field = field(dice);
        let is_list = op("$isArray", [field.clone()]);
        let other = doc! { "$literal": array(dice, 1) };
        return op("$cond", [is_list, field, other.into()]);
    }
    let depth = depth - 1;
    match dice.below(11) {
        0 => op("$concatArrays", [list(dice, depth), list(dice, depth)]),
        1 => op("$reverseArray", [list(dice, depth)]),
        2 => op("$slice", [list(dice, depth), (dice.below(5) as i32 - 2).into()]),
        3 => op("$slice", [list(dice, depth), (dice.below(5) as i32 - 2).into(), 2.into()]),
        4 => op("$setDifference", [list(dice, depth), list(dice, depth)]),
        5 => Bson::Array(vec![any(dice, depth), any(dice, depth)]),
        6 => doc! { "$map": { "input": list(dice, depth), "in": op("$eq", ["$$this".into(), any(dice, depth)]) } }.into(),
        7 => doc! { "$map": { "input": list(dice, depth), "as": "e", "in": "$$e.a" } }.into(),
        8 => doc! { "$filter": { "input": list(dice, depth), "as": "e", "cond": op("$gt", ["$$e".into(), any(dice, depth)]) } }.into(),
        9 => op("$range", [0.into(), (dice.below(4) as i32).into()]),
        _ => op("$setIntersection", [list(dice, depth), list(dice, depth)]),
    }
}

fn date(dice: &mut Dice, depth: usize) -> Bson {
    let constant = DateTime::from_millis(*dice.pick(&[
        0,
        -1,
        1_583_020_800_000,
        1_700_000_000_123,
        4_102_444_799_999,
        -62_135_596_800_000,
    ]));
    if depth == 0 || dice.once_in(2) {
        let field = field(dice);
        let is_date = op("$eq", [doc! { "$type": field.clone() }.into(), "date".into()]);
        return op("$cond", [is_date, field, constant.into()]);
    }
    op(
        dice.pick::<&str>(&["$add", "$subtract"]),
        [constant.into(), Bson::Int64(*dice.pick(&[1, -86_400_000, 1 << 35]))],
    )
}

fn date_part(dice: &mut Dice, depth: usize) -> Bson {
    let name = *dice.pick(&[
        "$year",
        "$month",
        "$dayOfMonth",
        "$dayOfWeek",
        "$dayOfYear",
        "$week",
        "$isoWeek",
        "$isoWeekYear",
        "$isoDayOfWeek",
        "$hour",
        "$minute",
        "$second",
        "$millisecond",
    ]);
    match dice.below(3) {
        0 => doc! { name: { "date": date(dice, depth), "timezone": *dice.pick(&["UTC", "+05:30", "-0800", "+14"]) } }.into(),
        1 => op(name, [date(dice, depth)]),
        _ => doc! { name: date(dice, depth) }.into(),
    }
}

/// Operators, most of which are given the wrong operands.
const WILD_NAMES: [&str; 66] = [
    "$abs",
    "$add",
    "$allElementsTrue",
    "$and",
    "$anyElementTrue",
    "$arrayElemAt",
    "$ceil",
    "$cmp",
    "$concat",
    "$concatArrays",
    "$cond",
    "$dayOfMonth",
    "$divide",
    "$eq",
    "$filter",
    "$first",
    "$floor",
    "$gt",
    "$hour",
    "$ifNull",
    "$in",
    "$indexOfArray",
    "$indexOfBytes",
    "$indexOfCP",
    "$isArray",
    "$isNumber",
    "$isoWeek",
    "$last",
    "$let",
    "$literal",
    "$ln",
    "$ltrim",
    "$map",
    "$mod",
    "$month",
    "$multiply",
    "$not",
    "$nothing",
    "$or",
    "$range",
    "$reduce",
    "$reverseArray",
    "$setDifference",
    "$setEquals",
    "$setIntersection",
    "$setIsSubset",
    "$setUnion",
    "$size",
    "$slice",
    "$split",
    "$sqrt",
    "$strLenBytes",
    "$strLenCP",
    "$strcasecmp",
    "$substr",
    "$substrBytes",
    "$substrCP",
    "$subtract",
    "$switch",
    "$toLower",
    "$toUpper",
    "$trim",
    "$type",
    "$year",
    "a",
    "$log10",
];

/// An expression that may well be refused, or fail.
pub(crate) fn wild(dice: &mut Dice, depth: usize) -> Bson {
    if depth == 0 || dice.once_in(4) {
        return match dice.below(6) {
            0 => (*dice.pick(&["$", "$$", "$a.", "$$x", "$a..b", "$a.$b", "$$CURRENT.a", "$$NOW", "$$this"]))
                .into(),
            1 => value(dice, 1),
            _ => any(dice, 0),
        };
    }
    let operands = (0..dice.below(4)).map(|_| wild(dice, depth - 1)).collect::<Vec<_>>();
    let operand = if dice.once_in(4) { wild(dice, depth - 1) } else { operands.into() };
    doc! { *dice.pick(&WILD_NAMES): operand }.into()
}
