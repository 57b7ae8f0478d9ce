//! Against the real formatters: `tests/golden/java.jsonl` has documents and what MongoDB's connector 2.0.1 made of them, on Java 25.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use proptest::prelude::*;

use super::*;
use crate::bson::DEPTH_MAX;
use crate::bson::extjson::parse;
use crate::bson::extjson::tests::documents;

const GOLDEN: &str = include_str!("../../../../tests/golden/java.jsonl");
const STYLES: [(Style, &str); 3] =
    [(Style::Strict, "strict"), (Style::Simplified, "simplified"), (Style::Extended, "extended")];

fn write(bytes: &[u8], style: Style) -> String {
    let mut out = b"before".to_vec();
    write_doc(&mut out, RawDoc::new(bytes).unwrap(), style).unwrap();
    String::from_utf8(out.split_off(6)).unwrap()
}

#[test]
fn documents_are_written_as_the_real_formatters_write_them() {
    let mut rows = 0;
    for line in GOLDEN.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = STANDARD.decode(row["bson"].as_str().unwrap()).unwrap();
        for (style, name) in STYLES {
            assert_eq!(write(&bytes, style), row[name].as_str().unwrap(), "{style:?} {}", row["bson"]);
        }
        rows += 1;
    }
    assert!(rows > 250);
}

#[test]
fn every_type_is_in_the_table_that_was_compared() {
    let mut kinds = std::collections::HashSet::new();
    for line in GOLDEN.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = STANDARD.decode(row["bson"].as_str().unwrap()).unwrap();
        kinds.extend(RawDoc::new(&bytes).unwrap().iter().map(|element| element.unwrap().value.kind()));
    }
    assert_eq!(kinds.len(), 21);
}

#[test]
fn what_is_damaged_or_nested_too_deeply_leaves_nothing() {
    let mut deep = r#"{"a":"#.repeat(DEPTH_MAX) + "1";
    deep.push_str(&"}".repeat(DEPTH_MAX));
    let whole = parse(&deep).unwrap();
    let mut out = Vec::new();
    write_doc(&mut out, RawDoc::new(&whole).unwrap(), Style::Strict).unwrap();
    let mut damaged = parse(r#"{"a":1,"b":2}"#).unwrap();
    damaged[11] = 0x55;
    let mut out = b"before".to_vec();
    assert!(write_doc(&mut out, RawDoc::new(&damaged).unwrap(), Style::Strict).is_err());
    assert_eq!(out, b"before");
}

proptest! {
    #[test]
    fn extended_text_keeps_every_byte(doc in documents()) {
        let bytes = doc.to_vec().unwrap();
        prop_assert_eq!(parse(&write(&bytes, Style::Extended)).unwrap(), bytes);
    }

    #[test]
    fn every_text_is_json_unless_the_default_style_writes_a_bare_nan(doc in documents()) {
        let bytes = doc.to_vec().unwrap();
        serde_json::from_str::<serde_json::Value>(&write(&bytes, Style::Simplified)).unwrap();
        let strict = write(&bytes, Style::Strict);
        let bare = strict.contains(": NaN") || strict.contains("Infinity") || strict.contains("[NaN");
        prop_assert!(bare || serde_json::from_str::<serde_json::Value>(&strict).is_ok());
    }

    #[test]
    fn any_bytes_are_a_json_string(bytes: Vec<u8>) {
        let mut out = Vec::new();
        string::write(&mut out, &bytes);
        serde_json::from_slice::<String>(&out).unwrap();
    }
}
