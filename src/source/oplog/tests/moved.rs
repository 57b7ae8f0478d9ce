//! Contents that come from elsewhere: temporary collections, renames, and writes of the server's own.

use super::phrase::{meaning, meanings, namespaces};
use crate::source::Namespaces;

fn rename(from: &str, to: &str, rest: &str) -> String {
    format!(r#""op": "c", "ns": "crm.$cmd", "o": {{"renameCollection": "{from}", "to": "{to}"{rest}}}"#)
}

const TARGET: &str =
    r#", "dropTarget": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}"#;

#[test]
fn a_rename_is_published_if_it_leads_into_or_out_of_the_captured_namespaces() {
    let shop = namespaces(&["shop.a"]);
    for (from, to, expected) in [
        ("shop.a", "shop.b", true),
        ("shop.tmp", "shop.a", true),
        ("crm.x", "shop.a", true),
        ("shop.b", "shop.c", false),
    ] {
        assert_eq!(meanings(&rename(from, to, ""), &shop).len(), usize::from(expected), "{from} to {to}");
    }
}

#[test]
fn a_rename_says_when_it_brings_contents_that_no_events_have_told() {
    let both = namespaces(&["shop.a", "shop.b"]);
    for (from, to, rest, replaced) in [
        // From a namespace that is captured to one that was free: its events have told everything.
        ("shop.a", "shop.b", "", false),
        ("shop.a", "shop.b", r#", "dropTarget": false"#, false),
        ("shop.a", "shop.b", r#", "stayTemp": true"#, false),
        // In the place of another one.
        ("shop.a", "shop.b", TARGET, true),
        ("shop.a", "shop.b", r#", "dropTarget": true"#, true),
        // From one that is not captured.
        ("shop.x", "shop.b", "", true),
        ("shop.x", "shop.b", TARGET, true),
        // To one that is not captured: it is gone, and that is all.
        ("shop.a", "shop.x", "", false),
        ("shop.a", "shop.x", TARGET, false),
    ] {
        let found = meanings(&rename(from, to, rest), &both);
        let [Ok(phrase)] = &found[..] else { panic!("{found:?}") };
        assert!(phrase.starts_with(&format!("rename {from} ")), "{phrase}");
        assert!(phrase.contains(&format!(" to {to}")), "{phrase}");
        assert_eq!(phrase.ends_with(" replaced"), replaced, "{phrase}");
        // The UUID of what was dropped.
        assert_eq!(phrase.contains("AAECAwQFBgcICQoLDA0ODw=="), rest == TARGET, "{phrase}");
    }
}

/// What becomes of a temporary collection: its creation, an insert, an index, and the rename that puts it in its place.
fn of_temporary(coll: &str, target: &str) -> Vec<String> {
    let entries = [
        format!(r#""op": "c", "ns": "shop.$cmd", "o": {{"create": "{coll}", "temp": true}}"#),
        format!(r#""op": "c", "ns": "shop.$cmd", "o": {{"createIndexes": "{coll}", "name": "x"}}"#),
        format!(r#""op": "i", "ns": "shop.{coll}", "fromMigrate": true, "o": {{"_id": 1}}"#),
        rename(&format!("shop.{coll}"), &format!("shop.{target}"), TARGET),
    ];
    let phrases = entries.iter().map(|members| meaning(members).unwrap());
    phrases.filter(|phrase| !phrase.is_empty()).collect()
}

#[test]
fn what_the_server_fills_first_is_one_rename_with_other_contents() {
    for coll in [
        "tmp.agg_out.0f5ba5b2-2f8f-4d0a-a1d7-9b2a1c5f4e11",
        "tmp.mr.orders_0",
        "tmpx9Y8z.convertToCapped.orders",
        "tmpx9Y8z.renameCollection",
    ] {
        let found = of_temporary(coll, "orders");
        assert!(
            matches!(&found[..], [rename] if rename.starts_with("rename shop.tmp") && rename.ends_with(" to shop.orders replaced")),
            "{found:?}"
        );
    }
    // Nobody captures the target of this one.
    assert!(of_temporary("tmp.agg_out.x", "system.buckets.weather").is_empty());
}

#[test]
fn the_servers_own_copies_are_data_on_a_replica_set_and_none_on_a_shard() {
    let members =
        |op: &str, rest: &str| format!(r#""op": "{op}", "ns": "shop.a", "fromMigrate": true, {rest}"#);
    let writes = [
        members("i", r#""o": {"_id": 1}"#),
        members("u", r#""o": {"_id": 1}, "o2": {"_id": 1}"#),
        members("d", r#""o": {"_id": 1}"#),
        r#""op": "i", "ns": "shop.system.views", "fromMigrate": true, "o": {"_id": "shop.v", "viewOn": "a"}"#
            .to_owned(),
    ];
    let drop = r#""op": "c", "ns": "shop.$cmd", "fromMigrate": true, "o": {"drop": "a"}"#;
    let plain = Namespaces::default();
    let shard = Namespaces::default().on_shard(true);
    for write in &writes {
        assert_eq!((meanings(write, &plain).len(), meanings(write, &shard).len()), (1, 0), "{write}");
        let by_a_client = write.replace(r#""fromMigrate": true"#, r#""fromMigrate": false"#);
        assert_eq!(meanings(&by_a_client, &shard).len(), 1);
    }
    // The collection is gone on this shard, whoever dropped it.
    assert_eq!((meanings(drop, &plain).len(), meanings(drop, &shard).len()), (1, 1));
}
