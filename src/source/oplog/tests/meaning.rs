//! What each kind of entry means.

use super::{cut, entry};
use crate::bson::extjson::{Mode, parse, write_doc};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, Delta, DeltaVisitor, Key};
use crate::source::oplog::{Cutter, translate};
use crate::source::{Chunk, Namespaces};

fn namespaces(include: &[&str]) -> Namespaces {
    let include: Vec<String> = include.iter().map(ToString::to_string).collect();
    Namespaces::parse(&include, &[]).unwrap()
}

/// What the operations of an entry with these members mean: a phrase each, or why they can't be understood.
fn meanings(members: &str, namespaces: &Namespaces) -> Vec<Result<String, String>> {
    phrases(&cut(&mut Cutter::new(None), &[entry(1, members)])[0], namespaces)
}

fn phrases(chunk: &Chunk, namespaces: &Namespaces) -> Vec<Result<String, String>> {
    chunk
        .ops
        .iter()
        .filter_map(|op| translate(chunk, op, namespaces, "rs0").transpose())
        .map(|event| event.map(|event| phrase(&event)).map_err(|unreadable| unreadable.what))
        .collect()
}

/// The single meaning; empty for what is not published.
fn meaning(members: &str) -> Result<String, String> {
    let mut meanings = meanings(members, &Namespaces::default());
    assert!(meanings.len() <= 1, "{meanings:?}");
    meanings.pop().unwrap_or_else(|| Ok(String::new()))
}

fn phrase(event: &ChangeEvent<'_>) -> String {
    let text = |doc: RawDoc<'_>| {
        let mut out = Vec::new();
        write_doc(&mut out, doc, Mode::Relaxed).unwrap();
        String::from_utf8(out).unwrap()
    };
    let key = |key: &Key<'_>| match key {
        Key::Document(key) => text(*key),
        Key::Id(id) => format!("_id:{}", id.as_i64().unwrap()),
    };
    let what = match &event.change {
        Change::Insert { key: of, after } | Change::Replace { key: of, after } => {
            format!("{} {}", key(of), text(*after))
        }
        Change::Update { key: of, delta } => format!("{} {}", key(of), paths(delta)),
        Change::Delete { key: of } => key(of),
        Change::Command(command) => match command.to {
            Some(to) => format!("{} to {to}", text(command.o)),
            None => text(command.o),
        },
        Change::Watermark => unreachable!("the oplog has none"),
    };
    format!("{} {} {what}", event.change.name(), event.ns)
}

/// The paths that a delta touches.
fn paths(delta: &Delta<'_>) -> String {
    struct Paths(Vec<u8>);
    impl DeltaVisitor for Paths {
        fn updated(&mut self, path: &[u8], _: RawValue<'_>) -> Result<(), Malformed> {
            self.0.extend([b"+", path].concat());
            Ok(())
        }
        fn removed(&mut self, path: &[u8]) {
            self.0.extend([b"-", path].concat());
        }
        fn truncated(&mut self, path: &[u8], _: i32) {
            self.0.extend([b"<", path].concat());
        }
    }
    let mut paths = Paths(Vec::new());
    delta.visit(&mut Vec::new(), &mut paths).unwrap();
    String::from_utf8(paths.0).unwrap()
}

fn update(o: &str) -> Result<String, String> {
    meaning(&format!(r#""op": "u", "ns": "shop.a", "o2": {{"_id": 7}}, "o": {o}"#))
}

fn command(o: &str) -> Result<String, String> {
    meaning(&format!(r#""op": "c", "ns": "shop.$cmd", "o": {o}"#))
}

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
    assert_eq!(keyless.unwrap_err(), "an update without the document's key");
}

#[test]
fn commands_become_events_by_their_name() {
    for (o, expected) in [
        (r#"{"create":"a","capped":true}"#, "create shop.a"),
        (r#"{"drop":"a.b"}"#, "drop shop.a.b"),
        (r#"{"dropDatabase":1}"#, "dropDatabase shop"),
        (r#"{"createIndexes":"a","v":2,"key":{"x":1},"name":"x_1"}"#, "createIndexes shop.a"),
        (r#"{"commitIndexBuild":"a","indexes":[]}"#, "createIndexes shop.a"),
        (r#"{"dropIndexes":"a","index":"x_1"}"#, "dropIndexes shop.a"),
        (r#"{"collMod":"a","validator":{}}"#, "modify shop.a"),
        (r#"{"convertToCapped":"a","size":1}"#, "convertToCapped shop.a"),
        (r#"{"emptycapped":"a"}"#, "truncate shop.a"),
        (r#"{"importCollection":"a"}"#, "importCollection shop.a"),
    ] {
        assert_eq!(command(o), Ok(format!("{expected} {o}")));
    }
    let rename = r#"{"renameCollection":"shop.a","to":"crm.b.c","stayTemp":false}"#;
    assert_eq!(command(rename), Ok(format!("rename shop.a {rename} to crm.b.c")));
}

#[test]
fn commands_that_say_nothing_to_a_consumer_are_left_out() {
    for name in [
        "startIndexBuild",
        "abortIndexBuild",
        "dbCheck",
        "modifyCollectionShardingIndexCatalog",
        "createDatabaseMetadata",
        "dropDatabaseMetadata",
        "truncateRange",
        "upgradeDowngradeViewlessTimeseries",
    ] {
        assert_eq!(command(&format!(r#"{{"{name}": "a"}}"#)).as_deref(), Ok(""), "{name}");
    }
}

#[test]
fn a_command_that_can_not_be_understood_is_an_error() {
    for (o, expected) in [
        ("{}", "an empty command"),
        (r#"{"split": "a"}"#, "unknown command `split`"),
        (r#"{"Create": "a"}"#, "unknown command `Create`"),
        (r#"{"capped": true, "create": "a"}"#, "unknown command `capped`"),
        (r#"{"create": 1}"#, "without a collection name"),
        (r#"{"renameCollection": "shop.a"}"#, "a rename without `to`"),
        (r#"{"renameCollection": "shop.a", "to": 1}"#, "a rename without full names"),
        (r#"{"renameCollection": 1, "to": "shop.a"}"#, "a rename without full names"),
    ] {
        let error = command(o).expect_err(o);
        assert!(error.contains(expected), "{o}: {error}");
    }
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
fn what_is_unknown_is_an_error_unless_nothing_of_that_database_is_captured() {
    let shop = namespaces(&["shop.a"]);
    for (members, concerns) in [
        (r#""op": "z", "ns": "shop.a""#, true),
        (r#""op": "z", "ns": "shop.b""#, true),
        (r#""op": "z", "ns": """#, true),
        (r#""op": "z", "ns": "crm.a""#, false),
        (r#""op": "z", "ns": "config.a""#, false),
        (r#""ns": "shop.a""#, true),
        (r#""op": 1, "ns": "shop.a""#, true),
        (r#""op": "c", "ns": "shop.$cmd""#, true),
        (r#""op": "c", "ns": "crm.$cmd""#, false),
        (r#""op": "c", "ns": "config.$cmd""#, false),
        // Transactions stand there, and may get company.
        (r#""op": "c", "ns": "admin.$cmd""#, true),
        (r#""op": "z", "ns": "admin.$cmd""#, true),
        (r#""op": "z", "ns": "admin.a""#, false),
    ] {
        let found = meanings(&format!(r#"{members}, "o": {{"unheardOf": 1}}"#), &shop);
        assert_eq!(found.len(), usize::from(concerns), "{members}: {found:?}");
        assert!(
            found.iter().all(|one| one.as_ref().is_err_and(|error| error.starts_with("unknown"))),
            "{found:?}"
        );
    }
    // An update of an unknown form concerns nobody but the readers of its collection.
    let unknown =
        |ns| meanings(&format!(r#""op": "u", "ns": "{ns}", "o2": {{"_id": 1}}, "o": {{"$v": 3}}"#), &shop);
    assert_eq!((unknown("shop.a").len(), unknown("shop.b").len()), (1, 0));
}

#[test]
fn only_captured_namespaces_are_published() {
    let shop = namespaces(&["shop.a", "crm.*"]);
    let published = |members: &str| !meanings(members, &shop).is_empty();
    for (ns, expected) in [
        ("shop.a", true),
        ("shop.a.b", false),
        ("crm.x.y", true),
        ("crm.system.views", false),
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
        ["admin.system.users", "config.transactions", "local.a", "shop.system.buckets.a", "shop.system.views"]
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

#[test]
fn a_rename_is_published_if_it_leads_into_or_out_of_the_captured_namespaces() {
    let shop = namespaces(&["shop.a"]);
    for (from, to, expected) in [
        ("shop.a", "shop.b", true),
        ("shop.tmp", "shop.a", true),
        ("crm.x", "shop.a", true),
        ("shop.b", "shop.c", false),
    ] {
        let members =
            format!(r#""op": "c", "ns": "crm.$cmd", "o": {{"renameCollection": "{from}", "to": "{to}"}}"#);
        assert_eq!(meanings(&members, &shop).len(), usize::from(expected), "{from} to {to}");
    }
}

#[test]
fn operations_of_an_applyops_are_translated_and_filtered_one_by_one() {
    let elements = [
        r#"{"op": "i", "ns": "shop.a", "o": {"_id": 1}}"#,
        r#"{"op": "i", "ns": "config.x", "o": {"_id": 2}}"#,
        r#"{"op": "u", "ns": "shop.a", "b": true, "o2": {"_id": 1}, "o": {"$v": 1, "$set": {"a": 5}}}"#,
        r#"{"op": "c", "ns": "shop.$cmd", "o": {"create": "b"}}"#,
        r#"{"op": "n", "ns": "", "o": {}}"#,
        r#"{"op": "c", "ns": "admin.$cmd", "o": {"applyOps": []}}"#,
        r#"{"op": "d", "ns": "shop.a", "o": {"_id": 1}}"#,
    ];
    let members = format!(r#""op": "c", "ns": "admin.$cmd", "o": {{"applyOps": [{}]}}"#, elements.join(","));
    assert_eq!(
        meanings(&members, &Namespaces::default()),
        [
            Ok(r#"insert shop.a _id:1 {"_id":1}"#.to_owned()),
            Ok(r#"update shop.a {"_id":1} +a"#.to_owned()),
            Ok(r#"create shop.b {"create":"b"}"#.to_owned()),
            Err("unknown command `applyOps`".to_owned()),
            Ok(r#"delete shop.a {"_id":1}"#.to_owned()),
        ]
    );
}

#[test]
fn text_that_is_not_utf_8_is_data_in_documents_and_an_error_in_names() {
    let spoil = |members: &str| {
        let bytes: Vec<u8> =
            entry(1, members).into_iter().map(|byte| if byte == b'~' { 0xff } else { byte }).collect();
        phrases(&cut(&mut Cutter::new(None), &[bytes])[0], &Namespaces::default())
    };
    assert_eq!(
        spoil(r#""op": "i", "ns": "shop.a", "o": {"_id": 7, "a~": "b~"}"#),
        [Ok("insert shop.a _id:7 {\"_id\":7,\"a\u{fffd}\":\"b\u{fffd}\"}".to_owned())]
    );
    for (members, expected) in [
        (r#""op": "i", "ns": "shop.~", "o": {"_id": 7}"#, "no namespace in UTF-8"),
        (r#""op": "~", "ns": "shop.a", "o": {}"#, "unknown operation `\u{fffd}`"),
        (r#""op": "c", "ns": "shop.$cmd", "o": {"create": "~"}"#, "a command without a collection name"),
        (r#""op": "c", "ns": "shop.$cmd", "o": {"~": 1}"#, "unknown command `\u{fffd}`"),
        (
            r#""op": "u", "ns": "shop.a", "o2": {}, "o": {"$~": {}}"#,
            "an update with the unknown modifier `$\u{fffd}`",
        ),
    ] {
        assert_eq!(spoil(members), [Err(expected.to_owned())], "{members}");
    }
}

#[test]
fn an_error_names_the_position() {
    let chunks = cut(
        &mut Cutter::new(None),
        &[parse(r#"{"ts":{"$timestamp":{"t":5,"i":6}},"op":"z","ns":"a.b","o":{}}"#).unwrap()],
    );
    let error = translate(&chunks[0], &chunks[0].ops[0], &Namespaces::default(), "").unwrap_err();
    assert_eq!(error.to_string(), "oplog entry 0000000005-0000000006-0000000000: unknown operation `z`");
}
