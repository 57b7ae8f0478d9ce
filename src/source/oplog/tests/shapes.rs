//! Entries that other servers, or other clients, write: batched and vectored writes, users' `applyOps`, unusual names and documents.

use super::phrase::{meaning, meanings, phrases, update};
use super::{cut, entry};
use crate::source::Namespaces;
use crate::source::oplog::Cutter;

const SESSION: &str =
    r#""lsid": {"id": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}}"#;
const NULL_OPTIME: &str =
    r#""prevOpTime": {"ts": {"$timestamp": {"t": 0, "i": 0}}, "t": {"$numberLong": "-1"}}"#;
const EARLIER: &str = r#""prevOpTime": {"ts": {"$timestamp": {"t": 4, "i": 9}}, "t": 3}"#;

/// What the elements of an `applyOps` mean, and whether they are operations of a transaction.
fn applied(members: &str, elements: &[&str], of_o: &str) -> (Vec<Result<String, String>>, bool) {
    let elements = elements.join(",");
    let entry = entry(
        1,
        &format!(r#""op": "c", "ns": "admin.$cmd", {members} "o": {{"applyOps": [{elements}]{of_o}}}"#),
    );
    let chunks = cut(&mut Cutter::new(None), &[entry]);
    (phrases(&chunks[0], &Namespaces::default()), !chunks[0].txns.is_empty())
}

fn all(phrases: &[&str]) -> Vec<Result<String, String>> {
    phrases.iter().map(|phrase| Ok((*phrase).to_owned())).collect()
}

#[test]
fn a_batched_delete_is_so_many_deletes_and_no_transaction() {
    let elements =
        [1, 2].map(|id| format!(r#"{{"op": "d", "ns": "shop.a", "ui": {ID}, "o": {{"_id": {id}}}}}"#));
    let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
    let deletes = all(&[r#"delete shop.a {"_id":1}"#, r#"delete shop.a {"_id":2}"#]);
    // As 7.0 and 8.0 write it, as 6.0 does with its fail point, and as the last entry of those of 8.0 that are alone.
    for members in [String::new(), format!("{SESSION},"), r#""multiOpType": 0,"#.to_owned()] {
        assert_eq!(applied(&members, &elements, ""), (deletes.clone(), false), "{members}");
    }
}

const ID: &str = r#"{"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}"#;

#[test]
fn a_vectored_insert_is_so_many_inserts_and_no_transaction() {
    let elements = [
        r#"{"op": "i", "ns": "shop.a", "o": {"_id": 1}, "o2": {"_id": 1}, "stmtId": [0]}"#,
        r#"{"op": "i", "ns": "shop.a", "o": {"_id": 2}, "o2": {"_id": 2}, "stmtId": [1]}"#,
    ];
    let inserts = all(&[r#"insert shop.a {"_id":1} {"_id":1}"#, r#"insert shop.a {"_id":2} {"_id":2}"#]);
    let retryable = |previous: &str| format!(r#"{SESSION}, "txnNumber": 1, {previous}, "multiOpType": 1,"#);
    for members in [
        // Not retryable; with fields of later versions; retryable, the first and a later one of its session.
        String::new(),
        r#""versionContext": {"OFCV": "8.0"}, "rid": 7,"#.to_owned(),
        retryable(NULL_OPTIME),
        retryable(EARLIER),
    ] {
        assert_eq!(applied(&members, &elements, ""), (inserts.clone(), false), "{members}");
    }
    // A single retryable insert beside them is an ordinary entry.
    let single = format!(
        r#"{SESSION}, "txnNumber": 1, "stmtId": [2], {EARLIER}, "op": "i", "ns": "shop.a", "o": {{"_id": 3}}, "o2": {{"_id": 3}}"#
    );
    assert_eq!(meaning(&single).as_deref(), Ok(r#"insert shop.a {"_id":3} {"_id":3}"#));
}

#[test]
fn an_internal_transaction_counts_as_one() {
    let members = format!(r#"{SESSION}, "txnNumber": 1, "txnRetryCounter": 0, {NULL_OPTIME},"#);
    let element = r#"{"op": "i", "ns": "shop.a", "o": {"_id": 1}, "stmtId": 3}"#;
    assert_eq!(applied(&members, &[element], ""), (all(&[r#"insert shop.a _id:1 {"_id":1}"#]), true));
}

#[test]
fn a_users_applyops_is_published_operation_by_operation() {
    let of_o = r#", "lsid": {"id": 1}, "$db": "admin", "$clusterTime": {}, "alwaysUpsert": false"#;
    for (element, expected) in [
        (r#"{"op": "i", "ns": "shop.a", "o": {"_id": 1}}"#, Ok(r#"insert shop.a _id:1 {"_id":1}"#)),
        (r#"{"op": "d", "ns": "shop.a", "o": {"_id": 1}}"#, Ok(r#"delete shop.a {"_id":1}"#)),
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 1, "$set": {"a": 5}}}"#,
            Ok(r#"update shop.a {"_id":1} +a"#),
        ),
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$set": {"a": 5}}}"#,
            Ok(r#"update shop.a {"_id":1} +a"#),
        ),
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"a": 5}}}}"#,
            Ok(r#"update shop.a {"_id":1} +a"#),
        ),
        // An upsert says what the document is then, whether it was there or not.
        (
            r#"{"op": "u", "b": true, "ns": "shop.a", "o2": {"_id": 1}, "o": {"_id": 1, "a": 5}}"#,
            Ok(r#"replace shop.a {"_id":1} {"_id":1,"a":5}"#),
        ),
        // Up to 5.0 the `_id` may be missing.
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"a": 5, "$v": "x"}}"#,
            Err("unknown: an update of an unknown version ($v)"),
        ),
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"a": 5}}"#,
            Ok(r#"replace shop.a {"_id":1} {"a":5}"#),
        ),
        // What the server works out is not in the entry.
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$inc": {"a": 5}}}"#,
            Err("unknown: an update with the unknown modifier `$inc`"),
        ),
        (
            r#"{"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {}}"#,
            Err("unknown: an update that changes nothing"),
        ),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(applied("", &[element], of_o), (vec![expected], false), "{element}");
    }
    // An entry of its own always names the `_id` of a replacement.
    assert!(update(r#"{"a": 5}"#).unwrap_err().contains("unknown modifier `a`"));
}

#[test]
fn operations_of_an_applyops_are_translated_and_filtered_one_by_one() {
    let elements = [
        r#"{"op": "i", "ns": "shop.a", "o": {"_id": 1}}"#,
        r#"{"op": "i", "ns": "config.x", "o": {"_id": 2}}"#,
        r#"{"op": "c", "ns": "shop.$cmd", "o": {"create": "b"}}"#,
        r#"{"op": "c", "ns": "shop.$cmd", "o": {"createIndexes": "b", "v": 2, "key": {"x": 1}, "name": "x_1"}}"#,
        r#"{"op": "n", "ns": "", "o": {}}"#,
        r#"{"op": "n", "ns": "shop.a", "o": {"_id": 3}}"#,
        r#"{"op": "c", "ns": "admin.$cmd", "o": {"applyOps": []}}"#,
        r#"{"op": "c", "ns": "admin.$cmd", "o": {"commitTransaction": 1}}"#,
        r#"{"op": "i", "ns": "shop.system.views", "o": {"_id": "shop.v", "viewOn": "a"}}"#,
    ];
    let mut expected = all(&[
        r#"insert shop.a _id:1 {"_id":1}"#,
        r#"create shop.b {"create":"b"}"#,
        r#"createIndexes shop.b {"createIndexes":"b","v":2,"key":{"x":1},"name":"x_1"}"#,
    ]);
    expected.push(Err("unknown: unknown command `applyOps`".to_owned()));
    expected.push(Err("unknown: unknown command `commitTransaction`".to_owned()));
    expected.extend(all(&[r#"create shop.v {"_id":"shop.v","viewOn":"a"} view"#]));
    assert_eq!(applied("", &elements, "").0, expected);
}

#[test]
fn kinds_and_versions_that_nobody_knows_yet_are_told() {
    for (members, expected) in [
        (r#""op": "kv", "ns": "shop.a", "o": {}"#, "unknown: unknown operation `kv`"),
        (
            r#""op": "c", "ns": "shop.$cmd", "o": {"reshapeCollection": "a"}"#,
            "unknown: unknown command `reshapeCollection`",
        ),
        (
            r#""op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 3, "delta": {}}"#,
            "unknown: an update of an unknown version ($v)",
        ),
    ] {
        assert_eq!(meaning(members), Err(expected.to_owned()));
    }
    // An entry of another version is not looked into.
    let entry = crate::bson::extjson::parse(
        r#"{"ts": {"$timestamp": {"t": 5, "i": 1}}, "v": 3, "op": "i", "ns": "shop.a", "o": {"_id": 1}}"#,
    );
    let chunks = cut(&mut Cutter::new(None), &[entry.unwrap()]);
    assert_eq!(
        phrases(&chunks[0], &Namespaces::default()),
        [Err("unknown: an oplog entry of an unknown version".to_owned())]
    );
}

#[test]
fn notices_of_shards_are_no_data() {
    for o2 in [
        r#"{"shardCollection": "shop.a", "shardKey": {"k": 1}}"#,
        r#"{"migrateChunkToNewShard": "shop.a"}"#,
        r#"{"type": "reshardFinalOp", "reshardingUUID": 1}"#,
        r#"{"endOfTransaction": "shop.a"}"#,
    ] {
        let members = format!(r#""op": "n", "ns": "shop.a", "o": {{"msg": {{"x": 1}}}}, "o2": {o2}"#);
        assert_eq!(meaning(&members).as_deref(), Ok(""), "{o2}");
    }
}

#[test]
fn names_and_values_that_look_like_the_servers_own_are_data() {
    for o in [
        r#"{"_id":7,"$v":2,"diff":{"u":{"a":1}}}"#,
        r#"{"_id":7,"$set":{"a":1},"$unset":{"b":true}}"#,
        r#"{"_id":7,"applyOps":[],"drop":"a","op":"d","ns":"b"}"#,
        r#"{"_id":7,"":1,"a.b":2,"$c":3}"#,
        r#"{"_id":7,"":1,"":2,"a":1,"a":2}"#,
        r#"{"_id":7,"fromMigrate":true,"ts":1,"prevOpTime":{}}"#,
    ] {
        let insert = meaning(&format!(r#""op": "i", "ns": "shop.a", "o": {o}"#));
        assert_eq!(insert, Ok(format!("insert shop.a _id:7 {o}")));
        assert_eq!(update(o), Ok(format!(r#"replace shop.a {{"_id":7}} {o}"#)));
    }
    assert_eq!(
        update(r#"{"$v":2,"diff":{"u":{"$v":1,"diff":2,"a.b":3,"":4},"sdiff":{"i":{"u":5}}}}"#).as_deref(),
        Ok(r#"update shop.a {"_id":7} +$v+diff+a.b++diff.u"#)
    );
}

#[test]
fn namespaces_are_split_at_the_first_dot_and_hold_any_text() {
    for ns in [
        "shop.a b",
        "shop.a$b",
        "shop.\u{fc}\u{4e2d}",
        "shop..a",
        "shop.a.",
        "shop.a.b.c",
        "fs.fs.files",
        "fs.fs.chunks",
    ] {
        let members = format!(r#""op": "d", "ns": "{ns}", "o": {{"_id": 1}}"#);
        assert_eq!(meaning(&members), Ok(format!(r#"delete {ns} {{"_id":1}}"#)));
        let (db, coll) = ns.split_once('.').unwrap();
        let members = format!(r#""op": "c", "ns": "{db}.$cmd", "o": {{"create": "{coll}"}}"#);
        assert_eq!(meaning(&members), Ok(format!(r#"create {ns} {{"create":"{coll}"}}"#)));
    }
}

#[test]
fn a_tenants_entry_reads_like_any_other() {
    // Serverless deployments write them, which are not supported; the fields themselves do no harm.
    let members =
        format!(r#""op": "i", "tid": {ID}, "ns": "shop.a", "o": {{"_id": 1}}, "fromTenantMigration": {ID}"#);
    assert_eq!(meanings(&members, &Namespaces::default()).len(), 1);
}
