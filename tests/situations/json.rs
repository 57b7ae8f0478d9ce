//! JSON whose members keep their order, duplicates included, and the BSON that it stands for.

use std::fmt;

use mongodb::bson::{Bson, doc};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Self {
        let mut reader = serde_json::Deserializer::from_str(text);
        reader.disable_recursion_limit();
        Self::deserialize(&mut reader).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The first member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// Type and bytes of the BSON value that canonical Extended JSON writes like this.
    pub(crate) fn to_bson(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Array(items) => {
                let names = (0..items.len()).map(|index| index.to_string()).collect::<Vec<_>>();
                (4, document(names.iter().map(String::as_str).zip(items)))
            }
            Self::Object(members) => self
                .wrapped(members)
                .unwrap_or_else(|| (3, document(members.iter().map(|(name, value)| (name.as_str(), value))))),
            plain => plain.leaf().unwrap(),
        }
    }

    /// The value that an object stands for, if it is none. Users' documents may look like that at first sight.
    fn wrapped(&self, members: &[(String, Self)]) -> Option<(u8, Vec<u8>)> {
        if is_wrapper(members) { self.leaf() } else { None }
    }

    fn leaf(&self) -> Option<(u8, Vec<u8>)> {
        let bytes = doc! { "": Bson::try_from(self.to_serde()).ok()? }.to_vec().ok()?;
        Some((bytes[4], bytes[6..bytes.len() - 1].to_vec()))
    }

    fn to_serde(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Array(items) => items.iter().map(Self::to_serde).collect(),
            Self::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), value.to_serde())).collect()
            }
        }
    }
}

/// The bytes of a document.
fn document<'j>(members: impl Iterator<Item = (&'j str, &'j Json)>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, value) in members {
        let (kind, value) = value.to_bson();
        bytes.push(kind);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&value);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Whether it stands for one value that JSON has no notation for.
fn is_wrapper(members: &[(String, Json)]) -> bool {
    const ALONE: [&str; 13] = [
        "$numberInt",
        "$numberLong",
        "$numberDouble",
        "$numberDecimal",
        "$oid",
        "$date",
        "$binary",
        "$timestamp",
        "$regularExpression",
        "$symbol",
        "$dbPointer",
        "$minKey",
        "$maxKey",
    ];
    match members {
        [(name, _)] => ALONE.contains(&name.as_str()) || name == "$undefined" || name == "$code",
        [(code, _), (scope, _)] => code == "$code" && scope == "$scope",
        _ => false,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Number).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

#[test]
fn what_canonical_extended_json_says_is_taken_literally() {
    let text = r#"{"b":{"$numberInt":"1"},"a":[{"$numberDouble":"NaN"},{"$v":{"$numberLong":"2"}}],"b":""}"#;
    let mut expected = b"\x3b\0\0\0\x10b\0\x01\0\0\0".to_vec();
    expected.extend(
        b"\x04a\0\x24\0\0\0\x010\0\0\0\0\0\0\0\xf8\x7f\x031\0\x11\0\0\0\x12$v\0\x02\0\0\0\0\0\0\0\0\0",
    );
    expected.extend(b"\x02b\0\x01\0\0\0\0\0");
    assert_eq!(Json::parse(text).to_bson(), (3, expected));
}
