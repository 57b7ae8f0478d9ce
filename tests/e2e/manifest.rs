//! What must be known of a namespace is told before its first event, and when it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures::StreamExt as _;
use mongo_observer::servers::Nats;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::harness::{
    History, Installation, Random, Workload, client, file_sink, kafka, kafka_sink, majority_point, mongo,
    nats, nats_sink, read_file, read_kafka, read_nats, source, topics,
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
                "compacted": false, "tombstones": true, "collation": { "locale": "simple" },
                "source": manifest["source"]
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
async fn a_manifest_tells_the_collation_that_the_collection_was_created_with() {
    let (mongo, nats, db) = (mongo().await, nats().await, "manifest_collation");
    let client = client(mongo).await;
    let database = client.database(db);
    let create = async |coll: &str, locale: &str| {
        let collation = doc! { "locale": locale, "strength": 2 };
        database.run_command(doc! { "create": coll, "collation": collation }).await.unwrap();
    };
    // GIVEN collections that were there before, and one that comes, is renamed and goes again
    create("old", "fr").await;
    insert(&client, db, "plain", 1).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + &nats_sink(nats, db)));
    let connector = installation.run().await;
    connector.anchored().await;
    for coll in ["old", "plain"] {
        database.collection::<Document>(coll).insert_one(doc! { "_id": "first" }).await.unwrap();
    }
    create("new", "de").await;
    let rename = doc! { "renameCollection": format!("{db}.new"), "to": format!("{db}.renamed") };
    client.database("admin").run_command(rename).await.unwrap();
    database.collection::<Document>("renamed").drop().await.unwrap();
    connector.done(0, History::read(&client, start, db).await.end()).await;
    // THEN the server, or the oplog, has told it
    let all = messages(nats, db, None).await;
    let told: Vec<_> = all.iter().filter(|message| message.is_manifest()).collect();
    let collation = |at: usize| {
        let collation = &told[at].value["collation"];
        (told[at].value["ns"]["coll"].as_str().unwrap(), &collation["locale"], &collation["strength"])
    };
    let (strength, simple) = (json!(2), json!("simple"));
    assert_eq!(collation(0), ("old", &json!("fr"), &strength));
    assert_eq!(collation(1), ("plain", &simple, &Value::Null));
    assert_eq!(collation(2), ("new", &json!("de"), &strength));
    assert_eq!(collation(3), ("renamed", &json!("de"), &strength));
    assert_eq!(told[0].value["collation"]["caseLevel"], false, "whole, as the server has it");
    assert_eq!(told.len(), 4);
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

/// A message of a stream.
struct Told {
    subject: String,
    value: Value,
}

impl Told {
    fn is_manifest(&self) -> bool {
        self.value["op"] == "namespace"
    }

    /// The collection that it is about.
    fn collection(&self) -> Value {
        json!([self.value["ns"]["coll"], self.value["collectionId"]])
    }
}

/// All messages of a stream, or the last of each subject below `of`.
async fn messages(nats: &Nats, stream: &str, of: Option<&str>) -> Vec<Told> {
    let context = jetstream::new(async_nats::connect(nats.urls()).await.unwrap());
    let config = match of {
        None => OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() },
        Some(of) => OrderedConfig {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: of.to_owned(),
            ..OrderedConfig::default()
        },
    };
    let mut consumer = context.get_stream(stream).await.unwrap().create_consumer(config).await.unwrap();
    let count = consumer.info().await.unwrap().num_pending;
    let mut found = Vec::new();
    let mut messages = consumer.messages().await.unwrap();
    for _ in 0..count {
        let message = messages.next().await.unwrap().unwrap();
        let value = serde_json::from_slice(&message.payload).unwrap();
        found.push(Told { subject: message.subject.to_string(), value });
    }
    found
}

/// Each event of a collection comes behind a manifest of that collection, and none comes without need.
#[track_caller]
fn assert_introduced(messages: &[Told]) {
    let mut told: BTreeMap<String, &Value> = BTreeMap::new();
    for message in messages {
        let name = message.value["ns"].to_string();
        if message.is_manifest() {
            let before = told.insert(name, &message.value);
            assert_ne!(before, Some(&message.value), "nothing new");
        } else if message.value.get("key").is_some() || message.value["op"] == "create" {
            assert_eq!(told[&name]["collectionId"], message.value["collectionId"], "{}", message.value);
        }
    }
}

#[tokio::test]
async fn on_nats_a_manifest_stands_in_the_stream_and_is_not_repeated_after_a_restart() {
    let (mongo, nats, db) = (mongo().await, nats().await, "manifest_nats");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + &nats_sink(nats, db);
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN collections are made, dropped, made again and renamed
    insert(&client, db, "a", 600).await;
    insert(&client, db, "b.é c", 600).await;
    let database = client.database(db);
    database.collection::<Document>("a").drop().await.unwrap();
    insert(&client, db, "a", 600).await;
    let rename = doc! { "renameCollection": format!("{db}.b.é c"), "to": format!("{db}.c") };
    client.database("admin").run_command(rename).await.unwrap();
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    // THEN each has its manifest before its first event
    let all = messages(nats, db, None).await;
    assert_introduced(&all);
    let told: Vec<_> = all.iter().filter(|message| message.is_manifest()).collect();
    let subject = |coll: &str| format!("{db}._namespaces.{db}.{coll}");
    let subjects: Vec<_> = told.iter().map(|message| message.subject.clone()).collect();
    assert_eq!(subjects, ["a", "b=2E=C3=A9=20c", "a", "c"].map(subject));
    assert_eq!(
        told[0].value,
        json!({
            "op": "namespace", "ns": { "db": db, "coll": "a" }, "collectionId": told[0].value["collectionId"],
            "place": format!("{db}.{db}.a"), "format": "json", "images": { "before": "none", "after": "none" },
            "compacted": false, "tombstones": false, "collation": { "locale": "simple" },
            "source": told[0].value["source"]
        })
    );
    read_nats(nats.url(), db).await.assert_complete(&history);
    // and the last message on its subject is the current one.
    let last = messages(nats, db, Some(&format!("{db}._namespaces.>"))).await;
    let last: Vec<_> = last.iter().map(Told::collection).collect();
    assert_eq!(last, [told[1], told[2], told[3]].map(Told::collection));
    // After a restart only what is new is told,
    connector.terminate().await;
    let connector = installation.run().await;
    for coll in ["a", "d"] {
        database.collection::<Document>(coll).insert_one(doc! { "_id": "again" }).await.unwrap();
    }
    connector.done(0, History::read(&client, start, db).await.end()).await;
    connector.terminate().await;
    // or has changed.
    installation.configure(&(config + "images.after = \"lookup\"\n"));
    let connector = installation.run().await;
    database.collection::<Document>("a").insert_one(doc! { "_id": "changed" }).await.unwrap();
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    let all = messages(nats, db, None).await;
    assert_introduced(&all);
    let told: Vec<_> = all.iter().filter(|message| message.is_manifest()).skip(4).collect();
    assert_eq!(told.iter().map(|it| it.subject.clone()).collect::<Vec<_>>(), ["d", "a"].map(subject));
    assert_eq!(told[1].value["images"]["after"], "lookup");
    let lanes = read_nats(nats.url(), db).await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn on_nats_nothing_is_lost_or_repeated_beside_manifests_whatever_is_killed() {
    let (mongo, db) = (mongo().await, "manifest_kills");
    let nats = Nats::builder().start().await.unwrap();
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + &nats_sink(&nats, db) + "preset = \"log\"\n";
    let installation = Installation::new(&config);
    let mut connector = installation.run().await;
    connector.anchored().await;
    let mut random = Random::new(5);
    // WHEN collections come in numbers, each with an event, while the connector or the server is killed
    for round in 0..8_u64 {
        let writer = client.clone();
        let load = tokio::spawn(async move {
            for number in 0..40 {
                insert(&writer, db, &format!("c{round}_{number}"), 1).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        if round % 2 == 0 {
            connector.kill().await;
            connector = installation.start();
        } else {
            nats.kill(0).await;
            nats.restart(0).await.unwrap();
        }
        load.await.unwrap();
    }
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    // THEN everything is there once, and each manifest, too
    let lanes = read_nats(nats.url(), db).await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    let all = messages(&nats, db, None).await;
    assert_introduced(&all);
    assert_eq!(all.iter().filter(|message| message.is_manifest()).count(), 8 * 40);
}

#[tokio::test]
async fn a_table_on_nats_keeps_the_last_manifest_of_each_namespace() {
    let (mongo, nats, db) = (mongo().await, nats().await, "manifest_table");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = nats_sink(nats, db) + "preset = \"latest\"\nimages.after = \"lookup\"\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    insert(&client, db, "a", 3).await;
    client.database(db).collection::<Document>("a").drop().await.unwrap();
    insert(&client, db, "a", 2).await;
    client.database(db).collection::<Document>("a").drop().await.unwrap();
    insert(&client, db, "b", 2).await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    let told = messages(nats, db, Some(&format!("{db}._namespaces.{db}.*"))).await;
    let all = messages(nats, db, None).await;
    assert_eq!(all.iter().filter(|message| message.is_manifest()).count(), 2);
    for (message, coll) in told.iter().zip(["a", "b"]) {
        assert_eq!(message.value["ns"]["coll"], coll);
        assert_eq!(message.value["compacted"], true);
        assert_eq!(message.value["place"], format!("{db}.{db}.{coll}.{{id}}"));
        // the one that was there last
        let event = all.iter().rfind(|other| !other.is_manifest() && other.value["ns"]["coll"] == coll);
        assert_eq!(event.unwrap().collection(), message.collection());
    }
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn a_file_has_manifests_where_they_are_wanted() {
    let (mongo, db) = (mongo().await, "manifest_file");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let lines = |installation: &Installation| -> Vec<Value> {
        let text = std::fs::read_to_string(installation.path("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let config = source(mongo, db) + &file_sink();
    for (wanted, setting) in [(0, ""), (2, "manifest = true\n")] {
        let installation = Installation::new(&(config.clone() + setting));
        let connector = installation.run().await;
        connector.anchored().await;
        let start = if wanted == 0 { start } else { majority_point(&client).await };
        let [a, b] = ["a", "b"].map(|coll| format!("{coll}{wanted}"));
        insert(&client, db, &a, 400).await;
        insert(&client, db, &b, 400).await;
        let history = History::read(&client, start, db).await;
        connector.done(0, history.end()).await;
        read_file(&installation.path("events.jsonl")).assert_complete(&history);
        let found = lines(&installation);
        let told = || found.iter().filter(|line| line["op"] == "namespace");
        assert_eq!(told().count(), wanted);
        for manifest in told() {
            let of_it = |line: &&Value| line["ns"] == manifest["ns"] && line["op"] != "watermark";
            assert_eq!(found.iter().find(of_it), Some(manifest), "it comes first");
            assert_eq!((&manifest["compacted"], &manifest["format"]), (&json!(false), &json!("json")));
        }
        // The position is that of the last event, manifests aside.
        connector.kill().await;
        let connector = installation.run().await;
        insert(&client, db, &format!("c{wanted}"), 1).await;
        let history = History::read(&client, start, db).await;
        connector.done(0, history.end()).await;
        read_file(&installation.path("events.jsonl")).assert_complete(&history);
    }
}
