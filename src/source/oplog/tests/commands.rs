//! Commands and views: which become events, on which namespace, and what they say.

use super::entry;
use super::phrase::{command, meaning, meanings, namespaces, phrases};
use crate::source::Namespaces;
use crate::source::oplog::{Cutter, translate};

#[test]
fn commands_become_events_by_their_name() {
    for (o, expected) in [
        (r#"{"create":"a","capped":true}"#, "create shop.a"),
        (
            r#"{"create":"a","clusteredIndex":{"v":2,"key":{"_id":1},"name":"_id_","unique":true}}"#,
            "create shop.a",
        ),
        (r#"{"create":"a","temp":true}"#, "create shop.a"),
        (r#"{"drop":"a.b"}"#, "drop shop.a.b"),
        (r#"{"dropDatabase":1}"#, "dropDatabase shop"),
        (r#"{"createIndexes":"a","v":2,"key":{"x":1},"name":"x_1"}"#, "createIndexes shop.a"),
        (r#"{"commitIndexBuild":"a","indexes":[]}"#, "createIndexes shop.a"),
        (r#"{"dropIndexes":"a","index":"x_1"}"#, "dropIndexes shop.a"),
        (r#"{"collMod":"a","validator":{}}"#, "modify shop.a"),
        (r#"{"convertToCapped":"a","size":1}"#, "convertToCapped shop.a"),
        (r#"{"emptycapped":"a"}"#, "truncate shop.a"),
        // As they were spelled before 4.4.
        (r#"{"deleteIndexes":"a","index":"*"}"#, "dropIndexes shop.a"),
        (r#"{"deleteIndex":"a","index":"x_1"}"#, "dropIndexes shop.a"),
        (r#"{"dropIndex":"a","index":"x_1"}"#, "dropIndexes shop.a"),
    ] {
        assert_eq!(command(o), Ok(format!("{expected} {o}")));
    }
    let rename = r#"{"renameCollection":"shop.a","to":"crm.b.c","stayTemp":false}"#;
    assert_eq!(command(rename), Ok(format!("rename shop.a {rename} to crm.b.c")));
}

#[test]
fn a_command_is_found_by_its_name_wherever_it_stands() {
    for (o, expected) in [
        (r#"{"capped":true,"create":"a"}"#, "create shop.a"),
        (r#"{"v":2,"key":{"drop":1},"name":"drop","createIndexes":"a"}"#, "createIndexes shop.a"),
        // The first field counts, whatever the others are called.
        (r#"{"createIndexes":"a","v":2,"key":{"x":1},"drop":"b"}"#, "createIndexes shop.a"),
    ] {
        assert_eq!(command(o), Ok(format!("{expected} {o}")));
    }
    let rename = r#"{"to":"shop.b","renameCollection":"shop.a"}"#;
    assert_eq!(command(rename), Ok(format!("rename shop.a {rename} to shop.b")));
    // A field that only has the name of a command.
    assert!(command(r#"{"split":"a","drop":true}"#).unwrap_err().contains("unknown command `split`"));
}

#[test]
fn a_command_has_the_collections_uuid_and_the_entrys_second_document() {
    let id = r#"{"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}"#;
    let entry = entry(
        1,
        &format!(
            r#""op": "c", "ns": "shop.$cmd", "ui": {id}, "o": {{"drop": "a"}}, "o2": {{"numRecords": 3}}"#
        ),
    );
    let chunks = super::cut(&mut Cutter::new(None), &[entry]);
    let event = translate(&chunks[0], &chunks[0].ops[0], &Namespaces::default(), "rs0").unwrap().unwrap();
    let crate::event::Change::Command(command) = event.change else { panic!("{event:?}") };
    assert_eq!(event.collection_id, Some(std::array::from_fn(|byte| byte as u8)));
    assert_eq!(command.o2.and_then(|o2| o2.get("numRecords")?.as_i64()), Some(3));
}

#[test]
fn commands_that_say_nothing_to_a_consumer_are_left_out() {
    for name in [
        "startIndexBuild",
        "abortIndexBuild",
        "dbCheck",
        "createGlobalIndex",
        "dropGlobalIndex",
        "modifyCollectionShardingIndexCatalog",
        "createDatabaseMetadata",
        "dropDatabaseMetadata",
        "truncateRange",
        "upgradeDowngradeViewlessTimeseries",
    ] {
        assert_eq!(command(&format!(r#"{{"{name}": "a", "drop": "a"}}"#)).as_deref(), Ok(""), "{name}");
    }
}

#[test]
fn a_command_that_can_not_be_understood_is_an_error() {
    for (o, expected) in [
        ("{}", "unknown: an empty command"),
        (r#"{"split": "a"}"#, "unknown: unknown command `split`"),
        (r#"{"Create": "a"}"#, "unknown: unknown command `Create`"),
        // Not as a part of something else.
        (r#"{"applyOps": []}"#, ""),
        (r#"{"create": 1}"#, "unknown: a command without the name of a collection"),
        (r#"{"renameCollection": "shop.a"}"#, "unknown: a rename without `to`"),
        (r#"{"renameCollection": "shop.a", "to": 1}"#, "unknown: a command without the name"),
        (r#"{"renameCollection": 1, "to": "shop.a"}"#, "unknown: a command without the name"),
    ] {
        match command(o) {
            Ok(nothing) => assert_eq!((nothing.as_str(), expected), ("", "")),
            Err(error) => assert!(!expected.is_empty() && error.starts_with(expected), "{o}: {error}"),
        }
    }
}

#[test]
fn an_import_is_an_event_whose_contents_no_events_have_told() {
    for (o, expected) in [
        (r#"{"importCollection":"shop.a","dryRun":false}"#, "importCollection shop.a {o} replaced"),
        (r#"{"importCollection":"a"}"#, "importCollection shop.a {o} replaced"),
        (r#"{"importCollection":"shop.a.b"}"#, "importCollection shop.a.b {o} replaced"),
        (r#"{"importCollection":"shop.a","dryRun":true}"#, ""),
    ] {
        assert_eq!(command(o), Ok(expected.replace("{o}", o)));
    }
}

#[test]
fn views_are_created_modified_and_dropped_under_their_own_names() {
    let of_views =
        |op: &str, rest: &str| meaning(&format!(r#""op": "{op}", "ns": "shop.system.views", {rest}"#));
    let view = r#"{"_id":"shop.cheap.ones","viewOn":"orders","pipeline":[]}"#;
    let series = r#"{"_id":"shop.weather","viewOn":"system.buckets.weather","timeseries":{"timeField":"t"}}"#;
    for (op, rest, expected) in [
        ("i", format!(r#""o": {view}"#), format!("create shop.cheap.ones {view} view")),
        ("i", format!(r#""o": {series}"#), format!("create shop.weather {series} timeseries")),
        (
            "u",
            format!(r#""o": {view}, "o2": {{"_id": "shop.cheap.ones"}}"#),
            format!("modify shop.cheap.ones {view} view"),
        ),
        ("u", format!(r#""o": {view}"#), format!("modify shop.cheap.ones {view} view")),
        (
            "u",
            r#""o": {"$v": 2, "diff": {"u": {"pipeline": []}}}, "o2": {"_id": "shop.cheap"}"#.to_owned(),
            r#"modify shop.cheap {"$v":2,"diff":{"u":{"pipeline":[]}}} view"#.to_owned(),
        ),
        // What was dropped the oplog does not tell.
        (
            "d",
            r#""o": {"_id": "shop.weather"}"#.to_owned(),
            r#"drop shop.weather {"_id":"shop.weather"} view"#.to_owned(),
        ),
    ] {
        assert_eq!(of_views(op, &rest), Ok(expected), "{op} {rest}");
    }
    for o in [r#"{"_id": 1}"#, r#"{"viewOn": "a"}"#, "{}"] {
        let error = of_views("i", &format!(r#""o": {o}"#)).unwrap_err();
        assert_eq!(error, "unknown: a view whose _id is not its name");
    }
}

#[test]
fn a_view_is_captured_by_its_own_name() {
    let some = namespaces(&["shop.cheap", "crm.*"]);
    for (db, name, expected) in [
        ("shop", "shop.cheap", true),
        ("shop", "shop.dear", false),
        ("crm", "crm.any", true),
        ("other", "other.cheap", false),
        ("admin", "admin.v", false),
    ] {
        let members = format!(r#""op": "d", "ns": "{db}.system.views", "o": {{"_id": "{name}"}}"#);
        assert_eq!(meanings(&members, &some).len(), usize::from(expected), "{name}");
    }
    // What is not a view's name concerns nobody where nothing of the database is captured.
    let strange =
        |db| meanings(&format!(r#""op": "d", "ns": "{db}.system.views", "o": {{"_id": 1}}"#), &some);
    assert_eq!((strange("other").len(), strange("crm").len()), (0, 1));
}

#[test]
fn the_collections_of_views_and_of_buckets_are_the_servers_own() {
    for members in [
        r#""op": "c", "ns": "shop.$cmd", "o": {"create": "system.views"}"#,
        r#""op": "c", "ns": "shop.$cmd", "o": {"drop": "system.views"}"#,
        r#""op": "c", "ns": "shop.$cmd", "o": {"create": "system.buckets.weather", "clusteredIndex": true}"#,
        r#""op": "c", "ns": "shop.$cmd", "o": {"drop": "system.buckets.weather"}"#,
        r#""op": "i", "ns": "shop.system.buckets.weather", "o": {"_id": 1}"#,
        r#""op": "d", "ns": "shop.system.buckets.weather", "o": {"_id": 1}"#,
    ] {
        assert_eq!(meaning(members).as_deref(), Ok(""), "{members}");
    }
}

#[test]
fn buckets_are_ordinary_documents_where_they_are_named() {
    let raw = namespaces(&["shop.system.buckets.weather"]);
    let of = |members: &str| meanings(&format!(r#""ns": "shop.system.buckets.weather", {members}"#), &raw);
    assert_eq!(
        of(r#""op": "i", "o": {"_id": 1, "data": {}}"#),
        [Ok(r#"insert shop.system.buckets.weather _id:1 {"_id":1,"data":{}}"#.to_owned())]
    );
    // 8.0 extends the binary columns in place.
    let patch = r#"{"$v": 2, "diff": {"sdata": {"b": {"t": {"o": 10, "d": {"$binary": {"base64": "AAE=", "subType": "07"}}}}}}}"#;
    assert_eq!(
        of(&format!(r#""op": "u", "o2": {{"_id": 1}}, "o": {patch}"#)),
        [Ok(r#"update shop.system.buckets.weather {"_id":1} +data.t"#.to_owned())]
    );
    let drop = r#""op": "c", "ns": "shop.$cmd", "o": {"drop": "system.buckets.weather"}"#;
    assert_eq!(meanings(drop, &raw).len(), 1);
}

#[test]
fn names_of_collections_that_are_not_utf_8_are_unreadable() {
    let spoil = |members: &str| {
        let bytes: Vec<u8> =
            entry(1, members).into_iter().map(|byte| if byte == b'~' { 0xff } else { byte }).collect();
        phrases(&super::cut(&mut Cutter::new(None), &[bytes])[0], &Namespaces::default())
    };
    for members in [
        r#""op": "c", "ns": "shop.$cmd", "o": {"create": "~"}"#,
        r#""op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.~"}"#,
        r#""op": "i", "ns": "shop.system.views", "o": {"_id": "shop.~"}"#,
    ] {
        let found = spoil(members);
        assert!(
            matches!(&found[..], [Err(error)] if error.starts_with("unreadable: ") && error.contains("UTF-8")),
            "{members}: {found:?}"
        );
    }
}
