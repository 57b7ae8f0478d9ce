//! What the formats write for every kind of event. Whole records of the real connector are compared in `tests/decode.rs`, and the
//! server's own change streams in `tests/e2e/change_streams.rs`.

use expect_test::{Expect, expect};

use super::*;
use crate::event::{CollectionType, Command, Delta, Image, Images, Namespace, NoImage, Position, Txn};
use crate::format::To;
use crate::format::tests::{bytes, event, raw, record, records};

const EXPANDED: Options = Options { expanded_events: true, server: (6, 0) };

/// Checks key and value, one a line, in the connector's default style.
fn check(options: Options, event: &ChangeEvent<'_>, expected: &Expect) {
    let (key, value, to) = record(&Mongodb::new(Style::Strict, options), event);
    assert!(matches!(to, To::Partition(_)), "the key picks the partition");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    expected.assert_eq(&format!("{}\n{}\n", text(key), text(value.unwrap())));
}

fn is_left_out(options: Options, change: Change<'_>) -> bool {
    let encoder = Mongodb::new(Style::Strict, options);
    let nothing = records(&encoder, &event(change), Addressing::Partitions(12)).unwrap().is_empty();
    assert_eq!(nothing, !encoder.publishes(&change));
    nothing
}

#[test]
fn an_update_in_a_transaction_begins_with_the_transaction() {
    let key = bytes(r#"{"region":"eu","_id":1.5}"#);
    let diff = bytes(r#"{"d":{"x":false},"sr":{"a":true,"l":2,"s0":{"u":{"3":1}}}}"#);
    let mut update = event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Diff(raw(&diff)) });
    update.txn = Some(Txn { session: [0xab; 16], user: Some([1; 32]), number: 9, count: 3 });
    update.at.ordinal = 2;
    check(
        Options::default(),
        &update,
        &expect![[r#"
        {"region": "eu", "_id": 1.5}
        {"txnNumber": {"$numberLong": "9"}, "lsid": {"id": {"$binary": "q6urq6urq6urq6urq6urqw==", "$type": "04"}, "uid": {"$binary": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "$type": "00"}}, "_id": {"_data": "826B056020000000072B022C01002B046E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C726567696F6E003C6575001E5F6964002B03800000000000000004", "_typeBits": {"$binary": "goAA", "$type": "00"}}, "operationType": "update", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"region": "eu", "_id": 1.5}, "updateDescription": {"updatedFields": {"r.0.3": 1}, "removedFields": ["x"], "truncatedArrays": [{"field": "r", "newSize": 2}]}}
    "#]],
    );
    check(
        Options { expanded_events: true, server: (7, 0) },
        &update,
        &expect![[r#"
        {"region": "eu", "_id": 1.5}
        {"txnNumber": {"$numberLong": "9"}, "lsid": {"id": {"$binary": "q6urq6urq6urq6urq6urqw==", "$type": "04"}, "uid": {"$binary": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "$type": "00"}}, "_id": {"_data": "826B056020000000072B042C01002B046E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C6F7065726174696F6E54797065003C7570646174650046646F63756D656E744B657900463C726567696F6E003C6575001E5F6964002B0380000000000000000004", "_typeBits": {"$binary": "ggAB", "$type": "00"}}, "operationType": "update", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "collectionUUID": {"$binary": "X19fX19fX19fX19fX19fXw==", "$type": "04"}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"region": "eu", "_id": 1.5}, "updateDescription": {"updatedFields": {"r.0.3": 1}, "removedFields": ["x"], "truncatedArrays": [{"field": "r", "newSize": 2}], "disambiguatedPaths": {"r.0.3": ["r", 0, "3"]}}}
    "#]],
    );
    update.txn = None;
    check(
        Options { expanded_events: false, server: (5, 0) },
        &update,
        &expect![[r#"
        {"region": "eu", "_id": 1.5}
        {"_id": {"_data": "826B056020000000072B022C01002B046E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C726567696F6E003C6575001E5F6964002B03800000000000000004", "_typeBits": {"$binary": "goAA", "$type": "00"}}, "operationType": "update", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"region": "eu", "_id": 1.5}, "updateDescription": {"updatedFields": {"r.0.3": 1}, "removedFields": ["x"], "truncatedArrays": [{"field": "r", "newSize": 2}]}}
    "#]],
    );
}

#[test]
fn images_stand_where_the_servers_version_has_them() {
    let (key, diff) = (bytes(r#"{"_id":1}"#), bytes(r#"{"u":{"a":2}}"#));
    let (before, after) = (bytes(r#"{"_id":1,"a":1}"#), bytes(r#"{"_id":1,"a":3}"#));
    let mut update = event(Change::Update { key: Key::Document(raw(&key)), delta: Delta::Diff(raw(&diff)) });
    let gone = Image::Missing(NoImage::Gone);
    let here = [Image::Exact(raw(&before)), Image::LookedUp(raw(&after))];
    for (server, [before, after], order) in [
        (
            (6, 0),
            here,
            r#""fullDocument": {"_id": 1, "a": 3}, "ns": … }, "fullDocumentBeforeChange": {"_id": 1, "a": 1}}"#,
        ),
        ((6, 0), [gone; 2], r#""fullDocument": null, "ns": … }, "fullDocumentBeforeChange": null}"#),
        (
            (6, 0),
            [Image::Missing(NoImage::NotRecorded), gone],
            r#""fullDocument": null, "ns": … }, "fullDocumentBeforeChange": null}"#,
        ),
        (
            (5, 0),
            here,
            r#""fullDocument": {"_id": 1, "a": 3}, "fullDocumentBeforeChange": {"_id": 1, "a": 1}, "ns": … }}"#,
        ),
        ((5, 0), [gone; 2], r#""fullDocument": null, "fullDocumentBeforeChange": null, "ns": … }}"#),
        // So a change stream of 5.0 shows that a collection records nothing.
        ((5, 0), [Image::Missing(NoImage::NotRecorded), gone], r#""fullDocument": null, "ns": … }}"#),
    ] {
        update.images = Images { before: Some(before), after: Some(after) };
        let encoder = Mongodb::new(Style::Strict, Options { expanded_events: false, server });
        let (_, value, _) = record(&encoder, &update);
        let value = String::from_utf8(value.unwrap()).unwrap();
        let (_, images) = value.split_at(value.find(r#""fullDocument""#).unwrap());
        let ns = images.find(r#""ns""#).unwrap();
        let rest = images.find(r#""truncatedArrays": []"#).unwrap() + r#""truncatedArrays": []"#.len();
        let found = format!("{}\"ns\": … {}", &images[..ns], &images[rest..]);
        assert_eq!(found, order, "{server:?}");
    }
}

#[test]
fn an_update_of_version_1_has_no_truncated_arrays() {
    let key = bytes(r#"{"_id":1}"#);
    let set = bytes(r#"{"a.1":5}"#);
    let delta = Delta::Modifiers { set: Some(raw(&set)), unset: None };
    let update = event(Change::Update { key: Key::Document(raw(&key)), delta });
    check(
        Options { expanded_events: false, server: (4, 4) },
        &update,
        &expect![[r#"
        {"_id": 1}
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F461E5F6964002B020004"}, "operationType": "update", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": 1}, "updateDescription": {"updatedFields": {"a.1": 5}, "removedFields": []}}
    "#]],
    );
}

#[test]
fn a_key_that_only_the_document_has_is_written_like_one_of_the_oplog() {
    let doc = bytes(r#"{"_id":{"$date":"2026-11-24T10:00:00Z"},"a":1}"#);
    let insert = event(Change::Insert { key: Key::Id(raw(&doc).get("_id").unwrap()), after: raw(&doc) });
    let (key, ..) = record(&Mongodb::new(Style::Simplified, Options::default()), &insert);
    assert_eq!(key, br#"{"_id": "2026-11-24T10:00:00Z"}"#);
}

#[test]
fn commands_are_keyed_by_their_resume_token() {
    let drop = bytes(r#"{"drop":"orders"}"#);
    check(
        Options::default(),
        &event(Change::Command(Command::new("drop", raw(&drop)))),
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}}
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}, "operationType": "drop", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}}
    "#]],
    );

    let rename = bytes(r#"{"renameCollection":"shop.orders","stayTemp":false,"to":"shop.old"}"#);
    let to = Some(Namespace { db: "shop", coll: "old" });
    let rename = event(Change::Command(Command { to, ..Command::new("rename", raw(&rename)) }));
    check(
        Options::default(),
        &rename,
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}}
        {"to": {"db": "shop", "coll": "old"}, "_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}, "operationType": "rename", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}}
    "#]],
    );
    check(
        EXPANDED,
        &rename,
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}}
        {"to": {"db": "shop", "coll": "old"}, "_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F04"}, "operationType": "rename", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "collectionUUID": {"$binary": "X19fX19fX19fX19fX19fXw==", "$type": "04"}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "operationDescription": {"to": {"db": "shop", "coll": "old"}}}
    "#]],
    );

    let drop = bytes(r#"{"dropDatabase":1}"#);
    let mut drop = event(Change::Command(Command::new("dropDatabase", raw(&drop))));
    drop.ns.coll = "";
    drop.collection_id = None;
    check(
        EXPANDED,
        &drop,
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E04"}}
        {"_id": {"_data": "826B056020000000072B022C0100296E04"}, "operationType": "dropDatabase", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop"}}
    "#]],
    );
}

#[test]
fn a_modification_tells_the_options_that_it_replaces() {
    let o = bytes(r#"{"collMod":"orders","index":{"name":"a_1","hidden":true}}"#);
    let o2 = bytes(
        r#"{"collectionOptions_old":{"validationLevel":"strict"},"indexOptions_old":{"hidden":false}}"#,
    );
    let modify = Command { o2: Some(raw(&o2)), ..Command::new("modify", raw(&o)) };
    check(
        EXPANDED,
        &event(Change::Command(modify)),
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C6F7065726174696F6E54797065003C6D6F6469667900466F7065726174696F6E4465736372697074696F6E004646696E64657800463C6E616D65003C615F31006E68696464656E006F00000004"}}
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C6F7065726174696F6E54797065003C6D6F6469667900466F7065726174696F6E4465736372697074696F6E004646696E64657800463C6E616D65003C615F31006E68696464656E006F00000004"}, "operationType": "modify", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "collectionUUID": {"$binary": "X19fX19fX19fX19fX19fXw==", "$type": "04"}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "operationDescription": {"index": {"name": "a_1", "hidden": true}}, "stateBeforeChange": {"collectionOptions": {"validationLevel": "strict"}, "indexOptions": {"hidden": false}}}
    "#]],
    );
}

#[test]
fn a_view_has_no_uuid_although_its_token_has_one() {
    let o = bytes(r#"{"_id":"shop.v","viewOn":"orders","pipeline":[]}"#);
    let create = Command { of: CollectionType::View, ..Command::new("create", raw(&o)) };
    check(
        EXPANDED,
        &event(Change::Command(create)),
        &expect![[r#"
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C6F7065726174696F6E54797065003C63726561746500466F7065726174696F6E4465736372697074696F6E00463C766965774F6E003C6F72646572730050706970656C696E65005000000004"}}
        {"_id": {"_data": "826B056020000000072B022C0100296E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F463C6F7065726174696F6E54797065003C63726561746500466F7065726174696F6E4465736372697074696F6E00463C766965774F6E003C6F72646572730050706970656C696E65005000000004"}, "operationType": "create", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "operationDescription": {"viewOn": "orders", "pipeline": []}}
    "#]],
    );
}

#[test]
fn what_a_change_stream_does_not_show_is_left_out() {
    let o = bytes(r#"{"create":"orders"}"#);
    for (name, shown) in [
        ("create", [false, true]),
        ("createIndexes", [false, true]),
        ("dropIndexes", [false, true]),
        ("modify", [false, true]),
        ("drop", [true, true]),
        ("convertToCapped", [false, false]),
        ("truncate", [false, false]),
    ] {
        let left_out = [Options::default(), EXPANDED]
            .map(|options| is_left_out(options, Change::Command(Command::new(name, raw(&o)))));
        assert_eq!(left_out.map(|left_out| !left_out), shown, "{name}");
    }
}

#[test]
fn the_drop_of_a_view_is_an_expanded_event() {
    let o = bytes(r#"{"_id":"shop.v"}"#);
    let drop = Change::Command(Command { of: CollectionType::View, ..Command::new("drop", raw(&o)) });
    assert!(is_left_out(Options::default(), drop) && !is_left_out(EXPANDED, drop));
}

#[test]
fn a_watermark_is_an_empty_record_where_it_has_a_subject_of_its_own() {
    let encoder = Mongodb::new(Style::Strict, Options::default());
    let watermark = event(Change::Watermark);
    for addressing in [Addressing::Lines, Addressing::Partitions(12)] {
        assert_eq!(records(&encoder, &watermark, addressing), Ok(Vec::new()));
    }
    let records = records(&encoder, &watermark, Addressing::Subject(Vec::new())).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].0.as_slice(), &records[0].1), (&b""[..], &None));
}

#[test]
fn a_large_ordinal_is_in_the_token() {
    let key = bytes(r#"{"_id":1}"#);
    let mut delete = event(Change::Delete { key: Key::Document(raw(&key)) });
    delete.at = Position { ordinal: 499, ..delete.at };
    check(
        Options::default(),
        &delete,
        &expect![[r#"
        {"_id": 1}
        {"_id": {"_data": "826B056020000000072B022C01002C03E66E5A10045F5F5F5F5F5F5F5F5F5F5F5F5F5F5F5F461E5F6964002B020004"}, "operationType": "delete", "clusterTime": {"$timestamp": {"t": 1795514400, "i": 7}}, "wallTime": {"$date": 1795514400120}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": 1}}
    "#]],
    );
}
