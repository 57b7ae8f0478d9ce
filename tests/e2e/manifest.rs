//! What must be known of a namespace is told before its first event, and when it changes.

use std::collections::BTreeMap;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::harness::{
    History, Installation, Workload, client, kafka, kafka_sink, majority_point, mongo, read_kafka, source,
    topics,
};
use crate::kafka_sink::{Seen, read};

async fn insert(client: &Client, db: &str, coll: &str, count: i32) {
    let coll = client.database(db).collection::<Document>(coll);
    coll.insert_many((0..count).map(|id| doc! { "_id": id, "text": "x".repeat(2000) })).await.unwrap();
}

/// Of each namespace, in order: the manifests and their positions.
async fn manifests(bootstrap: &str, prefix: &str) -> BTreeMap<String, Vec<(Value, Seen)>> {
    let mut found: BTreeMap<String, Vec<(Value, Seen)>> = BTreeMap::new();
    for seen in read(bootstrap, &format!("{prefix}._namespaces")).await {
        let key: Value = serde_json::from_str(&seen.key).unwrap();
        let value: Value = serde_json::from_str(seen.value.as_ref().unwrap()).unwrap();
        assert_eq!(value["ns"], key);
        found.entry(key["coll"].as_str().unwrap().to_owned()).or_default().push((value, seen));
    }
    found
}

#[tokio::test]
async fn a_namespace_is_introduced_before_its_first_event_and_when_another_collection_takes_its_name() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "manifest");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation =
        Installation::new(&(source(mongo, db) + &kafka_sink(kafka, db, 3) + "tombstones = \"always\"\n"));
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN collections are made, dropped, made again and renamed, with many chunks of events in between
    insert(&client, db, "a", 600).await;
    insert(&client, db, "b", 600).await;
    let database = client.database(db);
    database.collection::<Document>("a").drop().await.unwrap();
    insert(&client, db, "a", 600).await;
    let rename = doc! { "renameCollection": format!("{db}.b"), "to": format!("{db}.c") };
    client.database("admin").run_command(rename).await.unwrap();
    insert(&client, db, "d", 1).await;
    database.collection::<Document>("c").insert_one(doc! { "_id": "last" }).await.unwrap();
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    // THEN each collection that has a name is told of once, with what its first event says of it, at that event's position
    let found = manifests(kafka.bootstrap(), db).await;
    let counts: Vec<_> = found.iter().map(|(coll, told)| (coll.as_str(), told.len())).collect();
    assert_eq!(counts, [("a", 2), ("b", 1), ("c", 1), ("d", 1)]);
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    lanes.assert_complete(&history);
    for (coll, told) in &found {
        let place = format!("{db}.{db}.{coll}");
        for (manifest, seen) in told {
            let of_it = lanes.events().filter(|event| {
                event.place == place && event.event["collectionId"] == manifest["collectionId"]
            });
            assert_eq!(seen.at, of_it.map(|event| event.at).min(), "{manifest}");
            let expected = json!({
                "op": "namespace", "ns": { "db": db, "coll": coll }, "collectionId": manifest["collectionId"],
                "place": place, "format": "json", "images": { "before": "none", "after": "none" },
                "compacted": false, "tombstones": true, "source": manifest["source"]
            });
            assert_eq!(*manifest, expected);
        }
    }
    assert_eq!(found["b"][0].0["collectionId"], found["c"][0].0["collectionId"]);
    assert_ne!(found["a"][0].0["collectionId"], found["a"][1].0["collectionId"]);
    // and after a restart it is the same once more, where there is an event
    connector.terminate().await;
    let connector = installation.run().await;
    insert(&client, db, "e", 1).await;
    database.collection::<Document>("d").insert_one(doc! { "_id": "again" }).await.unwrap();
    connector.done(0, History::read(&client, start, db).await.end()).await;
    let after = manifests(kafka.bootstrap(), db).await;
    assert_eq!((after["d"].len(), after["e"].len(), after["a"].len()), (2, 1, 2));
    assert_eq!(after["d"][0].0, after["d"][1].0);
}

#[tokio::test]
async fn manifests_can_be_switched_off() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "manifest_off");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + &kafka_sink(kafka, db, 1) + "manifest = false\n";
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    Workload::new(&client, db, 3).write(50).await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    read_kafka(kafka.bootstrap(), db).await.assert_complete(&history);
    let own = topics(kafka.bootstrap(), &format!("{db}._")).await;
    assert!(!own.contains(&format!("{db}._namespaces")), "{own:?}");
}
