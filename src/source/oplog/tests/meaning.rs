//! What each kind of entry means.

use super::phrase::{meaning, meanings, namespaces, update};
use super::{cut, entry};
use crate::source::Namespaces;
use crate::source::oplog::{Cutter, translate};

#[test]
fn inserts_and_deletes_name_the_whole_key_where_the_entry_does() {
    for (members, expected) in [
        (
            r#""op": "i", "o": {"_id": 7, "s": 1}, "o2": {"s": 1, "_id": 7}"#,
            r#"insert shop.a {"s":1,"_id":7} {"_id":7,"s":1}"#,
        ),
        // Before 5.3.
        (r#""op": "i", "o": {"_id": 7}"#, r#"insert shop.a _id:7 {"_id":7}"#),
        (r#""op": "d", "o": {"s": 1, "_id": 7}"#, r#"delete shop.a {"s":1,"_id":7}"#),
    ] {
        assert_eq!(meaning(&format!(r#""ns": "shop.a", {members}"#)).as_deref(), Ok(expected));
    }
    assert!(meaning(r#""op": "i", "ns": "shop.a", "o": {"a": 1}"#).unwrap_err().contains("without _id"));
}

#[test]
fn what_an_entry_says_of_itself_goes_with_the_event() {
    let id = r#"{"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}"#;
    let chunks = cut(
        &mut Cutter::new(None),
        &[entry(2, &format!(r#""op": "d", "ns": "shop.a", "ui": {id}, "o": {{"_id": 1}}"#))],
    );
    let event = translate(&chunks[0], &chunks[0].ops[0], &Namespaces::default(), "rs0").unwrap().unwrap();
    assert_eq!((event.at, event.term, event.wall_ms), (chunks[0].ops[0].at, Some(3), Some(2000)));
    assert_eq!((event.source, event.txn), ("rs0", None));
    assert_eq!(event.collection_id, Some(std::array::from_fn(|byte| byte as u8)));
}

#[test]
fn the_form_of_an_update_is_told_by_id_then_by_version() {
    for (o, expected) in [
        // A document with an _id is a replacement, whatever else it holds, wherever the _id stands.
        (r#"{"_id": 7, "a": 1}"#, r#"replace shop.a {"_id":7} {"_id":7,"a":1}"#),
        (
            r#"{"diff": {"u": {"a": 5}}, "$v": 2, "_id": 7}"#,
            r#"replace shop.a {"_id":7} {"diff":{"u":{"a":5}},"$v":2,"_id":7}"#,
        ),
        (r#"{"_id": 7}"#, r#"replace shop.a {"_id":7} {"_id":7}"#),
        (
            r#"{"$v": 2, "diff": {"u": {"a": 1}, "sb": {"d": {"c": false}}}}"#,
            r#"update shop.a {"_id":7} +a-b.c"#,
        ),
        (r#"{"$v": 2, "diff": {"sa": {"a": true, "l": 1}}}"#, r#"update shop.a {"_id":7} <a"#),
        (
            r#"{"$v": 1, "$set": {"a.10": 1, "a.2": 1}, "$unset": {"b": true}}"#,
            r#"update shop.a {"_id":7} +a.10+a.2-b"#,
        ),
        (r#"{"$v": {"$numberLong": "1"}, "$unset": {"b": true}}"#, r#"update shop.a {"_id":7} -b"#),
        (r#"{"$set": {"diff": 1}}"#, r#"update shop.a {"_id":7} +diff"#),
    ] {
        assert_eq!(update(o).as_deref(), Ok(expected));
    }
}

#[test]
fn an_update_that_can_not_be_understood_is_an_error() {
    for (o, expected) in [
        (r#"{"$v": 3, "diff": {}}"#, "unknown version"),
        (r#"{"$v": 2.0, "diff": {}}"#, "unknown version"),
        (r#"{"$v": null}"#, "unknown version"),
        (r#"{"$v": 2}"#, "without `diff`"),
        (r#"{"$v": 2, "diff": [1]}"#, "without `diff`"),
        (r#"{"$v": 1, "$set": 1}"#, "not a document"),
        (r#"{"$unset": ["a"]}"#, "not a document"),
        (r#"{"$v": 1, "$inc": {"a": 1}}"#, "unknown modifier `$inc`"),
        (r#"{"a": 1}"#, "unknown modifier `a`"),
        ("{}", "changes nothing"),
    ] {
        let error = update(o).expect_err(o);
        assert!(error.contains(expected), "{o}: {error}");
    }
    let keyless = meaning(r#""op": "u", "ns": "shop.a", "o": {"_id": 1}"#);
    assert_eq!(keyless.unwrap_err(), "unknown: an update without the document's key");
}

#[test]
fn the_servers_own_entries_are_left_out_whatever_they_lack() {
    for op in ["n", "xi", "xd", "ci", "cd", "km", "db"] {
        assert_eq!(
            meaning(&format!(r#""op": "{op}", "ns": "shop.a", "o": {{"_id": 1}}"#)).as_deref(),
            Ok(""),
            "{op}"
        );
        assert_eq!(meaning(&format!(r#""op": "{op}""#)).as_deref(), Ok(""), "{op}");
    }
    // A pre-image, and a retryable write that another shard made: with the looks of data.
    assert_eq!(meaning(r#""op": "n", "ns": "shop.a", "o": {"_id": 1}"#).as_deref(), Ok(""));
    assert_eq!(
        meaning(r#""op": "n", "ns": "shop.a", "o": {"$sessionMigrateInfo": 1}, "o2": {"op": "i"}"#)
            .as_deref(),
        Ok("")
    );
}

#[test]
fn only_captured_namespaces_are_published() {
    let shop = namespaces(&["shop.a", "crm.*"]);
    let published = |members: &str| !meanings(members, &shop).is_empty();
    for (ns, expected) in [
        ("shop.a", true),
        ("shop.a.b", false),
        ("crm.x.y", true),
        ("crm.system.js", false),
        ("other.a", false),
    ] {
        let (db, coll) = ns.split_once('.').unwrap();
        assert_eq!(published(&format!(r#""op": "d", "ns": "{ns}", "o": {{"_id": 1}}"#)), expected, "{ns}");
        let drop = format!(r#""op": "c", "ns": "{db}.$cmd", "o": {{"drop": "{coll}"}}"#);
        assert_eq!(published(&drop), expected, "{ns}");
    }
    for (db, expected) in [("shop", true), ("crm", true), ("other", false), ("admin", false)] {
        let drop = format!(r#""op": "c", "ns": "{db}.$cmd", "o": {{"dropDatabase": 1}}"#);
        assert_eq!(published(&drop), expected, "{db}");
    }
}

#[test]
fn internal_databases_and_collections_are_never_published() {
    for ns in
        ["admin.system.users", "config.transactions", "local.a", "shop.system.buckets.a", "shop.system.js"]
    {
        let (db, coll) = ns.split_once('.').unwrap();
        assert_eq!(
            meaning(&format!(r#""op": "i", "ns": "{ns}", "o": {{"_id": 1}}"#)).as_deref(),
            Ok(""),
            "{ns}"
        );
        let create = format!(r#""op": "c", "ns": "{db}.$cmd", "o": {{"create": "{coll}"}}"#);
        assert_eq!(meaning(&create).as_deref(), Ok(""), "{ns}");
    }
}
