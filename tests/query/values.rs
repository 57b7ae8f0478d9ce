//! Values and documents: few names and few values, so that filters find something, and every type, so that they stumble.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Regex, Timestamp, cstr, doc};

use crate::dice::Dice;

pub(crate) const NAMES: [&str; 6] = ["a", "b", "c", "0", "1", "x"];

/// Any value, nested a few levels.
pub(crate) fn value(dice: &mut Dice, depth: usize) -> Bson {
    match dice.below(if depth == 0 { 10 } else { 18 }) {
        0..4 => number(dice),
        4 | 5 => (*dice.pick(&["", "a", "ab", "b", "A", "abc", "b\na", "é", "z"])).into(),
        6 => Bson::Null,
        7 | 8 => common(dice),
        9 => rare(dice),
        10..13 => document(dice, depth - 1).into(),
        _ => array(dice, depth - 1).into(),
    }
}

pub(crate) fn document(dice: &mut Dice, depth: usize) -> Document {
    let mut document = Document::new();
    for _ in 0..dice.below(4) {
        document.insert(*dice.pick(&NAMES), value(dice, depth));
    }
    // References to other documents, which old servers don't take at the top.
    if depth < 3 && dice.once_in(30) {
        document.insert("$ref", "c");
        document.insert("$id", 1);
    }
    document
}

pub(crate) fn array(dice: &mut Dice, depth: usize) -> Vec<Bson> {
    (0..dice.below(4)).map(|_| value(dice, depth)).collect()
}

pub(crate) fn number(dice: &mut Dice) -> Bson {
    match dice.below(20) {
        0..8 => Bson::Int32(*dice.pick(&[0, 1, 2, 3, 4, 5, -1, 7])),
        8..10 => Bson::Int64(*dice.pick(&[0, 1, 2, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN, -2])),
        10..16 => Bson::Double(*dice.pick(&[
            0.0,
            -0.0,
            1.0,
            1.5,
            2.0,
            4.9,
            -1.0,
            0.1,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9_007_199_254_740_992.0,
            9_223_372_036_854_775_808.0,
            1e300,
            5e-324,
        ])),
        _ => Bson::Decimal128(
            dice.pick(&[
                "0",
                "-0",
                "1",
                "1.0",
                "1.5",
                "0.1",
                "NaN",
                "Infinity",
                "-Infinity",
                "9007199254740993",
                "1E+300",
                "2.00",
                "4.9",
                "0.1000000000000000055511151231257827",
                "1E-6000",
            ])
            .parse()
            .unwrap(),
        ),
    }
}

fn common(dice: &mut Dice) -> Bson {
    match dice.below(6) {
        0 => Bson::Boolean(true),
        1 => Bson::Boolean(false),
        2 => DateTime::from_millis(*dice.pick(&[0, -1, 1_700_000_000_123, 1])).into(),
        3 => ObjectId::from_bytes([dice.below(2) as u8; 12]).into(),
        4 => Bson::Timestamp(Timestamp {
            time: 1 + dice.below(2) as u32,
            increment: u32::MAX * dice.below(2) as u32,
        }),
        _ => {
            let bytes = [&b""[..], b"\x01", b"\xff\x01", b"\x05\0\x80"][dice.below(4)].to_vec();
            let subtype = *dice.pick(&[BinarySubtype::Generic, BinarySubtype::UserDefined(0x80)]);
            Bson::Binary(Binary { subtype, bytes })
        }
    }
}

fn rare(dice: &mut Dice) -> Bson {
    match dice.below(8) {
        0 => Bson::MinKey,
        1 => Bson::MaxKey,
        2 => Bson::Undefined,
        3 => Bson::Symbol((*dice.pick(&["a", "ab"])).to_owned()),
        4 => Bson::JavaScriptCode("f".to_owned()),
        5 => Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
            code: "f".to_owned(),
            scope: doc! { "a": 1 },
        }),
        _ => regex(dice),
    }
}

pub(crate) fn regex(dice: &mut Dice) -> Bson {
    let pattern = match dice.below(8) {
        0 => cstr!("^a"),
        1 => cstr!("a"),
        2 => cstr!("b$"),
        3 => cstr!("(?<=a)b"),
        4 => cstr!("^.$"),
        5 => cstr!("(a)\\1|z"),
        6 => cstr!("a b"),
        _ => cstr!(""),
    };
    let options = match dice.below(6) {
        0 => cstr!("i"),
        1 => cstr!("m"),
        2 => cstr!("s"),
        3 => cstr!("x"),
        _ => cstr!(""),
    };
    Bson::RegularExpression(Regex { pattern: pattern.into(), options: options.into() })
}
