//! What the connector published: the lines of its standard output.

use std::collections::BTreeMap;

use mongodb::bson::RawDocument;

use crate::compare::{Event, Namespace};
use crate::description::described;
use crate::json::Json;
use crate::oracle;
use crate::table::Version;
use crate::values::Value;

/// Reads one line of `json-canonical`.
pub(crate) fn event(line: &str, version: Version) -> Event {
    let json = Json::parse(line);
    let text =
        |name: &str| json.get(name).and_then(Json::text).unwrap_or_else(|| panic!("no `{name}`: {line}"));
    let position: Vec<u32> = text("position").split('-').map(|part| part.parse().unwrap()).collect();
    let txn = json.get("txn");
    let number = |name| txn.and_then(|txn| txn.get(name)?.number());
    Event {
        op: text("op").to_owned(),
        ns: namespace(json.get("ns").unwrap()),
        to: json.get("to").map(namespace),
        at: (position[0], position[1]),
        place: number("index").zip(number("count")),
        document: None,
        replaced: json.get("replaced") == Some(&Json::Bool(true)),
        fields: fields(text("op"), &json, version),
        json: Some(json),
    }
}

/// Reads one line of `mongodb-extended`, which is a change event of the server's.
pub(crate) fn peer(line: &str) -> Event {
    let document = Value::of_json(&Json::parse(line));
    oracle::event(RawDocument::from_bytes(&document.bytes).unwrap())
}

fn namespace(json: &Json) -> Namespace {
    let part = |name| json.get(name).and_then(Json::text).unwrap_or_default().to_owned();
    Namespace { db: part("db"), coll: part("coll") }
}

/// What a change stream of that version says, by the names it uses.
fn fields(op: &str, json: &Json, version: Version) -> BTreeMap<&'static str, Value> {
    let mut fields = BTreeMap::new();
    let mut add = |name, value: Option<&Json>| {
        if let Some(value) = value {
            fields.insert(name, Value::of_json(value));
        }
    };
    add("documentKey", json.get("key"));
    add("fullDocument", json.get("after"));
    add("clusterTime", json.get("clusterTime"));
    let update = json.get("update");
    add("updatedFields", update.and_then(|update| update.get("updatedFields")));
    add("removedFields", update.and_then(|update| update.get("removedFields")));
    // Where the oplog has modifiers, change streams don't have this list.
    if update.is_some_and(|update| update.get("diff").is_some()) {
        add("truncatedArrays", update.and_then(|update| update.get("truncatedArrays")));
    }
    if version == Version::V60 {
        add("wallTime", json.get("wallTime"));
        let (description, before) = described(op, json);
        add("operationDescription", description.as_ref());
        add("stateBeforeChange", before.as_ref());
    }
    if let Some(txn) = json.get("txn") {
        add("txn", txn.get("id"));
    }
    if let Some(uuid) = json.get("collectionId").and_then(Json::text).filter(|_| version == Version::V60) {
        fields.insert("collectionUUID", Value::of(uuid));
    }
    fields
}
