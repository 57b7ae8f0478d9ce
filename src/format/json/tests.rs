//! What the two formats write for every kind of event.

use expect_test::{Expect, expect};

use super::*;
use crate::bson::extjson::parse;
use crate::event::{Images, NoImage, Position};
use crate::format::{Addressing, To};

const AT: Position = Position { t: 1_795_514_400, i: 7, ordinal: 0 };

fn event(change: Change<'_>) -> ChangeEvent<'_> {
    ChangeEvent {
        at: AT,
        term: Some(2),
        wall_ms: Some(1_795_514_400_123),
        ns: Namespace { db: "shop", coll: "orders" },
        collection_id: None,
        change,
        images: Images::default(),
        txn: None,
        source: "rs0/abc",
    }
}

fn bytes(json: &str) -> Vec<u8> {
    parse(json).expect(json)
}

fn raw(bytes: &[u8]) -> RawDoc<'_> {
    RawDoc::new(bytes).unwrap()
}

/// Key and value of an event, and where it goes on a topic of 12 partitions.
fn encode(json: Json, event: &ChangeEvent<'_>) -> Result<(String, String, To), Unencodable> {
    let route = Arc::new(Route::new("topic", Addressing::Partitions(12)));
    let mut writer = RecordWriter::default();
    let result = json.encode(event, &route, &mut writer);
    let encoded = writer.finish();
    if let Err(error) = result {
        assert!(
            encoded.bytes.is_empty() && encoded.records.is_empty(),
            "an event that can't be encoded leaves nothing"
        );
        return Err(error);
    }
    let record = &encoded.records[0];
    let text = |range: &std::ops::Range<u32>| {
        String::from_utf8(encoded.bytes[range.start as usize..range.end as usize].to_vec()).unwrap()
    };
    let (key, value) = (text(&record.key), text(record.value.as_ref().unwrap()));
    for json in [&key, &value] {
        serde_json::from_str::<serde_json::Value>(json).expect("every record is JSON");
    }
    Ok((key, value, record.to.clone()))
}

/// Checks key and value, one a line, in the relaxed format.
fn check(event: &ChangeEvent<'_>, expected: &Expect) {
    let (key, value, _) = encode(Json::relaxed(), event).unwrap();
    expected.assert_eq(&format!("{key}\n{value}\n"));
}

#[test]
fn an_insert_has_the_whole_document_in_the_types_of_its_format() {
    let doc = bytes(r#"{"_id":{"$numberLong":"5"},"at":{"$date":"2026-11-24T10:00:00Z"}}"#);
    let mut insert = event(Change::Insert { key: Key::Id(raw(&doc).get("_id").unwrap()), after: raw(&doc) });
    insert.collection_id = Some([0x5f; 16]);
    check(
        &insert,
        &expect![[r#"
            {"_id":5}
            {"op":"insert","ns":{"db":"shop","coll":"orders"},"key":{"_id":5},"after":{"_id":5,"at":{"$date":"2026-11-24T10:00:00Z"}},"position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"collectionId":"5f5f5f5f-5f5f-5f5f-5f5f-5f5f5f5f5f5f","source":"rs0/abc"}
        "#]],
    );
    let (key, value, _) = encode(Json::canonical(), &insert).unwrap();
    expect![[r#"
        {"_id":{"$numberInt":"5"}}
        {"op":"insert","ns":{"db":"shop","coll":"orders"},"key":{"_id":{"$numberLong":"5"}},"after":{"_id":{"$numberLong":"5"},"at":{"$date":{"$numberLong":"1795514400000"}}},"position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":{"$numberLong":"1795514400123"}},"collectionId":"5f5f5f5f-5f5f-5f5f-5f5f-5f5f5f5f5f5f","source":"rs0/abc"}
    "#]]
    .assert_eq(&format!("{key}\n{value}\n"));
}

#[test]
fn an_update_has_the_change_streams_lists_and_the_diff_itself() {
    let key = bytes(r#"{"_id":1}"#);
    let diff = bytes(
        r#"{"d":{"gone":false,"too":false},"u":{"a":1},"i":{"b":{"c":2.0}},"sx":{"a":true,"l":2,"u0":"y","s1":{"a":true,"l":0}}}"#,
    );
    check(
        &event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Diff(raw(&diff)) }),
        &expect![[r#"
            {"_id":1}
            {"op":"update","ns":{"db":"shop","coll":"orders"},"key":{"_id":1},"update":{"updatedFields":{"a":1,"b":{"c":2.0},"x.0":"y"},"removedFields":["gone","too"],"truncatedArrays":[{"field":"x","newSize":2},{"field":"x.1","newSize":0}],"diff":{"d":{"gone":false,"too":false},"u":{"a":1},"i":{"b":{"c":2.0}},"sx":{"a":true,"l":2,"u0":"y","s1":{"a":true,"l":0}}}},"position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"source":"rs0/abc"}
        "#]],
    );
}

#[test]
fn images_say_what_they_are() {
    let (key, diff) = (bytes(r#"{"_id":1}"#), bytes(r#"{"u":{"a":2}}"#));
    let (before, after) = (bytes(r#"{"_id":1,"a":1}"#), bytes(r#"{"_id":1,"a":3}"#));
    let mut update = event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Diff(raw(&diff)) });
    update.images =
        Images { before: Some(Image::Exact(raw(&before))), after: Some(Image::LookedUp(raw(&after))) };
    check(
        &update,
        &expect![[r#"
            {"_id":1}
            {"op":"update","ns":{"db":"shop","coll":"orders"},"key":{"_id":1},"update":{"updatedFields":{"a":2},"removedFields":[],"truncatedArrays":[],"diff":{"u":{"a":2}}},"after":{"_id":1,"a":3},"afterIs":"lookup","before":{"_id":1,"a":1},"beforeIs":"exact","position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"source":"rs0/abc"}
        "#]],
    );
    for (why, word) in [
        (NoImage::Gone, "gone"),
        (NoImage::NotRecorded, "notRecorded"),
        (NoImage::NotFound, "notFound"),
        (NoImage::Mismatch, "mismatch"),
    ] {
        let mut delete = event(Change::Delete { key: Key::Document(raw(&key)) });
        delete.images.before = Some(Image::Missing(why));
        let (_, value, _) = encode(Json::relaxed(), &delete).unwrap();
        assert!(value.contains(&format!(r#""key":{{"_id":1}},"beforeIs":"{word}","position""#)), "{value}");
    }
}

#[test]
fn an_update_of_version_1_has_its_modifiers() {
    let key = bytes(r#"{"_id":1}"#);
    let (set, unset) = (bytes(r#"{"a.10":1,"a.2":2}"#), bytes(r#"{"b":true}"#));
    let update = |set, unset| {
        event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Modifiers { set, unset } })
    };
    check(
        &update(Some(raw(&set)), Some(raw(&unset))),
        &expect![[r#"
            {"_id":1}
            {"op":"update","ns":{"db":"shop","coll":"orders"},"key":{"_id":1},"update":{"updatedFields":{"a.10":1,"a.2":2},"removedFields":["b"],"truncatedArrays":[],"modifiers":{"$set":{"a.10":1,"a.2":2},"$unset":{"b":true}}},"position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"source":"rs0/abc"}
        "#]],
    );
    for (delta, expected) in [
        (update(None, Some(raw(&unset))), r#""modifiers":{"$unset":{"b":true}}}"#),
        (update(None, None), r#""removedFields":[],"truncatedArrays":[],"modifiers":{}}"#),
    ] {
        let (_, value, _) = encode(Json::relaxed(), &delta).unwrap();
        assert!(value.contains(expected), "{value}");
    }
}

#[test]
fn a_delete_in_a_transaction_has_the_whole_key_and_its_place_there() {
    let key = bytes(r#"{"region":"eu","_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"}}"#);
    let mut delete = event(Change::Delete { key: Key::Document(raw(&key)) });
    delete.at.ordinal = 2;
    delete.txn = Some(Txn { session: [0xab; 16], user: None, number: 9, count: 3 });
    delete.wall_ms = None;
    check(
        &delete,
        &expect![[r#"
            {"_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"}}
            {"op":"delete","ns":{"db":"shop","coll":"orders"},"key":{"region":"eu","_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"}},"position":"1795514400-0000000007-0000000002","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"txn":{"id":"abababab-abab-abab-abab-abababababab:9","index":2,"count":3},"source":"rs0/abc"}
        "#]],
    );
}

#[test]
fn a_command_has_the_oplogs_documents_and_goes_to_every_partition() {
    let (o, o2) =
        (bytes(r#"{"renameCollection":"shop.orders","to":"shop.old"}"#), bytes(r#"{"numRecords":4}"#));
    let rename = event(Change::Command(Command {
        o2: Some(raw(&o2)),
        to: Some(Namespace { db: "shop", coll: "old" }),
        ..Command::new("rename", raw(&o))
    }));
    check(
        &rename,
        &expect![[r#"
            {"command":"rename"}
            {"op":"rename","ns":{"db":"shop","coll":"orders"},"command":{"renameCollection":"shop.orders","to":"shop.old"},"options":{"numRecords":4},"to":{"db":"shop","coll":"old"},"position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"source":"rs0/abc"}
        "#]],
    );
    assert_eq!(encode(Json::relaxed(), &rename).unwrap().2, To::Every);
}

#[test]
fn a_command_on_a_database_names_no_collection() {
    let o = bytes(r#"{"dropDatabase":1}"#);
    let mut drop = event(Change::Command(Command::new("dropDatabase", raw(&o))));
    drop.ns.coll = "";
    let (_, value, _) = encode(Json::relaxed(), &drop).unwrap();
    assert!(
        value.starts_with(
            r#"{"op":"dropDatabase","ns":{"db":"shop"},"command":{"dropDatabase":1},"position""#
        )
    );
}

#[test]
fn a_command_says_what_it_is_about_unless_a_collection_and_that_contents_were_replaced() {
    let o = bytes(r#"{"_id":"shop.cheap","viewOn":"orders","pipeline":[]}"#);
    let end = |command: Command<'_>| {
        let event = ChangeEvent { collection_id: Some([7; 16]), ..event(Change::Command(command)) };
        let (_, value, _) = encode(Json::relaxed(), &event).unwrap();
        // The oplog has the UUID of the collection in which views are defined.
        assert_eq!(value.contains("collectionId"), command.of == CollectionType::Collection, "{value}");
        let (_, end) = value.split_once(r#""pipeline":[]}"#).unwrap();
        end.split_once(r#","position""#).unwrap().0.to_owned()
    };
    let command = Command::new("create", raw(&o));
    for (command, expected) in [
        (command, ""),
        (Command { of: CollectionType::View, ..command }, r#","nsType":"view""#),
        (Command { of: CollectionType::TimeSeries, ..command }, r#","nsType":"timeseries""#),
        (Command { replaced: true, ..command }, r#","replaced":true"#),
    ] {
        assert_eq!(end(command), expected);
    }
}

#[test]
fn a_watermark_has_only_its_place() {
    check(
        &event(Change::Watermark),
        &expect![[r#"
            {"command":"watermark"}
            {"op":"watermark","position":"1795514400-0000000007-0000000000","clusterTime":{"$timestamp":{"t":1795514400,"i":7}},"wallTime":{"$date":"2026-11-24T10:00:00.123Z"},"source":"rs0/abc"}
        "#]],
    );
}

#[test]
fn all_events_of_a_document_have_the_same_key_and_partition() {
    let doc = bytes(r#"{"a":1,"_id":"x"}"#);
    let key = bytes(r#"{"a":1,"_id":"x"}"#);
    let id = raw(&doc).get("_id").unwrap();
    let insert =
        encode(Json::relaxed(), &event(Change::Insert { key: Key::Id(id), after: raw(&doc) })).unwrap();
    let delete = encode(Json::relaxed(), &event(Change::Delete { key: Key::Document(raw(&key)) })).unwrap();
    assert_eq!((&insert.0, &insert.2), (&delete.0, &delete.2));
    assert!(matches!(insert.2, To::Partition(0..12)));
}

#[test]
fn names_that_need_escapes_stay_json() {
    let doc = bytes(r#"{"_id":1}"#);
    let mut insert = event(Change::Delete { key: Key::Document(raw(&doc)) });
    insert.ns.coll = "a\"b\n";
    let (_, value, _) = encode(Json::relaxed(), &insert).unwrap();
    assert!(value.contains(r#""coll":"a\"b\n""#), "{value}");
}

#[test]
fn what_can_not_be_encoded_is_refused_and_leaves_nothing() {
    let no_id = bytes(r#"{"a":1}"#);
    let refused = encode(Json::relaxed(), &event(Change::Delete { key: Key::Document(raw(&no_id)) }));
    assert_eq!(refused, Err(Unencodable::NoKey));

    let key = bytes(r#"{"_id":1}"#);
    let mut damaged = bytes(r#"{"_id":1,"a":"x"}"#);
    let last_type = damaged.len() - 10;
    damaged[last_type] = 0x55;
    let insert = event(Change::Insert { key: Key::Document(raw(&key)), after: raw(&damaged) });
    assert!(matches!(encode(Json::relaxed(), &insert), Err(Unencodable::Malformed(_))));

    let diff = bytes(r#"{"z":{}}"#);
    let update = event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Diff(raw(&diff)) });
    assert!(matches!(encode(Json::relaxed(), &update), Err(Unencodable::Malformed(_))));
}
