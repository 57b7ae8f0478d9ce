//! Tokens that servers gave, and what was computed for the same events.

#![allow(clippy::cast_precision_loss)]

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::{ResumeToken, TokenPosition, TokenVersion};
use crate::bson::RawDoc;
use crate::bson::extjson::parse;
use crate::bson::keystring::bits::TypeBits;
use crate::bson::keystring::{self, exact, number};
use crate::event::{Change, ChangeEvent, Command, Images, Key, Namespace, Position};

/// One token: what it was made of, and its bytes. Recorded on the servers that they name.
fn vectors() -> impl Iterator<Item = Value> {
    include_str!("vectors.jsonl").lines().map(|line| serde_json::from_str(line).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn uuid(vector: &Value) -> Option<[u8; 16]> {
    let text = vector["ui"].as_str()?;
    Some(std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()))
}

fn position(vector: &Value) -> Position {
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap_or_default()).unwrap();
    Position { t: number(&vector["ts"][0]), i: number(&vector["ts"][1]), ordinal: number(&vector["txn"]) }
}

fn version(vector: &Value) -> TokenVersion {
    if vector["v"] == 2 { TokenVersion::V2 } else { TokenVersion::V1 }
}

/// The command's document, so that its description is what the vector says.
fn command_document(op: &str, id: &Value) -> String {
    let description = &id["operationDescription"];
    match op {
        "createIndexes" => {
            let index = description["indexes"][0].as_object().unwrap();
            let mut o = serde_json::Map::from_iter([("createIndexes".to_owned(), "c".into())]);
            o.extend(index.clone());
            // serde_json sorts names: the order is that of the vector's text.
            r#"{"createIndexes":"c","v":{"$numberInt":"2"},"key":{"a":{"$numberInt":"1"}},"name":"a_1"}"#
                .to_owned()
        }
        "rename" => r#"{"renameCollection":"tok_ddl.x","to":"tok_ddl.moved","stayTemp":false}"#.to_owned(),
        _ => "{}".to_owned(),
    }
}

#[test]
fn tokens_are_those_of_the_servers() {
    let mut checked = 0;
    for line in include_str!("vectors.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let op = vector["op"].as_str().unwrap();
        // A fragment of an event and an invalidation are never made here.
        if vector.get("frag").is_some() || vector.get("inv").is_some() {
            continue;
        }
        let at = position(&vector);
        let token = if op == "high water mark" {
            ResumeToken::high_water_mark(at.t, at.i, version(&vector))
        } else {
            // The identifier's own text: serde_json would sort its names.
            let id = line.split_once(r#""id":"#).map_or("{}", |(_, rest)| {
                rest.split_once(r#","_data""#).unwrap().0.split(r#","frag""#).next().unwrap()
            });
            let command = parse(&command_document(op, &vector["id"])).unwrap();
            let key = parse(id).unwrap();
            let key = RawDoc::new(&key).unwrap();
            let key = key.get("documentKey").and_then(crate::bson::RawValue::as_doc).unwrap_or(key);
            token(&vector, op, at, RawDoc::new(&command).unwrap(), key)
        };
        assert_eq!(token.data_hex(), vector["_data"].as_str().unwrap(), "{line}");
        assert_eq!(hex(token.type_bits()), vector["_typeBits"].as_str().unwrap_or_default(), "{line}");
        checked += 1;
    }
    assert!(checked >= 22, "{checked}");
}

fn token(vector: &Value, op: &str, at: Position, o: RawDoc<'_>, key: RawDoc<'_>) -> ResumeToken {
    let key = Key::Document(key);
    let to = (op == "rename").then_some(Namespace { db: "tok_ddl", coll: "moved" });
    let command = |name| Change::Command(Command { to, ..Command::new(name, o) });
    let change = match op {
        "insert" => Change::Insert { key, after: RawDoc::EMPTY },
        "delete" => Change::Delete { key },
        "createIndexes" => command("createIndexes"),
        "dropDatabase" => command("dropDatabase"),
        "rename" => command("rename"),
        other => panic!("unknown {other}"),
    };
    let event = ChangeEvent {
        at,
        term: None,
        wall_ms: None,
        ns: Namespace { db: "a", coll: "b" },
        collection_id: uuid(vector),
        change,
        images: Images::default(),
        txn: None,
        source: "",
    };
    ResumeToken::of_event(&event, version(vector)).unwrap().unwrap()
}

#[test]
fn a_token_leads_to_its_position() {
    for vector in vectors() {
        let found: TokenPosition = vector["_data"].as_str().unwrap().parse().unwrap();
        let at = position(&vector);
        let expected = if vector["op"] == "high water mark" {
            TokenPosition::From(at)
        } else if vector.get("frag").is_some() {
            // The event comes once more: its other fragments may be missing.
            TokenPosition::After(Position { ordinal: at.ordinal - 1, ..at })
        } else {
            TokenPosition::After(at)
        };
        assert_eq!(found, expected, "{vector}");
        let document = format!(
            r#" {{"_data": {}, "_typeBits": {{"$binary": {{"base64": "gA==", "subType": "00"}}}}}}"#,
            vector["_data"]
        );
        assert_eq!(document.parse::<TokenPosition>().unwrap(), expected, "{document}");
    }
    // The first operation of an entry: there is none before it.
    let fragment = "826B038FE7000000062B042C0100296E14463C6F7065726174696F6E54797065003C75706461746500002904";
    assert_eq!(fragment.parse(), Ok(TokenPosition::From(Position::of_entry(0x6B03_8FE7, 6))));
    let whole = fragment.replace("002904", "0004");
    assert_eq!(whole.parse(), Ok(TokenPosition::After(Position::of_entry(0x6B03_8FE7, 6))));
    for text in [
        "",
        "82",
        "8265A1",
        "zz",
        "826B03877E000000022B082C0100296E04",
        "1795393406-1",
        "{}",
        r#"{"_data": 1}"#,
        // A version 2 token whose identifier is cut off.
        "826B038FE7000000062B042C0100296E14463C6F7065",
    ] {
        let error = text.parse::<TokenPosition>().unwrap_err();
        assert!(error.to_string().contains("resume token"), "{error}");
    }
}

#[test]
fn a_message_does_not_hold_the_key() {
    let token = vectors().next().unwrap()["_data"].as_str().unwrap().replace("2B02", "2B0A");
    let error = TokenPosition::of_text(&token).unwrap_err();
    assert!(error.starts_with(&format!("`{}…`", &token[..28])) && !error.contains("596E275826F0"), "{error}");
    let mark = ResumeToken::high_water_mark(1, 2, TokenVersion::V1);
    assert_eq!(format!("{mark:?}"), "ResumeToken(15 bytes)");
}

fn of_int(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    number::int64(&mut out, &mut TypeBits::default(), value);
    out
}

fn of_double(value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    number::double(&mut out, &mut TypeBits::default(), value);
    out
}

/// A decimal of that coefficient and exponent.
fn of_decimal(negative: bool, coefficient: u128, exponent: i32) -> Vec<u8> {
    let biased = u128::from((exponent + 6176).unsigned_abs());
    let bits = u128::from(negative) << 127 | biased << 113 | coefficient;
    let mut out = Vec::new();
    number::decimal(&mut out, &mut TypeBits::default(), bits.to_le_bytes());
    out
}

#[test]
fn the_examples_of_numbers() {
    for (found, expected) in [
        (of_int(1234), "2c09a4"),
        (of_int(-128), "26feff"),
        (of_int((1 << 53) + 1), "3140000000000002"),
        (of_int(i64::MIN), "1ff83fffffffffffff"),
        (of_double(15_000_000_000.0), "2f06fc23ac00"),
        (of_double(1.5), "2b0380000000000000"),
        (of_double(-255.5), "26fe007fffffffffff"),
        (of_double(0.1), "2afee6666666666668"),
        (of_double(5e-324), "2a59a0000000000000"),
        (of_double(1e300), "337c6fc8791000eb38"),
        (of_double(f64::INFINITY), "33ffffffffffffffff"),
        (of_double(f64::NEG_INFINITY), "1f0000000000000000"),
        (of_double(f64::NAN), "1e"),
        (of_decimal(false, 1, 3), "2c07d0"),
        (of_decimal(false, 1230, -1), "2bf6"),
        (of_decimal(false, 1, -400), "2a2cde314dc6448d9338c15b0a00000000"),
        (of_decimal(false, 1, -310), "2a5f24d116e1cc561f1639b8193fd88016"),
        (of_decimal(false, 1, 400), "33b31e314dc6448d9338c15b0a00000000"),
        (of_decimal(false, 12_345_678_901_234_567_890, 0), "3307cad52a633ac7c30100818478c88000"),
        (of_decimal(false, 5, -78), "2abfc50db01d8321b905114e44d23de4c6"),
        (of_decimal(false, 90_071_992_547_409_935, -1), "31400000000000030306f05b59d3b20000"),
        (of_decimal(false, 110, -2), "2b0319999999999992"),
        (of_decimal(false, 3, -1), "2aff4cccccccccccce"),
        (
            of_decimal(false, 3_141_592_653_589_793_238_462_643_383_279_503, -33),
            "2b07243f6a8885a30101b314fa3fd986d5",
        ),
    ] {
        assert_eq!(hex(&found), expected);
    }
}

/// Any value behind any other is found by skipping that.
fn assert_skipped(value: &[u8]) {
    for next in [&[0x04][..], &[0x00, 0x04], &[0x3C, 0x00]] {
        let bytes = [value, next].concat();
        assert_eq!(keystring::skip(&bytes, 0), Some(next), "{}", hex(&bytes));
    }
    // A string that is cut behind a zero of its own is one that ends there.
    let is_string =
        |end: usize| end > 0 && value[end - 1..=end] == [0, 0xFF] && matches!(value[0], 0x3C | 0xA0);
    for end in (0..value.len()).filter(|end| !is_string(*end)) {
        assert_ne!(keystring::skip(&value[..end], 0), Some(&[][..]), "{} at {end}", hex(value));
    }
}

#[test]
fn every_type_of_value_says_how_long_it_is() {
    let text = r#"{"v":[1,{"$numberLong":"7"},1.5,"a\u0000b",{"$symbol":"s"},{"a":[1,{}],"":null},{"$oid":"596e275826f08b2730779e1f"},true,false,
        {"$date":{"$numberLong":"-1"}},{"$timestamp":{"t":1,"i":2}},{"$regularExpression":{"pattern":"a","options":"i"}},{"$code":"c"},
        {"$code":"c","$scope":{"a":1}},{"$minKey":1},{"$maxKey":1},{"$undefined":true},null,
        {"$binary":{"base64":"AQID","subType":"00"}},{"$dbPointer":{"$ref":"a.b","$id":{"$oid":"596e275826f08b2730779e1f"}}}]}"#;
    let doc = parse(text).unwrap();
    let array = RawDoc::new(&doc).unwrap().get("v").unwrap().as_array().unwrap();
    for element in array {
        let mut key = keystring::KeyString::default();
        key.field(b"", element.unwrap().value, 0).unwrap();
        assert_skipped(&key.bytes[2..]);
    }
    let mut long = keystring::KeyString::default();
    let mut doc = Vec::new();
    let mut writer = crate::bson::DocWriter::new(&mut doc);
    writer.append_binary(b"", 0, &[7; 300]);
    writer.finish();
    long.object(RawDoc::new(&doc).unwrap(), 0).unwrap();
    assert_skipped(&long.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn every_number_says_how_long_it_is(int in any::<i64>(), shift in 0_u32..63, double in any::<f64>(), negative in any::<bool>(), coefficient in 1_u128..10_u128.pow(34), digits in 0_u32..34, exponent in -6176_i32..6111) {
        assert_skipped(&of_int(int >> shift));
        assert_skipped(&of_double(double));
        for exponent in [exponent, exponent / 20, exponent / 400] {
            assert_skipped(&of_decimal(negative, coefficient / 10_u128.pow(digits) + 1, exponent));
        }
    }

    #[test]
    fn doubles_are_ordered_as_their_bytes(a in any::<f64>(), b in any::<f64>()) {
        prop_assume!(!a.is_nan() && !b.is_nan());
        prop_assert_eq!(a.partial_cmp(&b).unwrap(), of_double(a).cmp(&of_double(b)));
    }

    #[test]
    fn integers_are_ordered_as_their_bytes_and_equal_doubles_have_the_same(a in any::<i64>(), b in any::<i64>(), small in -(1_i64 << 53)..1 << 53) {
        prop_assert_eq!(a.cmp(&b), of_int(a).cmp(&of_int(b)));
        prop_assert_eq!(of_int(small), of_double(small as f64));
    }

    #[test]
    fn decimals_are_ordered_among_doubles(coefficient in 1_u128..1 << 100, exponent in -340_i32..300, bits in 1_u64..0x7ff0 << 48) {
        let double = f64::from_bits(bits);
        let text = format!("{coefficient}e{exponent}");
        let near: f64 = text.parse().unwrap();
        let decimal = of_decimal(false, coefficient, exponent);
        for other in [double, near.next_down(), near.next_up()].into_iter().filter(|other| other.is_finite() && *other > 0.0) {
            let expected = exact::Exact::double(other)
                .cmp(&exact::Digits { coefficient, exponent }.exact());
            prop_assert_eq!(expected, of_double(other).cmp(&decimal), "{} and {}", other, text);
        }
    }
}
