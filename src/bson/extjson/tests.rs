//! Both directions together: every type, every accident, and what the `bson` crate says of the same documents.

use bson::{Bson, doc};
use proptest::prelude::*;

use super::{Mode, parse, write_doc, write_string};
use crate::bson::{DEPTH_MAX, Malformed, RawDoc};

fn text(bytes: &[u8], mode: Mode) -> Result<String, Malformed> {
    let mut out = b"before".to_vec();
    let result = RawDoc::new(bytes).and_then(|doc| write_doc(&mut out, doc, mode));
    assert!(out.starts_with(b"before"));
    result
        .map(|()| String::from_utf8(out.split_off(6)).expect("the text is UTF-8"))
        .inspect_err(|_| assert_eq!(out, b"before"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// A BSON document of one element named `a`, from its kind and the value's bytes.
fn one(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = i32::try_from(value.len() + 8).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(&[kind, b'a', 0]);
    bytes.extend_from_slice(value);
    bytes.push(0);
    bytes
}

/// Kind, the value's bytes, canonical text, relaxed text where it differs.
type Case = (u8, Vec<u8>, &'static str, Option<&'static str>);

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let string = |text: &str| [&u32::try_from(text.len() + 1).unwrap().to_le_bytes()[..], text.as_bytes(), &[0]].concat();
    let double = |value: f64| value.to_le_bytes().to_vec();
    let date = |ms: i64| ms.to_le_bytes().to_vec();
    let oid: Vec<u8> = (0xa0..0xac).collect();
    vec![
        (0x01, double(1.0), r#"{"$numberDouble":"1.0"}"#, Some("1.0")),
        (0x01, double(-0.0), r#"{"$numberDouble":"-0.0"}"#, Some("-0.0")),
        (0x01, double(0.1), r#"{"$numberDouble":"0.1"}"#, Some("0.1")),
        (0x01, double(5e-324), r#"{"$numberDouble":"5e-324"}"#, Some("5e-324")),
        (0x01, double(1e300), r#"{"$numberDouble":"1e300"}"#, Some("1e300")),
        (0x01, double(9_007_199_254_740_993.0), r#"{"$numberDouble":"9007199254740992.0"}"#, Some("9007199254740992.0")),
        (0x01, double(f64::NAN), r#"{"$numberDouble":"NaN"}"#, None),
        (0x01, double(f64::INFINITY), r#"{"$numberDouble":"Infinity"}"#, None),
        (0x01, double(f64::NEG_INFINITY), r#"{"$numberDouble":"-Infinity"}"#, None),
        (0x02, string(""), r#""""#, None),
        (0x02, string("a\"\\\u{8}\u{c}\n\r\t\u{1}\0/é𝄞\u{7f}"), "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u0000/é𝄞\u{7f}\"", None),
        (0x03, vec![5, 0, 0, 0, 0], "{}", None),
        (0x03, one(0x0A, &[]), r#"{"a":null}"#, None),
        (0x04, vec![5, 0, 0, 0, 0], "[]", None),
        (0x04, b"\x0b\0\0\0\x0a0\0\x081\0\x01\0".to_vec().tap_length(), "[null,true]", None),
        (0x05, vec![0, 0, 0, 0, 0], r#"{"$binary":{"base64":"","subType":"00"}}"#, None),
        (0x05, vec![1, 0, 0, 0, 0, 0xff], r#"{"$binary":{"base64":"/w==","subType":"00"}}"#, None),
        (0x05, vec![2, 0, 0, 0, 0x80, 0xff, 0xfe], r#"{"$binary":{"base64":"//4=","subType":"80"}}"#, None),
        (0x05, vec![6, 0, 0, 0, 2, 2, 0, 0, 0, 0xff, 0xff], r#"{"$binary":{"base64":"//8=","subType":"02"}}"#, None),
        (0x05, [&[16, 0, 0, 0, 4][..], &[0; 16]].concat(), r#"{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"04"}}"#, None),
        (0x06, vec![], r#"{"$undefined":true}"#, None),
        (0x07, oid.clone(), r#"{"$oid":"a0a1a2a3a4a5a6a7a8a9aaab"}"#, None),
        (0x08, vec![0], "false", None),
        (0x08, vec![1], "true", None),
        (0x09, date(0), r#"{"$date":{"$numberLong":"0"}}"#, Some(r#"{"$date":"1970-01-01T00:00:00Z"}"#)),
        (0x09, date(1_795_514_400_123), r#"{"$date":{"$numberLong":"1795514400123"}}"#, Some(r#"{"$date":"2026-11-24T10:00:00.123Z"}"#)),
        (0x09, date(-1), r#"{"$date":{"$numberLong":"-1"}}"#, None),
        (0x09, date(i64::MAX), r#"{"$date":{"$numberLong":"9223372036854775807"}}"#, None),
        (0x0A, vec![], "null", None),
        (0x0B, b"a\"b\0ix\0".to_vec(), r#"{"$regularExpression":{"pattern":"a\"b","options":"ix"}}"#, None),
        (0x0B, b"\0\0".to_vec(), r#"{"$regularExpression":{"pattern":"","options":""}}"#, None),
        (0x0C, [string("db.c"), oid].concat(), r#"{"$dbPointer":{"$ref":"db.c","$id":{"$oid":"a0a1a2a3a4a5a6a7a8a9aaab"}}}"#, None),
        (0x0D, string("f()"), r#"{"$code":"f()"}"#, None),
        (0x0E, string("s"), r#"{"$symbol":"s"}"#, None),
        (0x0F, [&[21, 0, 0, 0][..], &string("f()"), &one(0x10, &[1, 0, 0, 0])[..]].concat().tap_length(),
            r#"{"$code":"f()","$scope":{"a":{"$numberInt":"1"}}}"#, Some(r#"{"$code":"f()","$scope":{"a":1}}"#)),
        (0x10, i32::MIN.to_le_bytes().to_vec(), r#"{"$numberInt":"-2147483648"}"#, Some("-2147483648")),
        (0x11, [7_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat(), r#"{"$timestamp":{"t":4294967295,"i":7}}"#, None),
        (0x12, i64::MIN.to_le_bytes().to_vec(), r#"{"$numberLong":"-9223372036854775808"}"#, Some("-9223372036854775808")),
        (0x13, "1.50".parse::<bson::Decimal128>().unwrap().bytes().to_vec(), r#"{"$numberDecimal":"1.50"}"#, None),
        (0xFF, vec![], r#"{"$minKey":1}"#, None),
        (0x7F, vec![], r#"{"$maxKey":1}"#, None),
    ]
}

trait TapLength {
    fn tap_length(self) -> Self;
}

impl TapLength for Vec<u8> {
    /// Sets the length in front, so that a case needs no counting.
    fn tap_length(mut self) -> Self {
        let length = i32::try_from(self.len()).unwrap().to_le_bytes();
        self[..4].copy_from_slice(&length);
        self
    }
}

#[test]
fn every_type_is_written_in_both_modes_and_both_texts_read_back_as_the_same_bytes() {
    for (kind, value, canonical, relaxed) in cases() {
        let bytes = one(kind, &value);
        for (mode, expected) in [(Mode::Canonical, canonical), (Mode::Relaxed, relaxed.unwrap_or(canonical))]
        {
            let written = text(&bytes, mode).expect(canonical);
            assert_eq!(written, format!(r#"{{"a":{expected}}}"#));
            assert_eq!(parse(&written).expect(&written), bytes, "{written}");
        }
    }
}

#[test]
fn invalid_utf8_becomes_the_replacement_character_in_names_and_values() {
    let broken = b"\x13\0\0\0\x02n\xff\0\x05\0\0\0x\xe2\x82y\0\0".to_vec().tap_length();
    assert_eq!(text(&broken, Mode::Relaxed).unwrap(), "{\"n\u{fffd}\":\"x\u{fffd}y\"}");
}

#[test]
fn duplicate_and_empty_names_stay_where_they_are() {
    let json = r#"{"b":1,"":2,"b":3,"a":[{"":4}]}"#;
    assert_eq!(text(&parse(json).unwrap(), Mode::Relaxed).unwrap(), json);
}

#[test]
fn documents_that_only_resemble_typed_values_are_documents() {
    for json in [
        r#"{"$v":1,"$set":{"a":2}}"#,
        r#"{"a":{"$oid":"x","b":1}}"#,
        r#"{"a":{"b":1,"$oid":"x"}}"#,
        r#"{"a":{"$ref":"c","$id":1}}"#,
        r#"{"a":{"$scope":{},"$code":"f"}}"#,
        r#"{"a":{"$binary":"","$type":"0"}}"#,
        r#"{"$oid":"x"}"#,
    ] {
        assert_eq!(text(&parse(json).expect(json), Mode::Relaxed).unwrap(), json);
    }
}

#[test]
fn a_uuid_and_other_spellings_are_read() {
    let same = [
        (
            r#"{"a":{"$uuid":"00010203-0405-0607-0809-0A0b0c0d0e0f"}}"#,
            r#"{"a":{"$binary":{"base64":"AAECAwQFBgcICQoLDA0ODw==","subType":"04"}}}"#,
        ),
        (
            r#"{"a":{"$binary":{"subType":"0","base64":"AA=="}}}"#,
            r#"{"a":{"$binary":{"base64":"AA==","subType":"00"}}}"#,
        ),
        (r#" { "a" : [ 1 , 2 ] } "#, r#"{"a":[1,2]}"#),
        (r#"{"\u0061":"\u00e9\ud834\udd1e\/"}"#, r#"{"a":"é𝄞/"}"#),
        (r#"{"a":{"$date":"2026-11-24T11:00:00.5+01:00"}}"#, r#"{"a":{"$date":"2026-11-24T10:00:00.500Z"}}"#),
    ];
    for (json, expected) in same {
        assert_eq!(text(&parse(json).expect(json), Mode::Relaxed).unwrap(), expected);
    }
}

#[test]
fn whole_numbers_take_the_smallest_type_that_holds_them() {
    let numbers = r#"{"a":[2147483647,2147483648,9223372036854775807,9223372036854775808,1.0,1e2,-0.5E-1]}"#;
    assert_eq!(
        text(&parse(numbers).unwrap(), Mode::Canonical).unwrap().replace("\"$number", ""),
        r#"{"a":[{Int":"2147483647"},{Long":"2147483648"},{Long":"9223372036854775807"},{Double":"9.223372036854776e18"},{Double":"1.0"},{Double":"100.0"},{Double":"-0.05"}]}"#
    );
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    for (json, expected) in [
        ("", "expected an object at byte 0"),
        ("[]", "expected an object at byte 0"),
        (r#"{"a":1} x"#, "expected nothing behind the document at byte 8"),
        (r#"{"a":1"#, "expected `,` or `}` at byte 6"),
        (r#"{"a":[1 2]}"#, "`a`: expected `,` or `]` at byte 8"),
        (r#"{"a":1,}"#, "expected a name in quotes at byte 7"),
        (r#"{"a" 1}"#, "expected `:` at byte 5"),
        (r#"{"a":{"b":[0,tru]}}"#, "`a.b.1`: expected a value at byte 13"),
        (r#"{"a":"x"#, "`a`: the text ends within a string at byte 7"),
        ("{\"a\":\"\n\"}", "`a`: a control character must be escaped at byte 6"),
        (r#"{"a":"\x"}"#, "`a`: unknown escape at byte 6"),
        (r#"{"a\u0000":1}"#, "a name can't hold a zero byte at byte 1"),
        (r#"{"o":{"a":{"$oid":"xyz"}}}"#, "`o.a`: `$oid` needs 24 hexadecimal digits at byte 10"),
        (r#"{"a":1e999}"#, "`a`: the number is too large for a double at byte 5"),
    ] {
        assert_eq!(refused(json), expected, "{json}");
    }
}

#[test]
fn what_json_does_not_allow_is_refused() {
    for value in [
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "1-2",
        "0x1",
        "NaN",
        "'a'",
        "nul",
        r#""\ud834""#,
        r#""\udd1e""#,
        r#""\u+123""#,
    ] {
        assert!(parse(&format!(r#"{{"a":{value}}}"#)).is_err(), "{value}");
    }
}

#[test]
fn a_typed_value_with_wrong_content_is_refused() {
    for value in [
        r#""$oid":1"#,
        r#""$oid":"é0000000000000000000000""#,
        r#""$numberInt":"2147483648""#,
        r#""$numberInt":"+1""#,
        r#""$numberInt":1"#,
        r#""$numberLong":"1.0""#,
        r#""$numberDouble":"inf""#,
        r#""$numberDouble":"1e999""#,
        r#""$numberDecimal":"x""#,
        r#""$binary":"AA==""#,
        r#""$binary":{"base64":"A","subType":"00"}"#,
        r#""$binary":{"base64":"AA==","subType":"100"}"#,
        r#""$binary":{"base64":"AA==","subType":"+1"}"#,
        r#""$binary":{"base64":"AA==","subType":"00","x":1}"#,
        r#""$uuid":"0001020304050607-0809-0A0b0c0d0e0f""#,
        r#""$date":"yesterday""#,
        r#""$timestamp":{"t":4294967296,"i":0}"#,
        r#""$timestamp":{"t":-1,"i":0}"#,
        r#""$timestamp":{"t":1,"t":0}"#,
        r#""$regularExpression":{"pattern":"a\u0000b","options":""}"#,
        r#""$dbPointer":{"$ref":"c","$id":1}"#,
        r#""$symbol":1"#,
        r#""$code":1"#,
        r#""$code":"f","$scope":1"#,
        r#""$undefined":false"#,
        r#""$minKey":2"#,
        r#""$maxKey":"1""#,
    ] {
        let message = refused(&format!(r#"{{"a":{{{value}}}}}"#));
        assert!(message.starts_with("`a`: `$") && message.contains("need"), "{message}");
    }
}

#[test]
fn nesting_is_followed_to_the_limit_on_a_small_stack_and_refused_beyond() {
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            let deepest = nested(DEPTH_MAX + 1);
            let bytes = parse(&deepest).unwrap();
            assert_eq!(text(&bytes, Mode::Relaxed).unwrap(), deepest);
            assert!(refused(&nested(DEPTH_MAX + 2)).contains("nested too deeply"));
            let too_deep = one(0x03, &bytes);
            assert_eq!(text(&too_deep, Mode::Relaxed).unwrap_err().what, "nested too deeply");
            assert!(refused(&nested(100_000)).contains("nested too deeply"));
        })
        .unwrap()
        .join()
        .unwrap();
}

/// Documents of every type that the `bson` crate has, without names and texts that are typed values by accident.
pub(super) fn documents() -> impl Strategy<Value = bson::Document> {
    let name = "[^$\0][^\0]{0,12}|";
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |value| !value.is_nan())
            .prop_map(Bson::Double),
        ".{0,40}".prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        Just(Bson::Null),
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        any::<i64>().prop_map(|ms| Bson::DateTime(bson::DateTime::from_millis(ms))),
        (0..253_402_300_800_000_i64).prop_map(|ms| Bson::DateTime(bson::DateTime::from_millis(ms))),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(bson::oid::ObjectId::from_bytes(bytes))),
        (
            any::<u8>().prop_filter("the old subtype repeats its length", |subtype| *subtype != 2),
            any::<Vec<u8>>()
        )
            .prop_map(|(subtype, bytes)| Bson::Binary(bson::Binary { subtype: subtype.into(), bytes })),
        any::<(u32, u32)>()
            .prop_map(|(time, increment)| Bson::Timestamp(bson::Timestamp { time, increment })),
        (any::<i64>(), -6000..6000_i32).prop_map(|(digits, exponent)| {
            Bson::Decimal128(format!("{digits}E{exponent}").parse().unwrap())
        }),
        ".{0,10}".prop_map(Bson::JavaScriptCode),
        ".{0,10}".prop_map(Bson::Symbol),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
        Just(Bson::Undefined),
    ];
    let value = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Bson::Array),
            prop::collection::vec((name, inner.clone()), 0..6)
                .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
            (".{0,10}", prop::collection::vec((name, inner), 0..3)).prop_map(|(code, scope)| {
                let scope = scope.into_iter().collect();
                Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code, scope })
            }),
        ]
    });
    prop::collection::vec((name, value), 0..8).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn canonical_text_keeps_every_byte(doc in documents()) {
        let bytes = doc.to_vec().unwrap();
        let written = text(&bytes, Mode::Canonical).unwrap();
        prop_assert_eq!(parse(&written).unwrap(), bytes);
    }

    #[test]
    fn relaxed_text_read_and_written_again_is_the_same(doc in documents()) {
        let written = text(&doc.to_vec().unwrap(), Mode::Relaxed).unwrap();
        prop_assert_eq!(text(&parse(&written).unwrap(), Mode::Relaxed).unwrap(), written);
    }

    #[test]
    fn the_bson_crate_reads_canonical_text_as_the_same_document(doc in documents()) {
        let written = text(&doc.to_vec().unwrap(), Mode::Canonical).unwrap();
        prop_assert_eq!(serde_json::from_str::<bson::Document>(&written).unwrap(), doc);
    }

    #[test]
    fn damaged_bytes_are_written_or_refused_but_never_panic(
        doc in documents(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = doc.to_vec().unwrap();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(written) = text(&bytes, Mode::Relaxed) {
            serde_json::from_str::<serde_json::Value>(&written).unwrap();
        }
    }

    #[test]
    fn damaged_text_is_read_or_refused_but_never_panics(
        doc in documents(),
        place: prop::sample::Index,
        replacement in "[\\[\\]{}\":,\\\\u$0-9a-fé.eE+-]{0,3}",
    ) {
        let written: Vec<char> = text(&doc.to_vec().unwrap(), Mode::Canonical).unwrap().chars().collect();
        let (before, after) = written.split_at(place.index(written.len()));
        let damaged: String = before.iter().copied().chain(replacement.chars()).chain(after.iter().skip(1).copied()).collect();
        if let Ok(bytes) = parse(&damaged) {
            text(&bytes, Mode::Canonical).unwrap();
        }
    }

    #[test]
    fn any_bytes_become_the_string_that_serde_json_reads_as_their_lossy_text(bytes: Vec<u8>) {
        let mut out = Vec::new();
        write_string(&mut out, &bytes);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_bson_crates_own_text_is_read_as_the_same_document() {
    let doc = doc! { "a": { "b": [1_i32, 2.5, true, Bson::Null], "c": bson::oid::ObjectId::from_bytes([7; 12]) }, "d": i64::MAX };
    assert_eq!(parse(&serde_json::to_string(&doc).unwrap()).unwrap(), doc.to_vec().unwrap());
}
