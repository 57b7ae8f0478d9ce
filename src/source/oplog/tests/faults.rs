//! What can't become an event: which policy decides about it, and what is said of it.

use super::phrase::{meaning, meanings, namespaces, phrases};
use super::{cut, entry};
use crate::bson::extjson::parse;
use crate::bson::{Malformed, RawDoc};
use crate::event::{Change, ChangeEvent, Delta, Images, Key, Namespace, Position};
use crate::source::Namespaces;
use crate::source::oplog::{Cutter, FaultKind, translate, unencodable};

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
            found.iter().all(|one| one.as_ref().is_err_and(|error| error.starts_with("unknown: unknown "))),
            "{found:?}"
        );
    }
    assert_eq!(meaning(r#""op": "z", "o": {}"#), Err("unknown: no namespace".to_owned()));
    assert_eq!(meaning(r#""op": "i", "ns": 1, "o": {"_id": 1}"#), Err("unknown: no namespace".to_owned()));
    // An update of an unknown form concerns nobody but the readers of its collection.
    let unknown =
        |ns| meanings(&format!(r#""op": "u", "ns": "{ns}", "o2": {{"_id": 1}}, "o": {{"$v": 3}}"#), &shop);
    assert_eq!((unknown("shop.a").len(), unknown("shop.b").len()), (1, 0));
}

/// The entry with each `~` replaced by a byte that UTF-8 does not have.
fn spoiled(members: &str, namespaces: &Namespaces) -> Vec<Result<String, String>> {
    let bytes: Vec<u8> =
        entry(1, members).into_iter().map(|byte| if byte == b'~' { 0xff } else { byte }).collect();
    phrases(&cut(&mut Cutter::new(None), &[bytes])[0], namespaces)
}

#[test]
fn text_that_is_not_utf_8_is_data_in_documents_and_an_error_in_names() {
    let all = Namespaces::default();
    assert_eq!(
        spoiled(r#""op": "i", "ns": "shop.a", "o": {"_id": 7, "a~": "b~"}"#, &all),
        [Ok("insert shop.a _id:7 {\"_id\":7,\"a\u{fffd}\":\"b\u{fffd}\"}".to_owned())]
    );
    for (members, expected) in [
        (r#""op": "i", "ns": "shop.~", "o": {"_id": 7}"#, "unreadable: a namespace that is not UTF-8"),
        (r#""op": "c", "ns": "sh~p.$cmd", "o": {"drop": "a"}"#, "unreadable: a namespace that is not UTF-8"),
        (r#""op": "~", "ns": "shop.a", "o": {}"#, "unknown: unknown operation `\u{fffd}`"),
        (r#""op": "c", "ns": "shop.$cmd", "o": {"~": 1}"#, "unknown: unknown command `\u{fffd}`"),
        (
            r#""op": "u", "ns": "shop.a", "o2": {}, "o": {"$~": {}}"#,
            "unknown: an update with the unknown modifier `$\u{fffd}`",
        ),
    ] {
        assert_eq!(spoiled(members, &all), [Err(expected.to_owned())], "{members}");
    }
}

#[test]
fn a_name_that_is_not_utf_8_concerns_those_who_capture_something_of_its_database() {
    let shop = namespaces(&["shop.*"]);
    let found = |ns| spoiled(&format!(r#""op": "d", "ns": "{ns}", "o": {{"_id": 1}}"#), &shop).len();
    assert_eq!((found("shop.~"), found("crm.~"), found("~.a"), found("config.~")), (1, 0, 1, 0));
}

#[test]
fn a_fault_says_where_it_stands_and_what_it_is_about() {
    let text = r#"{"ts":{"$timestamp":{"t":5,"i":6}},"op":"z","ns":"a.b","o":{}}"#;
    let chunks = cut(&mut Cutter::new(None), &[parse(text).unwrap()]);
    let fault = translate(&chunks[0], &chunks[0].ops[0], &Namespaces::default(), "").unwrap_err();
    assert_eq!(
        fault.to_string(),
        "oplog entry 0000000005-0000000006-0000000000 of a.b: unknown operation `z`"
    );
    assert_eq!((fault.kind, fault.ns.as_str()), (FaultKind::Unknown, "a.b"));
}

#[test]
fn damaged_bytes_are_unreadable_and_what_is_out_of_place_is_unknown() {
    let damaged = meaning(r#""op": "i", "ns": "shop.a", "o": 1"#);
    assert_eq!(damaged.unwrap_err(), "unknown: no `o` document");
    let mut elements = entry(
        1,
        r#""op": "c", "ns": "admin.$cmd", "o": {"applyOps": [{"op": "i", "ns": "shop.a", "x~": 1}, 5]}"#,
    );
    // A type that BSON does not have. Within a document it would show only when that is encoded.
    let name = elements.windows(2).position(|two| two == b"x~").unwrap();
    elements[name - 1] = 0x55;
    let found = phrases(&cut(&mut Cutter::new(None), &[elements])[0], &Namespaces::default());
    let found: Vec<String> = found.into_iter().map(Result::unwrap_err).collect();
    assert!(found[0].starts_with("unreadable: malformed BSON at byte"), "{found:?}");
    assert_eq!(found[1], "unknown: an element of `applyOps` that is not a document");
}

#[test]
fn a_diff_of_another_grammar_is_unknown_and_a_damaged_one_unreadable() {
    let kind = |diff: &[u8]| {
        let key = parse(r#"{"_id": 1}"#).unwrap();
        let event = ChangeEvent {
            at: Position::of_entry(5, 6),
            term: None,
            wall_ms: None,
            ns: Namespace { db: "shop", coll: "a" },
            collection_id: None,
            change: Change::Update {
                key: Key::Document(RawDoc::new(&key).unwrap()),
                delta: Delta::Diff(RawDoc::new(diff).unwrap()),
            },
            images: Images::default(),
            txn: None,
            source: "",
        };
        let fault = unencodable(&event, Malformed { what: "x", offset: 0 }.to_string());
        assert_eq!((fault.ns.as_str(), fault.at), ("shop.a", event.at));
        fault.kind
    };
    for (diff, expected) in [
        (r#"{"z": {"a": 1}}"#, FaultKind::Unknown),
        (r#"{"sa": {"a": true, "z0": 1}}"#, FaultKind::Unknown),
        ("{}", FaultKind::Unknown),
        // Nothing wrong with it: something else was.
        (r#"{"u": {"a": 1}}"#, FaultKind::Unreadable),
    ] {
        assert_eq!(kind(&parse(diff).unwrap()), expected, "{diff}");
    }
    let mut damaged = parse(r#"{"z": {"a": 1}}"#).unwrap();
    let at = damaged.iter().position(|byte| *byte == b'a').unwrap() - 1;
    damaged[at] = 0x55;
    assert_eq!(kind(&damaged), FaultKind::Unreadable);
}
