//! Events for tests of formats, and what holds between formats.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::bson::RawDoc;
use crate::bson::extjson::parse;
use crate::event::{CollectionType, Command, Delta, HeaderOnly, Image, Images, Key, NoImage, Position, Txn};

/// An event with everything but a transaction.
pub(super) fn event(change: Change<'_>) -> ChangeEvent<'_> {
    ChangeEvent {
        at: Position { t: 1_795_514_400, i: 7, ordinal: 0 },
        term: Some(2),
        wall_ms: Some(1_795_514_400_120),
        ns: Namespace { db: "shop", coll: "orders" },
        collection_id: Some([0x5f; 16]),
        change,
        images: Images::default(),
        txn: None,
        source: "rs0/abc",
    }
}

pub(super) fn bytes(json: &str) -> Vec<u8> {
    parse(json).expect(json)
}

pub(super) fn raw(bytes: &[u8]) -> RawDoc<'_> {
    RawDoc::new(bytes).unwrap()
}

/// A record: key, value, destination.
pub(super) type Parts = (Vec<u8>, Option<Vec<u8>>, To);

/// The event's records on such a route. If there is an error, nothing is left.
pub(super) fn records(
    encoder: &dyn Encoder,
    event: &ChangeEvent<'_>,
    addressing: Addressing,
) -> Result<Vec<Parts>, Unencodable> {
    let route = Arc::new(Route::new("route", addressing));
    let mut writer = RecordWriter::default();
    let result = encoder.encode(event, &route, &mut writer);
    let Encoded { bytes, records } = writer.finish();
    if let Err(error) = result {
        assert!(bytes.is_empty() && records.is_empty());
        return Err(error);
    }
    let part = |range: &std::ops::Range<u32>| bytes[range.start as usize..range.end as usize].to_vec();
    Ok(records
        .iter()
        .map(|record| (part(&record.key), record.value.as_ref().map(part), record.to.clone()))
        .collect())
}

/// The one record of an event, among twelve partitions.
pub(super) fn record(encoder: &dyn Encoder, event: &ChangeEvent<'_>) -> Parts {
    let mut records = records(encoder, event, Addressing::Partitions(12)).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// Every kind of event that there is, each with an ordinary and an odd content.
fn with_all_events(mut each: impl FnMut(ChangeEvent<'_>)) {
    let doc =
        bytes(r#"{"_id":{"$numberLong":"5"},"a":[1.5,{"b":null}],"c":{"$date":"2026-11-24T10:00:00Z"}}"#);
    let id = bytes(r#"{"_id":{"$numberLong":"5"}}"#);
    let key = bytes(r#"{"region":"eu","_id":{"$numberLong":"5"}}"#);
    let diff = bytes(
        r#"{"d":{"x":false,"y":false},"u":{"a":1},"sr":{"a":true,"l":2,"s0":{"u":{"3":1}}},"so":{"i":{"p.q":{"$numberLong":"2"}}}}"#,
    );
    let plain = bytes(r#"{"u":{"a":1}}"#);
    let (set, unset) = (bytes(r#"{"a.10":1,"a.2":2}"#), bytes(r#"{"b":true}"#));
    let rename = bytes(r#"{"renameCollection":"shop.orders","to":"shop.old"}"#);
    let (create, o2) =
        (bytes(r#"{"_id":"shop.orders","viewOn":"all","pipeline":[]}"#), bytes(r#"{"numRecords":4}"#));
    let [doc, id, key, diff, plain, set, unset, rename, create, o2] =
        [&doc, &id, &key, &diff, &plain, &set, &unset, &rename, &create, &o2].map(|bytes| raw(bytes));
    let document = Key::Document(key);
    let modifiers = |set, unset| Change::Update { key: document, delta: Delta::Modifiers { set, unset } };
    let changes = [
        Change::Insert { key: Key::Id(doc.get("_id").unwrap()), after: doc },
        Change::Insert { key: Key::Document(id), after: doc },
        Change::Replace { key: document, after: doc },
        Change::Update { key: document, delta: Delta::Diff(diff) },
        Change::Update { key: Key::Document(id), delta: Delta::Diff(plain) },
        modifiers(Some(set), Some(unset)),
        modifiers(None, Some(unset)),
        modifiers(None, None),
        Change::Delete { key: document },
        Change::Command(Command {
            to: Some(Namespace { db: "shop", coll: "old" }),
            o2: Some(o2),
            replaced: true,
            ..Command::new("rename", rename)
        }),
        Change::Command(Command { of: CollectionType::View, ..Command::new("create", create) }),
        Change::HeaderOnly(HeaderOnly { op: "insert", key: document, bytes: 3000, limit: 2000 }),
        Change::HeaderOnly(HeaderOnly {
            op: "update",
            key: Key::Document(id),
            bytes: 5_000_000_000,
            limit: 1,
        }),
        Change::Watermark,
    ];
    for change in changes {
        each(event(change));
        let txn = Txn { session: [0xab; 16], user: Some([1; 32]), number: -9, count: u32::MAX };
        let ns = Namespace { db: "d\"b", coll: "" };
        let at = Position { ordinal: 3_000_000_000, ..event(change).at };
        each(ChangeEvent { at, txn: Some(txn), ns, wall_ms: None, collection_id: None, ..event(change) });
    }
    let update = event(Change::Update { key: document, delta: Delta::Diff(plain) });
    for (before, after) in [
        (Image::Exact(doc), Image::LookedUp(id)),
        (Image::Missing(NoImage::NotRecorded), Image::Exact(doc)),
        (Image::Missing(NoImage::NotFound), Image::Missing(NoImage::Gone)),
    ] {
        each(ChangeEvent { images: Images { before: Some(before), after: Some(after) }, ..update });
        each(ChangeEvent { images: Images { before: Some(before), after: None }, ..event(changes[8]) });
    }
}

#[test]
fn bson_is_what_canonical_json_reads_as() {
    let mut count = 0;
    with_all_events(|event| {
        let (json_key, json_value, json_to) = record(&Json::canonical(), &event);
        let (key, value, to) = record(&Bson, &event);
        let reads_as = |text: Vec<u8>| bytes(std::str::from_utf8(&text).unwrap());
        assert_eq!(key, reads_as(json_key), "{event:?}");
        assert_eq!(value, json_value.map(reads_as), "{event:?}");
        assert_eq!(matches!(to, To::Every), matches!(json_to, To::Every));
        count += 1;
    });
    assert_eq!(count, 34);
}

#[test]
fn all_text_formats_write_json_of_every_event() {
    for format in Format::ALL.into_iter().filter(|format| format.is_text()) {
        let encoder = format.encoder_with(Options { expanded_events: true, server: (7, 0) });
        with_all_events(|event| {
            for (key, value, _) in records(encoder.as_ref(), &event, Addressing::Lines).unwrap() {
                for text in [Some(key), value].into_iter().flatten() {
                    serde_json::from_slice::<serde_json::Value>(&text).expect("JSON");
                    assert!(!text.contains(&b'\n'));
                }
            }
        });
    }
}

#[test]
fn what_can_not_be_encoded_is_refused_and_leaves_nothing() {
    let (id, no_id) = (bytes(r#"{"_id":1}"#), bytes(r#"{"a":1}"#));
    let mut damaged = bytes(r#"{"_id":1,"a":"x"}"#);
    let last_type = damaged.len() - 10;
    damaged[last_type] = 0x55;
    let diff = bytes(r#"{"z":{}}"#);
    let key = Key::Document(raw(&id));
    for format in Format::ALL {
        let encoder = format.encoder();
        let encode = |change| records(encoder.as_ref(), &event(change), Addressing::Lines);
        let update = Change::Update { key, delta: Delta::Diff(raw(&diff)) };
        assert!(matches!(encode(update), Err(Unencodable::Malformed(_))), "{format}");
        let insert = encode(Change::Insert { key, after: raw(&damaged) });
        if format == Format::Bson {
            assert!(insert.is_ok(), "documents are copied, not looked at");
        } else {
            assert!(matches!(insert, Err(Unencodable::Malformed(_))), "{format}");
        }
        let delete = encode(Change::Delete { key: Key::Document(raw(&no_id)) });
        if format.is_mongodbs() {
            assert!(delete.is_ok(), "a change stream's key is whatever the server's is");
        } else {
            assert_eq!(delete.err(), Some(Unencodable::NoKey), "{format}");
        }
    }
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic_in_any_format(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut doc = bytes(r#"{"d":{"x":false},"u":{"a":1,"s":"text"},"sr":{"a":true,"l":2,"s0":{"u":{"3":[1,{"b":{"$numberDecimal":"1.5"}}]}}}}"#);
        for (place, byte) in damage {
            let place = 4 + place.index(doc.len() - 4);
            doc[place] = byte;
        }
        let Ok(doc) = RawDoc::new(&doc) else { return Ok(()) };
        let id = bytes(r#"{"_id":1}"#);
        let key = Key::Document(raw(&id));
        for format in Format::ALL {
            let encoder = format.encoder_with(Options { expanded_events: true, server: (7, 0) });
            for change in [
                Change::Insert { key: Key::Document(doc), after: doc },
                Change::Update { key, delta: Delta::Diff(doc) },
                Change::Update { key, delta: Delta::Modifiers { set: Some(doc), unset: Some(doc) } },
                Change::Command(Command { o2: Some(doc), ..Command::new("modify", doc) }),
            ] {
                let _ = records(encoder.as_ref(), &event(change), Addressing::Lines);
            }
        }
    }
}
