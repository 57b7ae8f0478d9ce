//! Documents that are looked up: never older than the event, never another one, never too much at once, never out of order.

use std::collections::HashMap;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection};
use serde_json::{Value, json};

use super::super::harness::{Connector, Installation, Random, client, commit_everything, majority_point};
use super::{DB, coll, config, events};

const LOOKUP: &str = "images.after = \"lookup\"\n";

fn fast(client: &Client, name: &str) -> Collection<Document> {
    let write_concern = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let options = mongodb::options::CollectionOptions::builder().write_concern(write_concern).build();
    client.database(DB).collection_with_options(name, options)
}

#[track_caller]
fn assert_in_order(events: &[Value]) {
    let positions: Vec<&str> = events.iter().map(|event| event["position"].as_str().unwrap()).collect();
    assert!(positions.is_sorted_by(|one, other| one < other), "out of order, or repeated");
}

/// Every event of an update tells a version of its document that it led to, or a later one.
async fn lookups_race_with_updates(version: MongoVersion) {
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    let installation = Installation::new(&config(&mongo, None, LOOKUP));
    let connector = installation.run().await;
    // GIVEN documents that count their changes, deletes and new beginnings among them
    let mut random = Random::new(11);
    let mut last: HashMap<i64, i64> = HashMap::new();
    let all = fast(&client, "a");
    for n in 0..4000_i64 {
        let id = i64::try_from(random.below(40)).unwrap();
        let filter = doc! { "_id": id };
        if random.below(20) == 0 {
            all.delete_one(filter).await.unwrap();
            last.remove(&id);
        } else {
            all.update_one(filter, doc! { "$set": { "n": n } }).upsert(true).await.unwrap();
            last.insert(id, n);
        }
    }
    let found = events(&connector, &installation, &client).await;
    // THEN what was looked up is never older than its event
    assert_in_order(&found);
    let updates: Vec<&Value> = found.iter().filter(|event| event["op"] == "update").collect();
    let (mut newer, mut gone) = (0, 0);
    for event in &updates {
        let n = event["update"]["updatedFields"]["n"].as_i64().unwrap();
        match event["afterIs"].as_str().unwrap() {
            "lookup" => {
                let after = event["after"]["n"].as_i64().unwrap();
                assert!(after >= n && event["after"]["_id"] == event["key"]["_id"], "{event}");
                newer += u32::from(after > n);
            }
            word => {
                assert_eq!((word, event.get("after")), ("gone", None));
                gone += 1;
            }
        }
    }
    assert!(updates.len() > 3000, "{} updates", updates.len());
    // The last event of a document that is still there has what is there.
    for (id, n) in last {
        let event = found.iter().rfind(|event| event["key"]["_id"] == id).unwrap();
        assert_eq!(event["after"]["n"], n, "{event}");
    }
    let missing = connector.metric("images_missing_total{reason=\"gone\",sink=\"file\"}").await;
    assert!((missing - f64::from(gone)).abs() < 0.1, "{missing} of {gone}");
    assert!(newer + gone < 4000);
}

#[tokio::test]
async fn lookups_race_with_updates_on_4_4() {
    lookups_race_with_updates(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn lookups_race_with_updates_on_5_0() {
    lookups_race_with_updates(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn lookups_race_with_updates_on_6_0() {
    lookups_race_with_updates(MongoVersion::V6_0_27).await;
}

/// Nothing that has the same name, or by its collation the same `_id`, is taken for the document.
async fn other_documents_are_not_taken_for_it(version: MongoVersion) {
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let database = client.database(DB);
    let collation = doc! { "locale": "en", "strength": 2 };
    database.run_command(doc! { "create": "folded", "collation": collation }).await.unwrap();
    let change = |name: &'static str, id: mongodb::bson::Bson| {
        let all = coll(&client, name);
        async move {
            all.insert_one(doc! { "_id": id.clone(), "n": 0 }).await.unwrap();
            all.update_one(doc! { "_id": id }, doc! { "$set": { "n": 1 } }).await.unwrap();
        }
    };
    for (name, id) in
        [("folded", "a"), ("folded", "b"), ("dropped", "x"), ("again", "x"), ("moved", "x"), ("kept", "x")]
    {
        change(name, id.into()).await;
    }
    change("kept", 7.into()).await;
    coll(&client, "folded").delete_one(doc! { "_id": "a" }).await.unwrap();
    coll(&client, "folded").insert_one(doc! { "_id": "A", "n": "another" }).await.unwrap();
    coll(&client, "kept").delete_one(doc! { "_id": 7 }).await.unwrap();
    coll(&client, "kept").insert_one(doc! { "_id": 7.0, "n": "another" }).await.unwrap();
    for name in ["dropped", "again"] {
        coll(&client, name).drop().await.unwrap();
    }
    coll(&client, "again").insert_one(doc! { "_id": "x", "n": "another" }).await.unwrap();
    // What now has the old name is another collection; the one that was renamed is still the same.
    let rename = doc! { "renameCollection": format!("{DB}.moved"), "to": format!("{DB}.elsewhere") };
    client.database("admin").run_command(rename).await.unwrap();
    coll(&client, "moved").insert_one(doc! { "_id": "x", "n": "another" }).await.unwrap();

    let installation = Installation::new(&config(&mongo, Some(start), LOOKUP));
    let connector = installation.run().await;
    let found = events(&connector, &installation, &client).await;
    let mut images: Vec<String> = found
        .iter()
        .filter(|event| event["op"] == "update")
        .map(|event| {
            let (coll, id) = (&event["ns"]["coll"], &event["key"]["_id"]);
            format!(
                "{coll} {id} {} {}",
                event["afterIs"],
                event.get("after").map_or(&Value::Null, |after| &after["n"])
            )
        })
        .collect();
    images.sort();
    assert_eq!(
        images,
        [
            r#""again" "x" "gone" null"#,
            r#""dropped" "x" "gone" null"#,
            r#""folded" "a" "gone" null"#,
            r#""folded" "b" "lookup" 1"#,
            r#""kept" "x" "lookup" 1"#,
            r#""kept" 7 "gone" null"#,
            r#""moved" "x" "lookup" 1"#,
        ]
    );
}

#[tokio::test]
async fn other_documents_are_not_taken_for_it_on_4_4() {
    other_documents_are_not_taken_for_it(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn other_documents_are_not_taken_for_it_on_5_0() {
    other_documents_are_not_taken_for_it(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn other_documents_are_not_taken_for_it_on_6_0() {
    other_documents_are_not_taken_for_it(MongoVersion::V6_0_27).await;
}

#[tokio::test]
async fn a_collection_that_is_dropped_again_and_again_has_no_document_of_its_next_life() {
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).start().await.unwrap();
    let client = client(&mongo).await;
    let installation = Installation::new(&config(&mongo, None, LOOKUP));
    let connector = installation.run().await;
    connector.anchored().await;
    let all = fast(&client, "phoenix");
    // GIVEN lives of one collection, in which documents of the same names count on
    for life in 0..40 {
        for id in 0..3 {
            all.insert_one(doc! { "_id": id, "n": life * 100 }).await.unwrap();
            for n in 1..4 {
                all.update_one(doc! { "_id": id }, doc! { "$set": { "n": life * 100 + n } }).await.unwrap();
            }
        }
        all.drop().await.unwrap();
    }
    let found = events(&connector, &installation, &client).await;
    assert_in_order(&found);
    let updates: Vec<&Value> = found.iter().filter(|event| event["op"] == "update").collect();
    assert_eq!(updates.len(), 40 * 3 * 3);
    // THEN a document that was looked up is of the life of its event, and not older; the others say that it was gone
    for event in updates {
        let n = event["update"]["updatedFields"]["n"].as_i64().unwrap();
        match event["after"]["n"].as_i64() {
            Some(after) => assert!(after >= n && after / 100 == n / 100, "{event}"),
            None => assert_eq!(event["afterIs"], "gone", "{event}"),
        }
    }
}

#[tokio::test]
async fn small_updates_of_large_documents_take_bounded_memory() {
    // GIVEN 160 MB of documents, and updates of all of them that take a few KB of oplog
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).start().await.unwrap();
    let client = client(&mongo).await;
    let large = fast(&client, "large");
    for id in 0..20 {
        large.insert_one(doc! { "_id": id, "n": 0, "x": "x".repeat(4 << 20) }).await.unwrap();
    }
    let many = fast(&client, "many");
    for part in 0..10 {
        let some = (0..400).map(|id| doc! { "_id": part * 400 + id, "n": 0, "x": "x".repeat(20_000) });
        many.insert_many(some).await.unwrap();
    }
    commit_everything(&client).await;
    let start = majority_point(&client).await;
    for all in [&large, &many] {
        all.update_many(doc! {}, doc! { "$set": { "n": 1 } }).await.unwrap();
    }
    // WHEN a connector looks them up
    let installation = Installation::new(&(config(&mongo, Some(start), LOOKUP) + "rotate_bytes = 0\n"));
    let connector = installation.run().await;
    let found = events(&connector, &installation, &client).await;
    // THEN all are there, and it never held more than a part of them
    assert_in_order(&found);
    let complete =
        |event: &Value| event["after"]["n"] == 1 && event["after"]["x"].as_str().unwrap().len() > 19_999;
    assert_eq!((found.len(), found.iter().filter(|event| complete(event)).count()), (4020, 4020));
    let peak = connector.memory_kb("VmHWM") >> 10;
    assert!(peak < 140, "{peak} MB");
    assert!(connector.metric("image_bytes_fetched_total{sink=\"file\"}").await > 150e6);
}

async fn fail_finds(client: &Client, times: i32) {
    let fault = doc! { "failCommands": ["find"], "errorCode": 11602, "appName": "mongo-observer" };
    let point = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": fault };
    client.database("admin").run_command(point).await.unwrap();
}

async fn restarts(connector: &Connector) -> u64 {
    connector.status().await.unwrap()["pipelines"][0]["restarts"].as_u64().unwrap()
}

#[tokio::test]
async fn a_lookup_that_fails_is_tried_again() {
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).start().await.unwrap();
    let client = client(&mongo).await;
    let installation = Installation::new(&config(&mongo, None, LOOKUP));
    let connector = installation.run().await;
    let all = fast(&client, "a");
    all.insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
    assert_eq!(events(&connector, &installation, &client).await.len(), 1);
    // WHEN the server refuses to answer for a while
    for round in 1..=3 {
        fail_finds(&client, 4).await;
        all.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": round } }).await.unwrap();
        let found = events(&connector, &installation, &client).await;
        // THEN nothing is missing in the end, and nothing comes without its image
        let last = found.last().unwrap();
        assert_eq!((&last["after"], &last["afterIs"]), (&json!({ "_id": 1, "n": round }), &json!("lookup")));
    }
    assert!(restarts(&connector).await >= 3);
    let found = events(&connector, &installation, &client).await;
    assert_in_order(&found);
    assert_eq!(found.len(), 4);
}
